"""Latency on a machine that has a GPU and no TensorFlow: files made here, timed there.

    python -m conformance.latency_elsewhere make FOLDER [NETWORK ...]    # where nobuco is installed
    python -m conformance.latency_elsewhere time FOLDER                  # needs NumPy and ai-edge-litert only

The folder holds, of each network, the TFLite file, the inputs, and PyTorch's outputs, with which every run is compared.
`time` prints a Markdown table of medians in milliseconds, from arrays in the host's memory to arrays in the host's
memory; where PyTorch sees the GPU too, its eager run on it is timed beside, in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_nobuco.errors import SuiteError
from pytest_nobuco.latency.delegated import file_facts
from pytest_nobuco.latency.deployed import run_interpreter
from pytest_nobuco.latency.gpu import Budget, GpuRun, find_adapter, run_on_gpu
from pytest_nobuco.latency.runtimes import processor

BUDGET = Budget(min_rounds=10, max_seconds=1.0)
COLUMNS = (
    "network", "operations", "on the CPU", "GPU float32", "max diff", "GPU float16", "max diff", "compile s",
    "XNNPACK, 1 thread", "XNNPACK, 8 threads", "PyTorch eager, CUDA",
)  # fmt: skip


def main() -> None:
    """Make the folder, or print the table of what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "time"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="networks of conformance.models (default: all; those in the folder)")
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder, options.names)
        return
    for line in table(options.folder, options.names):
        print(line, flush=True)


def make(folder: Path, names: Sequence[str]) -> None:
    """Convert the networks."""
    import torch

    import nobuco
    from conformance.models import CASES, case
    from nobuco.bridge import flat_outputs
    from nobuco.export.tflite_file import to_tflite

    folder.mkdir(parents=True, exist_ok=True)
    for of in [case(name) for name in names] or CASES:
        model, inputs = of.built()
        keras_model = nobuco.pytorch_to_keras(
            model, list(inputs), inputs_channel_order=of.order, outputs_channel_order=of.outputs_order, verbose=False
        )
        (folder / f"{of.name}.tflite").write_bytes(to_tflite(keras_model))
        with torch.no_grad():
            expected = [nobuco.t_pytorch2keras(y, of.outputs_order) for y in flat_outputs(model(*inputs))]
        feeds = [nobuco.t_pytorch2keras(x, of.order) for x in inputs]
        arrays = {f"input_{i}": feed.numpy() for i, feed in enumerate(feeds)}
        arrays |= {f"output_{i}": output.numpy() for i, output in enumerate(expected)}
        np.savez(folder / f"{of.name}.npz", **arrays)


def table(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """One line per network of the folder, and why the GPU refuses those that it does."""
    adapter, refused = find_adapter(), []
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|{'---:|' * (len(COLUMNS) - 1)}"
    for file in [folder / f"{name}.tflite" for name in names] or sorted(folder.glob("*.tflite")):
        with np.load(file.with_suffix(".npz")) as archive:
            feeds, expected = ([archive[k] for k in archive if k.startswith(kind)] for kind in ("input", "output"))
        data = file.read_bytes()
        runs = [_tried(data, feeds, fp16) for fp16 in (False, True)]
        refused += [f"{file.stem}: {run}" for run in {run for run in runs if isinstance(run, str)}]
        yield f"| {' | '.join([file.stem, *_cells(file.stem, data, feeds, expected, runs)])} |"
    yield ""
    yield f"GPU: {adapter}. Processor: {processor()}. Medians in ms; max diff as a fraction of the largest output."
    yield from refused


def _cells(
    name: str, data: bytes, feeds: Sequence[np.ndarray], expected: Sequence[np.ndarray], runs: Sequence[GpuRun | str]
) -> Iterator[str]:
    precise = runs[0]
    yield str(file_facts(data).operations)
    yield "–" if isinstance(precise, str) else str(precise.outside)
    for run in runs:
        yield from ("refused", "–") if isinstance(run, str) else (
            _ms(run.seconds), f"{_difference(run.outputs, expected):.1e}",
        )  # fmt: skip
    yield "–" if isinstance(precise, str) else f"{precise.compile_seconds:.1f}"
    for threads in (1, 8):
        yield _ms(_timed(_on_cpu(data, feeds, threads)))
    yield _eager(name)


def _tried(data: bytes, feeds: Sequence[np.ndarray], fp16: bool) -> GpuRun | str:
    """The run on the GPU, or what the delegate said in place of it."""
    try:
        return run_on_gpu(data, feeds, BUDGET, fp16)
    except SuiteError as error:
        return " ".join(str(error).split())


def _on_cpu(data: bytes, feeds: Sequence[np.ndarray], threads: int) -> Callable[[], Any]:
    from ai_edge_litert.interpreter import Interpreter

    return run_interpreter(Interpreter(model_content=data, num_threads=threads), feeds)


def _eager(name: str) -> str:
    try:
        import torch
    except ImportError:
        return "–"
    if not torch.cuda.is_available():
        return "–"
    from conformance.models import case

    torch.backends.cudnn.allow_tf32 = False  # float32, as on the other side
    model, inputs = case(name).built()
    model = model.cuda()

    def run() -> Any:
        outputs = model(*[x.cuda() for x in inputs])
        return torch.utils._pytree.tree_map(lambda y: y.cpu(), outputs)

    with torch.inference_mode():
        return _ms(_timed(run))


def _timed(run: Callable[[], Any]) -> list[float]:
    """Seconds of each run within the budget, after one that is not counted."""
    run()
    seconds: list[float] = []
    deadline = time.perf_counter() + BUDGET.max_seconds
    while len(seconds) < BUDGET.min_rounds or time.perf_counter() < deadline:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g}"


def _difference(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    return max(float(np.abs(g - e).max() / np.abs(e).max()) for g, e in zip(got, expected, strict=True))


if __name__ == "__main__":
    main()
