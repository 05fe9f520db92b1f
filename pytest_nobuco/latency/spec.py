"""What is timed, and how: the runtimes, their names in tests' ids, and the options."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

TORCH, KERAS, XNNPACK, GPU = "torch", "keras", "tflite-xnnpack", "tflite-gpu"
PHONE_XNNPACK, PHONE_GPU = "phone-xnnpack", "phone-gpu"
RUNTIMES = (TORCH, KERAS, XNNPACK, GPU, PHONE_XNNPACK, PHONE_GPU)
THREADED = (TORCH, XNNPACK, PHONE_XNNPACK)
# A phone has other cores than this machine: one thread, and as many as most phones have large cores.
_PHONE_THREADS = (1, 4)


OPTIONS = pytest.StashKey["LatencyOptions"]()


@dataclass(frozen=True)
class LatencyCase:
    """What runs the model; `threads` is None where they cannot be chosen."""

    runtime: str
    threads: int | None = None
    backend: ClassVar[str] = ""
    """What nobuco makes is timed."""

    @property
    def id(self) -> str:
        """How the case is written in a test's id."""
        return f"latency-{self.name}"

    @property
    def name(self) -> str:
        """The runtime and its threads."""
        return self.runtime if self.threads is None else f"{self.runtime}-{self.threads}"


@dataclass(frozen=True)
class LatencyOptions:
    """What the command line says about latency."""

    wanted: bool
    only: bool
    threads: tuple[int, ...]
    gpu_fp16: bool
    require_gpu: bool
    adb: str | None
    benchmark_model: str | None


def latency_cases(threads: Sequence[int]) -> list[LatencyCase]:
    """All of them, in the order of the table's rows."""
    return [
        *(LatencyCase(TORCH, n) for n in threads),
        LatencyCase(KERAS),
        *(LatencyCase(XNNPACK, n) for n in threads),
        LatencyCase(GPU),
        *(LatencyCase(PHONE_XNNPACK, n) for n in _PHONE_THREADS),
        LatencyCase(PHONE_GPU),
    ]


def case_named(name: str) -> LatencyCase:
    """The case of this name, e.g. `tflite-xnnpack-4`; `tflite_xnnpack` is one thread; `ValueError` if unknown."""
    runtime, number = re.fullmatch(r"(.*?)(?:-(\d+))?", name.replace("_", "-")).groups()  # type: ignore[union-attr]
    if runtime not in RUNTIMES or (number is not None and runtime not in THREADED):
        raise ValueError(f"unknown runtime {name!r}; there are {', '.join(RUNTIMES)}")
    if runtime not in THREADED:
        return LatencyCase(runtime)
    return LatencyCase(runtime, 1 if number is None else int(number))


def has_benchmark(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is there and switched on."""
    return hasattr(config.option, "benchmark_only")


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def add_latency_options(group: pytest.OptionGroup) -> None:
    """Declare the options about latency."""
    group.addoption(
        "--nobuco-latency",
        action="store_true",
        help="time the models of the suites too, on PyTorch, Keras, TFLite and what else is there (needs "
        "pytest-benchmark). --benchmark-only implies it, and then nothing but latency runs.",
    )
    group.addoption(
        "--nobuco-threads",
        type=_threads,
        metavar="N[,N...]",
        help="with how many threads PyTorch and TFLite are timed (default: 1 and all cores)",
    )
    group.addoption(
        "--nobuco-gpu-fp16",
        action="store_true",
        help="let the GPU compute in float16 where its driver can, as apps do; without it float32 is enforced",
    )
    group.addoption(
        "--nobuco-require-gpu",
        action="store_true",
        help="the absence of a GPU driver is a failure, not a skip (for the CI job that installs one)",
    )
    group.addoption(
        "--nobuco-adb",
        metavar="SERIAL",
        help="time on this Android phone too; 'auto' takes the only one that adb lists",
    )
    group.addoption(
        "--nobuco-benchmark-model",
        metavar="PATH",
        help="TensorFlow Lite's benchmark_model binary for the phone's processor, on this machine; it is pushed",
    )


def read_latency_options(config: pytest.Config) -> LatencyOptions:
    """What was given."""
    only = bool(config.getoption("benchmark_only", False))
    return LatencyOptions(
        wanted=only or config.getoption("nobuco_latency"),
        only=only,
        threads=config.getoption("nobuco_threads") or tuple(sorted({1, cores()})),
        gpu_fp16=config.getoption("nobuco_gpu_fp16"),
        require_gpu=config.getoption("nobuco_require_gpu"),
        adb=config.getoption("nobuco_adb"),
        benchmark_model=config.getoption("nobuco_benchmark_model"),
    )


def _threads(text: str) -> tuple[int, ...]:
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers from 1 up, e.g. 1,4")
    return tuple(sorted(set(numbers)))
