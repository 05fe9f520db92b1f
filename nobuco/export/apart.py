"""A function in a process of its own: TensorFlow's quantisers end theirs where they do not know what to do."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from nobuco.errors import NobucoError

P = ParamSpec("P")
_CAN_FORK = sys.platform == "linux"  # elsewhere, a process that has threads cannot be copied


class EndedError(NobucoError):
    """A process ended before its function did; the message says how, and what it said last."""


def apart(function: Callable[P, bytes], fork: bool = _CAN_FORK) -> Callable[P, bytes]:
    """A function of a module that gives bytes, run in a process of its own.

    With `fork` that process is a copy of this one, which takes no time and shares its memory. Without, it is a new
    Python, which gets the arguments in a file and does not run the script again that this one runs.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with tempfile.TemporaryDirectory(prefix="nobuco-") as name:
            folder = Path(name)
            # Beside other threads a copy may hold a lock that none of its own will let go.
            is_main = threading.current_thread() is threading.main_thread()
            run = _forked if fork and is_main else _started
            status = run(folder, function, args, kwargs)
            if not (folder / "ok").exists() and not (folder / "error").exists():
                raise EndedError(f"{_cause(status)}{_last_words(folder)}")
            if status == 0:
                return (folder / "ok").read_bytes()
            raise pickle.loads((folder / "error").read_bytes())

    return call


def _forked(folder: Path, function: Callable[..., bytes], args: Any, kwargs: Any) -> int:
    with warnings.catch_warnings():  # of threads: none of them is needed
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(folder / "said", os.O_CREAT | os.O_WRONLY), 2)
            status = _answer(folder, function, args, kwargs)
        finally:
            os._exit(status)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def _started(folder: Path, function: Callable[..., bytes], args: Any, kwargs: Any) -> int:
    (folder / "call").write_bytes(pickle.dumps((function, args, kwargs), pickle.HIGHEST_PROTOCOL))
    with open(folder / "said", "wb") as said:
        code = f"from nobuco.export.apart import answer_file; answer_file({str(folder)!r})"
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        return subprocess.run(
            [sys.executable, "-c", code], stderr=said, env={**os.environ, "PYTHONPATH": paths}, check=False
        ).returncode


def answer_file(name: str) -> None:
    """Do what a file says; for a process that was started for it."""
    folder = Path(name)
    sys.exit(_answer(folder, *pickle.loads((folder / "call").read_bytes())))


def _answer(folder: Path, function: Callable[..., bytes], args: Any, kwargs: Any) -> int:
    """Leave what a function gives, or raises, in a folder; gives the status to exit with."""
    try:
        result = function(*args, **kwargs)
    except Exception as error:
        (folder / "error").write_bytes(pickle.dumps(error))
        return 1
    (folder / "ok").write_bytes(result)
    return 0


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _last_words(folder: Path) -> str:
    said = (folder / "said").read_text(errors="replace").strip().splitlines() if (folder / "said").exists() else []
    return f", after {said[-1].strip()!r}" if said else ""
