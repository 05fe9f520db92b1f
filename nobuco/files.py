"""Writes that are whole or not there, and that touch nothing of the user's but the path that was named.

What is new is written beside the target, brought to the disk, and then takes its name in one step of the file
system: a failure, or a process that is killed, leaves what lay there before. Only what can be written again is
replaced: a regular file, an empty folder, or a folder that holds nothing but a model of the same kind.

A killed process leaves its part in a folder beside the target, whose name begins with a dot. The next write to that
target removes it: the lock on the folder has gone with the process.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from nobuco.errors import OutputError, OutputExistsError

Target: TypeAlias = str | os.PathLike[str]
Foreign: TypeAlias = Callable[[Path], str]
"""Tells what in a folder is no part of a model, "" for nothing; not asked about an empty folder."""

_HERE = -100  # AT_FDCWD: paths are relative to the working directory
_EXCHANGE = 2  # RENAME_EXCHANGE
_ASIDE = "old"


def working_directory() -> str | None:
    """The working directory; None where it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; there is none of a name that is too long for the system."""
    try:
        return path.exists()
    except OSError:
        return False


@contextmanager
def replacing(target: Target, overwrite: bool = True) -> Iterator[Path]:
    """Give a path to write a file to, with the target's suffix; at the end it becomes the target.

    A link stays, and what it leads to is replaced; a file that is replaced hands on its permissions.

    Raises:
        OutputError: see `file_at`.
    """
    path = file_at(target, overwrite)
    with _beside(path) as folder:
        fresh = folder / path.name
        yield fresh
        path = file_at(target, overwrite)  # what may have changed meanwhile
        _like(fresh, path)
        _synced(fresh)
        if overwrite:
            os.replace(fresh, path)
        else:
            _linked(fresh, path)
        _synced(path.parent)


@contextmanager
def replacing_folder(target: Target, foreign: Foreign = lambda folder: "", overwrite: bool = True) -> Iterator[Path]:
    """Give a path to make a folder at; at the end it becomes the target, and a folder that was there goes.

    With `foreign` it only goes if all in it is part of a model of that kind.

    Raises:
        OutputError: see `folder_at`.
    """
    path = folder_at(target, foreign, overwrite)
    with _beside(path) as folder:
        fresh = folder / path.name
        yield fresh
        path = folder_at(target, foreign, overwrite)
        _like(fresh, path)
        for directory, _, names in os.walk(fresh):
            for name in (*names, "."):
                _synced(Path(directory, name))
        if path.exists():
            _exchange(fresh, path)  # what was there goes with the folder beside
        else:
            fresh.rename(path)
        _synced(path.parent)


def file_at(target: Target, overwrite: bool = True) -> Path:
    """The file that a path leads to, if there is none yet or one that can be replaced.

    Raises:
        OutputError: there is no folder for it, or there is a folder, a device, a pipe or a socket in its place; or it
            is there already and must not be overwritten.
    """
    path = _resolved(target)
    if _text(target).endswith(("/", os.sep)):
        raise OutputError(target, "a file is to be written, and that names a folder")
    if os.path.lexists(path):
        kind = os.lstat(path).st_mode
        if not stat.S_ISREG(kind):
            raise OutputError(target, f"a file is to be written, and that is {_kind(kind)}")
        _refuse_existing(target, overwrite)
    return path


def folder_at(target: Target, foreign: Foreign, overwrite: bool) -> Path:
    """The folder that a path leads to, if there is none yet or one that can be replaced.

    Raises:
        OutputError: there is no folder for it; there is a file in its place; there is a folder that holds anything else
            than what is to be written, or that cannot be replaced (the working directory, the home, a disk's root);
            or it is there already and must not be overwritten.
    """
    path = _resolved(target)
    if os.path.lexists(path):
        kind = os.lstat(path).st_mode
        if not stat.S_ISDIR(kind):
            raise OutputError(target, f"a folder is to be written, and that is {_kind(kind)}")
        _refuse_existing(target, overwrite)
        places = {"the working directory": working_directory(), "the home": os.path.expanduser("~")}
        for name, place in places.items():
            if place is not None and Path(os.path.realpath(place)).is_relative_to(path):
                raise OutputError(target, f"{name} is not replaced, nor what it lies in; name a new folder")
        if os.path.ismount(path):
            raise OutputError(target, "the root of a disk is not replaced; name a folder in it")
        other = foreign(path) if any(path.iterdir()) else ""
        if other:
            raise OutputError(
                target, f"that folder holds something else ({other}) and is left as it is; name a new one"
            )
    return path


def writable_file_at(target: Target) -> Path:
    """What `file_at` gives, once something could be written beside it: some folders only look as if one could.

    Raises:
        OutputError: see `file_at`.
    """
    path = file_at(target)
    with _beside(path):
        return path


def text_of(path: str | os.PathLike[str]) -> str:
    """The text of a file, or of a pipe up to its end; not of a device, which may have no end.

    Raises:
        OSError: it cannot be read; `strerror` says why.
    """
    kind = os.stat(path).st_mode
    if (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)) and not os.path.samefile(path, os.devnull):
        raise OSError(errno.EINVAL, "that is a device; name a file")
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, f"that is no text in UTF-8 ({error.reason} at byte {error.start})") from None


def _resolved(target: Target) -> Path:
    """The path behind links and `~`, in a folder that is there."""
    text = _text(target)
    text = os.path.expanduser(text) if text == "~" or text.startswith("~/") else text
    if not os.path.isabs(text) and working_directory() is None:
        raise OutputError(target, "the working directory is gone; give an absolute path")
    path = Path(os.path.realpath(text))
    try:
        is_link, has_place = path.is_symlink(), path.parent.is_dir()
    except OSError as error:  # a name that is too long
        raise OutputError(target, f"that is no path to write to: {error.strerror}") from error
    if is_link:
        raise OutputError(target, "links that lead to each other in a circle")
    if not has_place:
        raise OutputError(target, f"there is no folder {path.parent}")
    return path


def _text(target: Target) -> str:
    try:
        text = os.fsdecode(os.fsencode(target))
    except (TypeError, UnicodeEncodeError):
        text = ""
    if not text or "\0" in text:
        raise OutputError(repr(target), "that is no path to write to")
    return text


def _refuse_existing(target: Target, overwrite: bool) -> None:
    if not overwrite:
        raise OutputExistsError(target, "is there already, and overwrite=False")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _like(fresh: Path, old: Path) -> None:
    """Give what is new the permissions, and where one may the owner, of what it replaces."""
    if not old.exists():
        return
    wanted, own = old.stat(), fresh.stat()
    if (wanted.st_uid, wanted.st_gid) != (own.st_uid, own.st_gid):
        with suppress(AttributeError, OSError):  # only an administrator gives files away
            os.chown(fresh, wanted.st_uid, wanted.st_gid)
    fresh.chmod(stat.S_IMODE(wanted.st_mode))


def _linked(fresh: Path, path: Path) -> None:
    """Give a file its name only if there is none of that name, in one step where the file system can."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        _refuse_existing(path, overwrite=False)
    except OSError:
        _refuse_existing(path, overwrite=not os.path.lexists(path))
        fresh.rename(path)


# The folder beside the target.


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder of its own beside the target, so on its file system, which goes in the end."""
    try:
        _clean(path)
        home, lock = _locked(path)
    except OSError as error:
        raise OutputError(path, f"nothing can be written to {path.parent}: {error.strerror}") from error
    try:
        with telling_refusals(path):
            (home / "new").mkdir()
            yield home / "new"
    finally:
        os.close(lock)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def telling_refusals(path: Path) -> Iterator[None]:
    """Make an error about this path of what the system refuses meanwhile, such as more than the disk holds.

    Raises:
        OutputError: the system refused something.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        refusal = _refusal_in(error)
        if not refusal:
            raise
        raise OutputError(path, f"it cannot be written: {refusal}") from error


def _refusal_in(error: Exception) -> str:
    """What the system said, in an error that comes of it; libraries quote it in errors of their own classes."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, UnicodeEncodeError):  # of TensorFlow
        return "what writes it takes paths in UTF-8 only"
    words = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
    return next((each for each in words if each in str(error)), "")


def _prefix(path: Path) -> str:
    """How the folders beside this target are called: by its name, or by a part of it."""
    return f".{path.name[:32]}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}.nobuco-"


def _locked(path: Path) -> tuple[Path, int]:
    """A new folder, and the lock on it, which ends with this process."""
    while True:
        home = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        try:
            lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            continue  # taken for abandoned by another process before it was locked
        _lock(lock)
        os.write(lock, platform.node().encode())
        return home, lock


def _clean(path: Path) -> None:
    """Remove what killed processes have left beside this target."""
    ours = re.compile(re.escape(_prefix(path)) + r"[a-z0-9_]{8}")
    with os.scandir(path.parent) as entries:
        left = [Path(e.path) for e in entries if ours.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    for home in left:
        try:
            lock = os.open(home / "lock", os.O_RDWR)
        except FileNotFoundError:
            with suppress(OSError):
                home.rmdir()  # killed before there was anything in it
            continue
        except OSError:
            continue  # another user's
        try:
            # On a disk that machines share, a lock may be known to the one that holds it only.
            if _lock(lock) and os.read(lock, 1000) == platform.node().encode():
                if (home / _ASIDE).exists() and not path.exists():
                    (home / _ASIDE).rename(path)  # killed between the two renames of `_exchange`
                shutil.rmtree(home, ignore_errors=True)
        finally:
            os.close(lock)


def _lock(file: int) -> bool:
    """Lock an open file; False where another process has it, or where there are no locks, as on Windows."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _exchange(fresh: Path, old: Path) -> None:
    """Exchange the names of two folders: in one step where the system can, which is Linux, else in three."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is not None and rename(_HERE, os.fsencode(fresh), _HERE, os.fsencode(old), _EXCHANGE) == 0:
        return
    aside = fresh.parent.with_name(_ASIDE)
    old.rename(aside)
    try:
        fresh.rename(old)
    except OSError:
        aside.rename(old)
        raise


def _synced(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
