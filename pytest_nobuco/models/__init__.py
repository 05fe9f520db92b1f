"""The suite of a model: an item for each form in which it is converted and run."""
