"""How much of PyTorch converts: each entry of its OpInfo or ModuleInfo database, in Keras and in TFLite."""
