"""Each network in a process of its own, which is ended when it takes too long or too much."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from conformance.zoo.network import Network
from conformance.zoo.rows import AnyRow, R, add, parsed, read

_PAUSE = 0.2


@dataclass(frozen=True)
class Limits:
    """Of one network; `processes` of them run at once."""

    seconds: float
    gigabytes: float
    processes: int = 1


@dataclass(frozen=True)
class _Child:
    name: str
    pid: int
    said: Path
    started: float

    def row(self, zoo: str, status: int, why: str, kind: type[R]) -> R:
        """What it said last, and how it ended where that was not by itself."""
        lines = self.said.read_text(encoding="utf-8").splitlines()
        self.said.unlink()
        row = parsed(lines[-1], kind) if lines else kind(self.name, zoo)
        return replace(row, error=why or f"the process ended with status {status}") if why or status else row


@dataclass(frozen=True)
class Way(Generic[R]):
    """A way of measuring a network, and the row that it gives."""

    kind: type[R]
    measure: Callable[[str, str, Callable[[], Network], Callable[[R], None]], R]


def run(zoo: str, only: Sequence[str], path: Path, done: str, limits: Limits, way: Way[Any], verbose: bool) -> None:
    """Measure the networks of a zoo in one way and add their rows to the file.

    `done` leaves out networks that have a row: `any`, or one that is `right`.
    """
    networks = importlib.import_module(f"conformance.zoo.{zoo}_networks")
    _import_beforehand(networks)
    rows = read(path, way.kind)
    names = [name for name in only or networks.names() if not _is_done(rows.get((zoo, name)), done)]
    running: list[_Child] = []
    while names or running:
        while names and len(running) < limits.processes:
            running.append(_started(zoo, names[0], networks, way))
            del names[0]
        time.sleep(_PAUSE)
        for child in list(running):
            row = _ended(zoo, child, limits, way)
            if row is not None:
                running.remove(child)
                add(path, row)
                print(row.line(verbose), flush=True)


def _import_beforehand(networks: Any) -> None:
    """Import what each child would else import for itself."""
    networks.import_beforehand()
    for name in ("nobuco.converters", "nobuco.convert", "ai_edge_litert.interpreter", "tensorflow.lite.python.convert"):
        importlib.import_module(name)


def _is_done(row: AnyRow | None, done: str) -> bool:
    return row is not None and (done == "any" or (done == "right" and row.is_right))


def _started(zoo: str, name: str, networks: Any, way: Way[Any]) -> _Child:
    """A fork of this process, which has imported everything and computed nothing."""
    handle, said = tempfile.mkstemp(suffix=".jsonl")
    os.close(handle)
    pid = os.fork()
    if pid:
        return _Child(name, pid, Path(said), time.monotonic())
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _silence()
        way.measure(zoo, name, partial(networks.network, name), partial(add, Path(said)))
        status = 0
    finally:
        os._exit(status)


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())


def _ended(zoo: str, child: _Child, limits: Limits, way: Way[R]) -> R | None:
    """Its row where it has ended, or is ended here."""
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    if pid:
        return child.row(zoo, os.waitstatus_to_exitcode(status), "", way.kind)
    why = ""
    if time.monotonic() - child.started > limits.seconds:
        why = f"not done after {limits.seconds:.0f} s"
    elif _gigabytes(child.pid) > limits.gigabytes:
        why = f"more than {limits.gigabytes:.0f} GB"
    if not why:
        return None
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    return child.row(zoo, 0, why, way.kind)


def _gigabytes(pid: int) -> float:
    with suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 2**30
    return 0.0
