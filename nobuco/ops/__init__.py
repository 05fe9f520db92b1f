"""PyTorch's operations: which callables are one operation, and which arguments a call of it has."""
