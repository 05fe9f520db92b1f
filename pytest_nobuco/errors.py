"""What can go wrong in a suite, told in words that need no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nobuco.subject.mistakes import in_a_line


class SuiteError(Exception):
    """A model, its inputs or a setting cannot be used; the message says what to change."""


class UnavailableError(SuiteError):
    """This machine lacks what a runtime needs; the message says what to install."""


class InapplicableError(SuiteError):
    """The case asks for what the model does not do in PyTorch either, and it was not asked for by name."""


class WrongMarkerError(pytest.Collector.CollectError):
    """A marker that no item can be made of: told in a line, and the session ends as for a wrong command line."""


@contextmanager
def of_the_user(what: str) -> Iterator[None]:
    """Tell what the user's own code raises as an error of the suite, with the user's line that it came through."""
    try:
        yield
    except SuiteError:
        raise
    except Exception as error:
        raise SuiteError(f"{what} raised {in_a_line(error)}") from error
