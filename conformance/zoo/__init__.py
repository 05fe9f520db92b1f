"""Other people's networks, small ones of every family, converted and compared: `python -m conformance.zoo --help`."""
