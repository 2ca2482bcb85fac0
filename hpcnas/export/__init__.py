"""Exports: a genotype as a stand-alone model file, its weights, ONNX and torch.export on request."""
