"""The pytest plugin of nobuco: parity of converted models with PyTorch, held in anyone's CI.

Importing this package, or its plugin, imports neither PyTorch nor TensorFlow.
"""
