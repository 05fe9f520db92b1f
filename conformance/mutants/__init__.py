"""Subtly wrong converters, which the plugin's items must not let through: `python -m conformance.mutants`."""
