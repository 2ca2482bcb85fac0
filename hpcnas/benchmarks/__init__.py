"""The measurements of `hpcnas bench`: the store, the training step, the image loader."""
