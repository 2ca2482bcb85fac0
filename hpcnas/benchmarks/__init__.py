"""What `hpcnas bench` measures: the store, the training step, the image loader."""
