"""A phone: TensorFlow Lite's `benchmark_model` on it, over adb."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency.gpu import Budget

_FOLDER = "/data/local/tmp/nobuco"  # where adb may write and run, on any phone
_RUNS = 20  # of one launch
_TIMEOUT = 600  # seconds


@dataclass(frozen=True)
class Phone:
    """An attached phone with the binary for it."""

    serial: str
    name: str
    binary: Path


@dataclass(frozen=True)
class PhoneRun:
    """Seconds of each launch: the mean of its runs, the finest that the binary tells in every version."""

    seconds: tuple[float, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Timings:
    """The line that `benchmark_model` ends with, in microseconds."""

    init: float
    first: float
    warmup: float
    inference: float


def find_phone(serial: str | None, benchmark_model: str | None) -> Phone:
    """The phone that the options speak of.

    Raises:
        UnavailableError: none was asked for, or it is not there.
        SuiteError: it is not clear which one, or there is no such binary.
    """
    if serial is None:
        raise UnavailableError("no phone was asked for: --nobuco-adb auto --nobuco-benchmark-model PATH")
    if benchmark_model is None:
        raise UnavailableError(
            "--nobuco-adb needs --nobuco-benchmark-model PATH: TensorFlow Lite's benchmark_model for the phone, "
            "e.g. android_aarch64_benchmark_model (see docs/benchmarks.md)"
        )
    binary = Path(benchmark_model)
    if not binary.is_file():
        raise SuiteError(f"--nobuco-benchmark-model: there is no file {benchmark_model}")
    if shutil.which("adb") is None:
        raise UnavailableError(
            "there is no adb on the PATH: install Android's platform tools (Debian: apt install adb)"
        )
    serial = _chosen(serial, attached(_adb("devices")))
    model = _adb("-s", serial, "shell", "getprop ro.product.model").strip()
    platform = _adb("-s", serial, "shell", "getprop ro.board.platform").strip()
    return Phone(serial, " ".join(part for part in (model or serial, platform and f"({platform})") if part), binary)


def attached(listing: str) -> dict[str, str]:
    """The state of each phone in what `adb devices` prints."""
    lines = [line.split() for line in listing.partition("List of devices attached")[2].splitlines()]
    return {words[0]: words[1] for words in lines if len(words) >= 2}


def _chosen(serial: str, phones: Mapping[str, str]) -> str:
    ready = [name for name, state in phones.items() if state == "device"]
    listed = ", ".join(f"{name} ({state})" for name, state in phones.items()) or "none"
    if serial != "auto":
        if serial not in ready:
            raise UnavailableError(f"--nobuco-adb {serial}: not ready; adb lists {listed}")
        return serial
    if not ready:
        raise UnavailableError(f"--nobuco-adb auto: no phone is ready; adb lists {listed}")
    if len(ready) > 1:
        raise SuiteError(f"--nobuco-adb auto: several phones are attached, give one of them: {', '.join(ready)}")
    return ready[0]


def run_on_phone(phone: Phone, data: bytes, threads: int | None, gpu: bool, budget: Budget) -> PhoneRun:
    """Push binary and model, and launch it as often as the budget has rounds; `SuiteError` with what it said."""
    adb = ("-s", phone.serial)
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        _adb(*adb, "shell", f"mkdir -p {_FOLDER}")
        _adb(*adb, "push", str(phone.binary), f"{_FOLDER}/benchmark_model")
        _adb(*adb, "shell", f"chmod +x {_FOLDER}/benchmark_model")
        _adb(*adb, "push", file.name, f"{_FOLDER}/model.tflite")
    command = " ".join(command_line(threads, gpu))
    launches = [timings(_adb(*adb, "shell", command)) for _ in range(budget.min_rounds)]
    _adb(*adb, "shell", f"rm -f {_FOLDER}/model.tflite")
    details = {
        "runs_per_round": _RUNS,
        "init_seconds": launches[0].init / 1e6,
        "first_run_seconds": launches[0].first / 1e6,
    }
    return PhoneRun(tuple(launch.inference / 1e6 for launch in launches), details)


def command_line(threads: int | None, gpu: bool) -> list[str]:
    """What is run on the phone: a fixed number of runs, on the delegate alone where that can be asked for."""
    words = [f"{_FOLDER}/benchmark_model", f"--graph={_FOLDER}/model.tflite", f"--num_runs={_RUNS}", "--min_secs=0"]
    if gpu:
        return [*words, "--use_gpu=true", "--gpu_precision_loss_allowed=false", "--require_full_delegation=true"]
    return [*words, "--use_xnnpack=true", f"--num_threads={threads}"]


def timings(text: str) -> Timings:
    """The figures in what `benchmark_model` printed."""
    number = r"([0-9.e+]+)"
    line = re.search(
        rf"Inference timings in us: Init: {number}, First inference: {number}, "
        rf"Warmup \(avg\): {number}, Inference \(avg\): {number}",
        text,
    )
    if line is None:
        raise SuiteError(f"benchmark_model gave no timings on the phone:\n{_tail(text)}")
    return Timings(*map(float, line.groups()))


def _adb(*words: str) -> str:
    """Everything that adb printed; newer versions keep the phone's stderr apart, older ones do not."""
    try:
        done = subprocess.run(
            ["adb", *words], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise SuiteError(f"adb {' '.join(words)}: not done after {_TIMEOUT} s") from None
    if done.returncode:
        raise SuiteError(f"adb {' '.join(words)} failed ({done.returncode}):\n{_tail(done.stdout + done.stderr)}")
    return done.stdout + done.stderr


def _tail(text: str, lines: int = 12) -> str:
    said: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in said[-lines:]) or "  (nothing)"
