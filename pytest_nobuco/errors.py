"""What can go wrong in a suite, told in words that need no traceback."""

from __future__ import annotations


class SuiteError(Exception):
    """A model, its inputs or a setting cannot be used; the message says what to change."""


class UnavailableError(SuiteError):
    """This machine lacks what a runtime needs; the message says what to install."""


class InapplicableError(SuiteError):
    """The case asks for what the model does not do in PyTorch either, and it was not asked for by name."""
