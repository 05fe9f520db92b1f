"""The suite of the converters: an item for each, on samples of its operation."""
