"""The command line: `python -m nobuco convert`, `check`, `coverage`, `locate`."""
