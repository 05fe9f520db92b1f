"""What a child may take, and how much it has taken."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Limits:
    """Seconds for one item and GB of memory for a model's process; None for as much as it takes."""

    seconds: float | None = None
    gigabytes: float | None = None

    def exceeded(self, pid: int, seconds: float) -> str | None:
        """Which limit a process is beyond, in words."""
        if self.seconds is not None and seconds > self.seconds:
            return f"took longer than {self.seconds:g} s (--nobuco-timeout)"
        if self.gigabytes is not None and resident(pid) > self.gigabytes * 1e9:
            return f"took more than {self.gigabytes:g} GB of memory (--nobuco-memory)"
        return None


def add_isolation_options(group: Any) -> None:
    """Declare the options."""
    group.addoption(
        "--nobuco-isolate",
        action="store_true",
        help="run each model in a process of its own: if it ends, hangs or takes too much memory, that fails the item "
        "that ran, and the others go on",
    )
    group.addoption(
        "--nobuco-timeout",
        type=_positive,
        metavar="SECONDS",
        help="how long one item of a model may take; with it each model has a process of its own",
    )
    group.addoption(
        "--nobuco-memory",
        type=_positive,
        metavar="GB",
        help="how much memory the process of a model may take; with it each model has a process of its own",
    )


def limits_of(config: pytest.Config) -> Limits | None:
    """The limits that the user gave; None where models run in the session's own process."""
    limits = Limits(config.getoption("nobuco_timeout"), config.getoption("nobuco_memory"))
    if limits.gigabytes is not None and sys.platform == "win32":
        raise pytest.UsageError("--nobuco-memory: on Windows the memory of a process cannot be told; leave it out")
    return limits if config.getoption("nobuco_isolate") or limits != Limits() else None


def resident(pid: int) -> float:
    """The bytes that a process holds in memory; 0 for one that has ended."""
    status = Path(f"/proc/{pid}/status")
    if Path("/proc/self/status").exists():
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return float(output.stdout or 0) * 1024


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and what it has started, at once."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def how_ended(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "hung up"
    if code < 0:
        name = signal.Signals(-code).name
        return f"died of {name}" + (", as when memory runs out," if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit; a limit is a number above 0")
    return number
