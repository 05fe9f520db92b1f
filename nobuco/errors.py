"""The errors and warnings that nobuco raises. Each message names the operation, the place and the way out."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nobuco.report.data import Report


class NobucoError(Exception):
    """Base of all errors of nobuco."""


class ConverterRegistrationError(NobucoError, ValueError):
    """`@nobuco.converter` was used wrongly."""


class UnknownConverterError(NobucoError, KeyError):
    """An operation has no converter."""

    def __str__(self) -> str:
        return str(self.args[0])


class InputError(NobucoError, ValueError):
    """An argument is wrong, or a setting that holds for all calls."""


class ConversionError(NobucoError):
    """The model cannot be converted.

    `gaps` lists the operations that have no converter; `report` tells how far the conversion came, None where nothing
    was traced.
    """

    def __init__(self, message: str, gaps: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.gaps = gaps
        self.report: Report | None = None


class ConverterError(ConversionError):
    """A converter raised, or what it returned does not fit its node; `node` is the id of that in the traced graph."""

    def __init__(self, message: str, node: int | None = None) -> None:
        super().__init__(message)
        self.node = node


class ExportError(NobucoError):
    """A model cannot be written in a form. `operations` lists those that the form does not have."""

    def __init__(self, message: str, operations: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.operations = operations


class ExportArgumentError(InputError, ExportError):
    """An argument of a function of `nobuco.export` is wrong."""


class CheckpointError(NobucoError, ValueError):
    """A checkpoint does not fit a converted model."""


class UnsafeFileError(NobucoError, ValueError):
    """A `.keras` file holds what loading it in safe mode must not bring into the process; nothing of it has run.

    `found` says what that is.
    """

    def __init__(self, content: str) -> None:
        self.found = content
        super().__init__(
            f"refused to load a layer of a .keras file: it {content}. If you trust the file as you would a program, "
            "load it with safe_mode=False, or call keras.config.enable_unsafe_deserialization() first"
        )


class OutputError(InputError, OSError):
    """Nothing is written to a path, and what is there is as it was; `reason` says why."""

    def __init__(self, target: object, reason: str) -> None:
        super().__init__(f"{target}: {reason}")
        self.reason = reason


class OutputExistsError(OutputError, FileExistsError):
    """There is something at a path already, and it must not be overwritten."""


class NobucoWarning(UserWarning):
    """What the user should know although the conversion goes on."""


def warn(message: str) -> None:
    """Warn at the user's line, the innermost that is not nobuco's own."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "nobuco":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, NobucoWarning, stacklevel=level)
