"""The classes that programs fall into."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What became of a program; the last three may not be."""

    RIGHT = "right"
    WARNED = "right but warned of"
    TOLD = "wrong but warned of"
    REFUSED = "refused clearly"
    VOID = "not counted: PyTorch cannot run the example"
    SILENT = "silently wrong"
    RAW = "raw traceback"
    HANG = "hang or crash"

    @property
    def fails(self) -> bool:
        """Whether no program may end so."""
        return self in (Outcome.SILENT, Outcome.RAW, Outcome.HANG)
