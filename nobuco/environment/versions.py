"""The versions that nobuco was tried with; docs/compatibility.md tells how."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import version

from nobuco.errors import NobucoWarning

NEWEST = {"torch": (2, 14), "tensorflow": (2, 21)}


def warn_of_untried() -> None:
    """Say, once in a process, that a library is newer than what was tried."""
    untried = [
        f"{library} {_installed(library)} (up to {'.'.join(map(str, newest))})"
        for library, newest in NEWEST.items()
        if release(_installed(library)) > newest
    ]
    if untried:
        # From this line, and not from the caller's: Python shows a warning once for each place.
        warnings.warn(
            f"nobuco was not tried with {', '.join(untried)}; it goes on. "
            "If something fails, the report and `nobuco.compare` tell where",
            NobucoWarning,
            stacklevel=1,
        )


@cache
def _installed(library: str) -> str:
    """The version in use; to read it from the disk takes longer than to trace a small model."""
    return version(library)


def release(text: str) -> tuple[int, int]:
    """`2.15.0a0+git` as (2, 15)."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
