"""The finished model against PyTorch: on the example, at other sizes, on other values."""
