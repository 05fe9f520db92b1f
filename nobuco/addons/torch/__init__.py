"""Modules whose PyTorch form imitates a TensorFlow operation, so that the converted one is that operation."""
