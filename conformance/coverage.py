"""How much of PyTorch converts: each entry of its OpInfo or ModuleInfo database, in Keras and in TFLite.

    python -m conformance.coverage                          # three samples of each entry
    python -m conformance.coverage --match 'fft.*' --tflite
    python -m conformance.coverage --modules                # modules in place of operations
    python -m conformance.coverage --all --resume --out coverage.jsonl

Each entry runs in a process of its own, so that one which crashes or hangs costs no other. Samples that draw
random numbers, and entries that do not take float32, are left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import ModuleInfo, module_db
from torch.utils._python_dispatch import TorchDispatchMode

import nobuco
from nobuco import ChannelOrder
from nobuco.bridge import to_numpy
from nobuco.export.tflite import run_tflite, to_tflite
from nobuco.ir import map_tensors, tensors
from nobuco.registry import Sample
from pytest_nobuco.samples import randomized, seeding

RTOL, ATOL = 1e-3, 1e-4
_MOST = 300  # samples to choose from


@dataclass
class Result:
    """What became of one entry: per sample "ok" or what went wrong, in Keras and in TFLite."""

    name: str
    left_out: str = ""
    keras: list[str] = field(default_factory=list)
    tflite: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every sample matches in Keras."""
        return all(said == "ok" for said in self.keras)

    @property
    def tflite_ok(self) -> bool:
        """Whether every sample matches in TFLite."""
        return bool(self.tflite) and all(said == "ok" for said in self.tflite)


def name_of(info: Any) -> str:
    """The entry's name, with its variant."""
    variant = getattr(info, "variant_test_name", "")
    return f"{info.name}.{variant}" if variant else info.name


# -- one entry, in a child process --------------------------------------------------------------------------


def measured(info: Any, count: int | None, tflite: bool) -> Result:
    """Convert and compare `count` samples (None: all) spread over an entry's."""
    result, started = Result(name_of(info)), time.perf_counter()
    if torch.float32 not in (info.dtypes if isinstance(info, ModuleInfo) else info.supported_dtypes("cpu")):
        result.left_out = "takes no float32"
        return result
    with seeding(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = _of_module(info) if isinstance(info, ModuleInfo) else _of_operation(info)
        samples = [sample for sample, _ in zip(drawn, range(_MOST)) if _is_usable(sample)]
        chosen = [samples[i * len(samples) // count] for i in range(min(count, len(samples)))] if count else samples
        reasons = [_measure(sample, tflite, result) for sample in chosen]
    if not result.keras:
        result.left_out = next(filter(None, reasons), "no sample that could be compared")
    result.seconds = time.perf_counter() - started
    return result


def _of_operation(info: Any) -> Iterator[Sample]:
    """The samples of an operation, which comes first among their arguments."""
    for sample in info.sample_inputs("cpu", torch.float32):
        yield Sample((info.op, sample.input, *sample.args), sample.kwargs)


def _of_module(info: Any) -> Iterator[Sample]:
    """The samples of a module in eval mode, which comes first among their arguments."""
    for given in info.module_inputs_func(info, "cpu", torch.float32, False, False):
        module = info.module_cls(*given.constructor_input.args, **given.constructor_input.kwargs).to(torch.float32)
        args, kwargs = given.forward_input.args, given.forward_input.kwargs
        if isinstance(module, LazyModuleMixin):
            module(*args, **kwargs)
        yield Sample((randomized(module), *args), kwargs)


def _is_usable(sample: Sample) -> bool:
    given = tensors((sample.args, dict(sample.kwargs)))
    return bool(given) and all(t.layout is torch.strided and not t.is_quantized for t in given)


def _measure(sample: Sample, tflite: bool, result: Result) -> str:
    """Add what a sample shows to the result; gives why it is left out, if it is."""
    op, *arguments = sample.args
    tree = (tuple(arguments), dict(sample.kwargs))
    given = [t.detach().clone() for t in tensors(tree)]

    def program(*given: torch.Tensor) -> list[torch.Tensor]:
        args, kwargs = map_tensors(lambda _, i: given[i], tree)
        return tensors(op(*args, **kwargs))

    with torch.no_grad():
        (expected, is_random), (again, _) = (_run(program, given, seed) for seed in (0, 1))
    if not expected:
        return "gives no tensor"
    if is_random or not all(map(_same, expected, again)):
        return "random"
    model = None
    try:
        model, report = nobuco.pytorch_to_keras(
            program,
            given,
            inputs_channel_order=ChannelOrder.PYTORCH,
            outputs_channel_order=ChannelOrder.PYTORCH,
            full_validation=False,
            return_report=True,
            verbose=False,
        )
        result.opened += [node.name for node in report.walk() if node.opened and node.name not in result.opened]
        feeds = [nobuco.t_pytorch2keras(t, ChannelOrder.PYTORCH) for t in given]
        got = keras.tree.flatten(model(feeds[0] if len(feeds) == 1 else feeds))
        result.keras.append(
            _verdict([to_numpy(nobuco.t_keras2pytorch(x, ChannelOrder.PYTORCH)) for x in got], expected)
        )
    except Exception as error:
        result.keras.append(_told(error))
    if tflite:
        result.tflite.append("not in Keras" if model is None else _in_tflite(model, feeds, expected))
    return ""


class _Draws(TorchDispatchMode):
    """Notes whether any call draws random numbers; what comes out does not tell where a sample sets its own seed."""

    drew = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = torch.get_rng_state()
        returned = func(*args, **(kwargs or {}))
        self.drew |= not torch.equal(before, torch.get_rng_state())
        return returned


def _run(program: Any, given: Sequence[torch.Tensor], seed: int) -> tuple[list[np.ndarray], bool]:
    """What PyTorch gives, and whether it draws random numbers for it."""
    with seeding(seed), _Draws() as draws:
        returned = program(*(t.clone() for t in given))
    return [to_numpy(t.resolve_conj().resolve_neg()) for t in returned], draws.drew


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _in_tflite(model: Any, feeds: Sequence[Any], expected: Sequence[np.ndarray]) -> str:
    try:
        got = run_tflite(to_tflite(model), feeds)
        return _verdict([to_numpy(nobuco.t_keras2pytorch(x, ChannelOrder.PYTORCH)) for x in got], expected)
    except Exception as error:
        return _told(error)


def _verdict(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    if len(got) != len(expected):
        return f"{len(got)} outputs, PyTorch gives {len(expected)}"
    for a, b in zip(got, expected):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{list(a.shape)}, PyTorch gives {b.dtype}{list(b.shape)}"
        if not np.allclose(a, b, RTOL, ATOL, equal_nan=a.dtype.kind in "fc"):
            with np.errstate(invalid="ignore"):
                return f"differs by {np.nanmax(np.abs(a.astype(np.complex128) - b)):.2g}"
    return "ok"


def _told(error: Exception) -> str:
    if isinstance(error, nobuco.ConversionError) and error.gaps:
        return f"no converter: {', '.join(dict.fromkeys(error.gaps))}"
    text = str(error).replace("\n", " ")
    last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{type(error).__name__}: {text[:300]} [{Path(last.filename).name}:{last.lineno}]"


# -- all entries, a process each ----------------------------------------------------------------------------


def measure_all(infos: Sequence[Any], jobs: int, timeout: float, count: int | None, tflite: bool) -> Iterator[Result]:
    """Measure entries in `jobs` processes at a time; gives each result as it comes."""
    context = multiprocessing.get_context("fork")  # all imports are done, and nothing of TensorFlow has run yet
    waiting, running = list(infos), []
    while waiting or running:
        while waiting and len(running) < jobs:
            info = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, info, count, tflite))
            process.start()
            theirs.close()
            running.append((process, ours, info, time.monotonic()))
        multiprocessing.connection.wait([ours for _, ours, _, _ in running], timeout=1)
        for entry in list(running):
            result = _finished(*entry, timeout)
            if result is not None:
                running.remove(entry)
                yield result


def _child(pipe: Connection, info: Any, count: int | None, tflite: bool) -> None:
    pipe.send(measured(info, count, tflite))


def _finished(process: Any, pipe: Connection, info: Any, started: float, timeout: float) -> Result | None:
    """The result of a child, if it is over: what it sent, or that it crashed or took too long."""
    result = None
    if pipe.poll():
        try:
            result = pipe.recv()
        except EOFError:
            result = Result(name_of(info), keras=["crashed"])
    elif time.monotonic() - started > timeout:
        process.kill()
        result = Result(name_of(info), keras=[f"no answer in {timeout:g} s"])
    if result is not None:
        process.join()
        result.seconds = result.seconds or time.monotonic() - started
    return result


# -- the command ------------------------------------------------------------------------------------------


def summary(results: Sequence[Result], tflite: bool) -> str:
    """The totals, and the most frequent causes of failure."""
    counted = [r for r in results if not r.left_out]
    samples = [said for r in counted for said in r.keras]
    lines = [
        f"{len(results) - len(counted)} entries left out: {dict(Counter(r.left_out for r in results if r.left_out))}"
    ]
    for title, ok, said in (
        ("Keras", sum(r.ok for r in counted), samples),
        ("TFLite", sum(r.tflite_ok for r in counted), [said for r in counted for said in r.tflite]),
    ):
        if said and (tflite or title == "Keras"):
            matching = sum(one == "ok" for one in said)
            lines.append(
                f"{title}: {ok} of {len(counted)} operations match on every sample ({100 * ok / len(counted):.1f} %), "
                f"{matching} of {len(said)} samples ({100 * matching / len(said):.1f} %)"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--match", default="*", help="entries whose name matches this pattern, or one of several with |"
    )
    parser.add_argument("--modules", action="store_true", help="modules in place of operations")
    parser.add_argument("--samples", type=int, default=3, help="samples of each entry, spread over those that it has")
    parser.add_argument("--all", action="store_true", help="all samples of each entry (at most 300)")
    parser.add_argument("--tflite", action="store_true", help="in TFLite, too")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each entry")
    parser.add_argument("--out", type=Path, help="a file that gets a line of JSON for each entry")
    parser.add_argument("--resume", action="store_true", help="leave out the entries that are in --out already")
    options = parser.parse_args()
    patterns = options.match.split("|")
    database: Iterable[Any] = module_db if options.modules else op_db
    infos = [info for info in database if any(fnmatchcase(name_of(info), pattern) for pattern in patterns)]
    results = []
    if options.out and options.out.exists():
        if options.resume:
            results = [Result(**json.loads(line)) for line in options.out.read_text().splitlines()]
        else:
            options.out.unlink()
    known = {result.name for result in results}
    infos = [info for info in infos if name_of(info) not in known]
    count = None if options.all else options.samples
    for result in measure_all(infos, options.jobs, options.timeout, count, options.tflite):
        results.append(result)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
        said = result.left_out or " | ".join(dict.fromkeys((*result.keras, *result.tflite)))
        print(f"{result.name:50} {said}", flush=True)
    print(summary(results, options.tflite))


if __name__ == "__main__":
    main()
