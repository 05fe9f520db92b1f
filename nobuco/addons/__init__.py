"""What stands beside the converter: PyTorch modules made to convert well."""
