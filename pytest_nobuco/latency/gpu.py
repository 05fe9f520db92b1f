"""The GPU: is there one, and how long does a model take on it; both asked of a child process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nobuco.errors import SuiteError, UnavailableError

if TYPE_CHECKING:
    import numpy as np

_MISSING = 3  # as in gpu_child
_TIMEOUT = 900  # seconds; a software driver may take minutes to compile a large model
_HOST_MEMORY = 1  # the type of a LiteRT buffer that the CPU reads
_NOISE = re.compile(r"INFO: |I\d{4} |WARNING: (Logging before|\[npu_registry|\[compiler_plugin)|└ Could not load")
_NO_DRIVER = re.compile(r"Couldn't load|Found no drivers|No adapters found")
HOW_TO_GET_ONE = (
    "Install the Vulkan driver of your GPU; without a GPU a software driver does, e.g. SwiftShader "
    "(see docs/benchmarks.md)"
)


@dataclass(frozen=True)
class Adapter:
    """The GPU as Dawn names it."""

    name: str
    kind: str

    @property
    def is_software(self) -> bool:
        """Whether it is a processor that plays a GPU."""
        return self.kind.startswith("CPU")

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


@dataclass(frozen=True)
class Budget:
    """How long to measure: at least so many runs, and as many more as fit in so many seconds."""

    min_rounds: int
    max_seconds: float


@dataclass(frozen=True)
class GpuRun:
    """Seconds of each run, what came out, and what the delegate left to the CPU."""

    seconds: tuple[float, ...]
    outputs: tuple[np.ndarray, ...]
    compile_seconds: float
    adapter: Adapter
    outside: int
    refusals: tuple[str, ...]


def find_adapter() -> Adapter:
    """The GPU that a model would run on, found by running one addition.

    Raises:
        UnavailableError: there is none; the message says what to install.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = {"model": None, "feeds": None, "outputs": None, "fp16": False, "allow_cpu": False}
        done = _child(Path(folder), request, Budget(1, 0.0))
    if done.returncode == _MISSING:
        raise UnavailableError("the GPU delegate needs ai-edge-litert: pip install 'nobuco[pytest]'")
    adapter = adapter_in(done.stderr)
    if done.returncode or adapter is None:
        said = [line.strip() for line in done.stderr.splitlines() if _NO_DRIVER.search(line)]
        raise UnavailableError(
            f"no GPU driver that LiteRT can use: {said[0] if said else _tail(done)}. {HOW_TO_GET_ONE}"
        )
    return adapter


def run_on_gpu(data: bytes, feeds: Sequence[np.ndarray], budget: Budget, fp16: bool = False) -> GpuRun:
    """Compile a TFLite file for the GPU and time it.

    The GPU alone is asked first, so that nothing falls back to the CPU unnoticed. If it takes only a part of
    the operations, the rest runs on the CPU, and the result says how many those are and why.

    Raises:
        SuiteError: it takes none of them, does not compile the model, or ended the child; with its stderr.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        model, feed_file, output_file = (Path(folder, name) for name in ("model.tflite", "feeds.npz", "outputs.npz"))
        model.write_bytes(data)
        np.savez(feed_file, *feeds)
        request = {
            "model": str(model), "feeds": str(feed_file), "outputs": str(output_file), "fp16": fp16,
            "allow_cpu": False,
        }  # fmt: skip
        done = _child(Path(folder), request, budget)
        if done.returncode > 0 and _on_gpu(done.stderr) > 0:
            done = _child(Path(folder), {**request, "allow_cpu": True}, budget)
        answer = _answer(done)
        with np.load(output_file) as archive:
            outputs = tuple(archive[f"arr_{i}"] for i in range(len(archive.files)))
    adapter = adapter_in(done.stderr)
    on_host = all(_HOST_MEMORY in types for types in answer["buffer_types"])
    outside, refusals = _left_out(done.stderr)
    if adapter is None or (on_host and not outside):
        raise SuiteError(f"nothing shows that the model ran on a GPU:\n{_tail(done)}")
    return GpuRun(tuple(answer["seconds"]), outputs, answer["compile_seconds"], adapter, outside, refusals)


def adapter_in(stderr: str) -> Adapter | None:
    """The adapter that LiteRT says it has selected."""
    line = re.search(r"Selected adapter: (.*)", stderr)
    if line is None:
        return None
    name, _, rest = line[1].partition(", arch=")
    kind = re.search(r"adapterType=(.*)", rest)
    return Adapter(name.strip(), kind[1].strip() if kind else "unknown type")


def _on_gpu(stderr: str) -> int:
    """How many operations the delegate would take of a model that it does not take as a whole."""
    split = re.search(r"(\d+) operations? will run on the GPU, and the remaining", stderr)
    return int(split[1]) if split else 0


def _left_out(stderr: str) -> tuple[int, tuple[str, ...]]:
    """How many operations run on the CPU, and why."""
    split = re.search(r"will run on the GPU, and the remaining (\d+) operations? will run on the CPU", stderr)
    listed = re.search(r"operations are not supported by GPU delegate:\n(.*?)\n[^\n]*will run on the CPU", stderr, re.S)
    return int(split[1]) if split else 0, tuple(listed[1].splitlines()) if listed else ()


def _child(folder: Path, request: dict[str, Any], budget: Budget) -> subprocess.CompletedProcess[str]:
    path = folder / "request.json"
    path.write_text(json.dumps({**request, "min_rounds": budget.min_rounds, "max_seconds": budget.max_seconds}))
    root = str(Path(__file__).parents[2])
    python_path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    try:
        return subprocess.run(
            [sys.executable, "-m", "pytest_nobuco.latency.gpu_child", str(path)],
            capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False,
            env={**os.environ, "PYTHONPATH": python_path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SuiteError(f"the GPU was not done after {_TIMEOUT} s") from None


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise SuiteError(f"the GPU delegate crashed ({name}); the end of its stderr:\n{_tail(done, noise=True)}")
    if done.returncode:
        raise SuiteError(f"the GPU delegate does not run this model:\n{_tail(done)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _tail(done: subprocess.CompletedProcess[str], lines: int = 12, noise: bool = False) -> str:
    """What the child said last, without what it says of every model."""
    said = [line for line in done.stderr.splitlines() if line.strip() and (noise or not _NOISE.match(line))]
    return "\n".join(f"  {line}" for line in said[-lines:]) or "  (nothing)"
