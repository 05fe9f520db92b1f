"""A campaign in child processes: one that crashes or hangs costs one program, and none grows too large."""

from __future__ import annotations

import datetime
import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance.fuzz.families import Run
from conformance.fuzz.outcome import Outcome

_AT_ONCE = 250
"""How many programs a child judges before a fresh one takes over: TensorFlow's graphs stay in memory."""
_PATIENCE = 900.0
"""How many seconds a child may say nothing for, on a busy machine; it gives a program 60 s of the processor."""


def supervise(run: Run, indices: Sequence[int], out: Path, shrink: float, seconds: float, told: bool = False) -> None:
    """Judge these programs of a run in children, for as long as there is time to begin another one.

    A line of JSON for each goes to `out`, and what fails is printed. `shrink` are the processor seconds that
    Hypothesis has to shrink a failure; with `told`, what was warned of is shrunk, too.
    """
    seen: Counter[str] = Counter()
    rest, end = list(indices), None
    while rest:
        began = None
        for entry in _child(run, rest[:_AT_ONCE], seen, shrink, told):
            if "outcome" not in entry:
                began = entry["index"]
                end = end or time.monotonic() + seconds  # from the first program on: to import TensorFlow takes a while
                if time.monotonic() > end:
                    return
                continue
            rest.remove(entry["index"])
            began = None
            _keep(entry, seen, out)
        if began is not None:
            rest.remove(began)
            _keep(_crashed(run, began), seen, out)


def _child(run: Run, indices: Sequence[int], seen: Counter[str], shrink: float, told: bool) -> Iterator[dict[str, Any]]:
    """What a child says, line by line, until it ends or says nothing for too long."""
    task = {"family": run.family, "seed": run.seed, "indices": list(indices), "seen": seen}
    task |= {"shrink": shrink, "told": told}
    command = [sys.executable, "-m", "conformance.fuzz", "--work", json.dumps(task)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := lines.get(timeout=_PATIENCE)) is not None:
            if line.startswith("{"):
                yield json.loads(line)
    except queue.Empty:
        pass
    finally:
        child.kill()
        child.wait()


def _crashed(run: Run, index: int) -> dict[str, Any]:
    from conformance.fuzz.campaign import drawn  # here, so that a supervisor has no frameworks in its memory

    program = drawn(run, index)
    return {
        "family": run.family, "seed": run.seed, "index": index, "key": program.key, "outcome": Outcome.HANG.name,
        "signature": "the process ended or said nothing", "detail": "", "source": program.text,
    }  # fmt: skip


def _keep(entry: dict[str, Any], seen: Counter[str], out: Path) -> None:
    with out.open("a") as file:
        file.write(json.dumps({**entry, "commit": _commit(), "date": str(datetime.date.today())}) + "\n")
    if Outcome[entry["outcome"]].fails:
        if "shrunk" in entry:
            seen[entry["signature"]] += 1
        print(described(entry), flush=True)


def described(entry: dict[str, Any]) -> str:
    """A failure for a reader: what it is, the command that runs it again, and the program."""
    again = f"python -m conformance.fuzz {entry['family']} --seed {entry['seed']} --only {entry['index']}"
    program = entry.get("shrunk") or entry["source"]
    return f"--- {entry['outcome']}: {entry['signature']}\n{again}\n{entry['detail']}\n{program}"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
