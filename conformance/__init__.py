"""The conformance suite: real networks and every registered converter against PyTorch."""
