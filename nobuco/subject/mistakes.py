"""An error of the user's own code, told in a line."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

_LONGEST = 300
_ROOT = Path(__file__).parents[2]
_LIBRARIES = (sys.prefix, sys.base_prefix, str(_ROOT / "nobuco"), str(_ROOT / "pytest_nobuco"), "<frozen")


def in_a_line(error: BaseException) -> str:
    """The kind of an error, the first line of what it says, and the user's line that it came through."""
    first = next(iter(_said(error).splitlines()), "")
    place = users_line(error)
    told = f": {first[:_LONGEST]}" if first else ""
    return f"{type(error).__name__}{told}" + (f" ({place})" if place else "")


def _said(error: BaseException) -> str:
    """What it says, in characters that can be written anywhere; nothing where its own `__str__` raises."""
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except Exception:
        return ""


def users_line(error: BaseException) -> str:
    """The innermost line that an error passed through in a file of the user's; empty where there is none."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARIES)]
    return f'File "{lines[-1].filename}", line {lines[-1].lineno}' if lines else ""
