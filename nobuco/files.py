"""Writes that are whole or not there: a failure, or a process that is killed, leaves what lay there before.

What is new is written beside the target, brought to the disk, and then takes its name in one step of the file
system. A process that is killed leaves its part beside the target, under a name that begins with a dot.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the working directory
_EXCHANGE = 2  # RENAME_EXCHANGE


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write a file to, with the target's suffix; at the end it becomes the target."""
    path = Path(target)
    with _beside(path) as folder:
        fresh = folder / path.name
        yield fresh
        _synced(fresh)
        os.replace(fresh, path)
        _synced(path.parent)


@contextmanager
def replacing_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to make a folder at; at the end it becomes the target, and a folder that was there goes."""
    path = Path(target)
    with _beside(path) as folder:
        fresh = folder / path.name
        yield fresh
        for directory, _, names in os.walk(fresh):
            for name in (*names, "."):
                _synced(Path(directory, name))
        if path.exists():
            _exchange(fresh, path)  # what was there goes with the folder beside
        else:
            fresh.rename(path)
        _synced(path.parent)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder of its own beside the target, so on its file system, which goes in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exchange(fresh: Path, old: Path) -> None:
    """Exchange the names of two folders: in one step where the system can, which is Linux, else in three."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is not None and rename(_HERE, os.fsencode(fresh), _HERE, os.fsencode(old), _EXCHANGE) == 0:
        return
    aside = fresh.with_name("old")
    old.rename(aside)
    fresh.rename(old)
    aside.rename(fresh)


def _synced(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
