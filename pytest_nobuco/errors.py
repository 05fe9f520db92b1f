"""What can go wrong in a suite, told in words that need no traceback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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


@contextmanager
def outlived() -> Iterator[None]:
    """Tell what the user's own code raises to end the process as an error of the suite: other items shall run.

    Ctrl-C ends the session as ever: it comes as a signal, a KeyboardInterrupt that the code raises does not.
    """
    with _interrupts() as came:
        try:
            yield
        except (SystemExit, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) and came:
                raise
            raise SuiteError(f"its own code raised {in_a_line(error)}, which would end the session") from error


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C that come meanwhile; where they cannot be seen it is as if one had come."""
    came: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.SIG_IGN:  # none comes, as in what a shell starts in the background
        yield came
        return
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield [signal.SIGINT]
        return

    def note(number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True  # the line that it interrupts is told
        came.append(number)
        handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, handler)
