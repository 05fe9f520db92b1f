"""How much of PyTorch converts: each entry of its OpInfo or ModuleInfo database, in Keras and in TFLite.

    python -m conformance.coverage                          # three samples of each entry
    python -m conformance.coverage --match 'fft.*' --tflite
    python -m conformance.coverage --modules                # modules in place of operations
    python -m conformance.coverage --all --resume --out coverage.jsonl
    python -m conformance.coverage --dtypes --samples 2     # each dtype: right, raises, or WRONG without a word

Each entry runs in a process of its own, so that one which crashes or hangs costs no other. Where a sample draws random
numbers, only shape and dtype are compared, and that other numbers come than those of the trace. Entries that do not
take float32 are left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import ModuleInfo, module_db
from torch.utils._python_dispatch import TorchDispatchMode

import nobuco
import nobuco.converters  # once, before the processes part
from nobuco import ChannelOrder
from nobuco.bridge import to_numpy
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.ir import map_tensors, tensors
from nobuco.layers.output import in_order
from nobuco.registry import Sample
from nobuco.trace.calls import UNINITIALISED
from pytest_nobuco.converters.samples import randomized, sample_inputs, seeding

RTOL, ATOL = 1e-3, 1e-4
_COARSE = {"float16": 1e-2, "bfloat16": 5e-2}  # relative, and of the largest element
_DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip
_MOST = 300  # samples to choose from
_BAKED = "gives the numbers of the trace"


@dataclass
class Result:
    """What became of one entry: per sample "ok" or what went wrong, in Keras and in TFLite."""

    name: str
    left_out: str = ""
    keras: list[str] = field(default_factory=list)
    tflite: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
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
    if torch.float32 not in _dtypes_of(info) or info.name in UNINITIALISED:
        result.left_out = "no values" if info.name in UNINITIALISED else "takes no float32"
        return result
    with seeding(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reasons = [_measure(sample, tflite, result) for sample in _samples(info, torch.float32, count)]
    if not result.keras:
        result.left_out = next(filter(None, reasons), "no sample that could be compared")
    result.seconds = time.perf_counter() - started
    return result


def measured_by_dtype(info: Any, count: int | None) -> Result:
    """What becomes of `count` samples of each dtype: ok, raises, or WRONG, a wrong answer without a word."""
    result, started = Result(name_of(info)), time.perf_counter()
    for dtype in () if info.name in UNINITIALISED else _DTYPES:
        if dtype in _dtypes_of(info):
            own = Result(result.name)
            with seeding(0), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for sample in _samples(info, dtype, count):
                    _measure(sample, False, own)
            if own.keras:
                result.dtypes[str(dtype).removeprefix("torch.")] = _worst(own.keras)
    result.seconds = time.perf_counter() - started
    return result


def _worst(said: Sequence[str]) -> str:
    raised = [one for one in said if ": " in one]
    wrong = [one for one in said if one != "ok" and one not in raised]
    return f"WRONG, {wrong[0]}" if wrong else f"raises {raised[0]}" if raised else "ok"


def _dtypes_of(info: Any) -> Any:
    return info.dtypes if isinstance(info, ModuleInfo) else info.supported_dtypes("cpu")


def _samples(info: Any, dtype: torch.dtype, count: int | None) -> list[Sample]:
    """`count` samples (None: all) of a dtype, spread over an entry's."""
    drawn = _of_module(info, dtype) if isinstance(info, ModuleInfo) else _of_operation(info, dtype)
    samples = [sample for sample, _ in zip(drawn, range(_MOST)) if _is_usable(sample)]
    return [samples[i * len(samples) // count] for i in range(min(count, len(samples)))] if count else samples


def _of_operation(info: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """The samples of an operation, which comes first among their arguments."""
    for sample in sample_inputs(info, dtype):
        op = info.op
        if info.name in _ORDERS_ARE_OPEN:
            op = _then(op, _ORDERS_ARE_OPEN[info.name])
        elif info.name in _SIGNS_ARE_OPEN:
            op = _then(op, sample.output_process_fn_grad)
        elif info.name in _TIES_ARE_OPEN and dtype is not torch.float32:
            op = _then(op, lambda found: found[0])
        stable = {"stable": True} if info.name == "argsort" else {}
        yield Sample((op, sample.input, *sample.args), {**sample.kwargs, **stable})


# What PyTorch does not define is not compared: the order of eigenvalues, the signs of eigenvectors, as its own tests
# leave them out, and, where a dtype has but few numbers, the indices of equals.
_SIGNS_ARE_OPEN = {"linalg.eigh", "linalg.svd", "svd"}
_TIES_ARE_OPEN = {"sort", "topk", "kthvalue", "median", "nanmedian", "mode", "max", "min"}


def _eigenvalues_in_order(values: torch.Tensor) -> torch.Tensor:
    return values.gather(-1, _order(values))


def _eigenvectors_in_order(found: Any) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = found
    order = _order(values).unsqueeze(-2).expand(vectors.shape)
    return _eigenvalues_in_order(values), vectors.abs().gather(-1, order)


def _order(values: torch.Tensor) -> torch.Tensor:
    return torch.argsort(4 * values.real + values.imag, dim=-1)


_ORDERS_ARE_OPEN = {"linalg.eigvals": _eigenvalues_in_order, "linalg.eig": _eigenvectors_in_order}


def _then(op: Any, defined: Any) -> Any:
    return lambda *args, **kwargs: defined(op(*args, **kwargs))


def _of_module(info: Any, dtype: torch.dtype) -> Iterator[Sample]:
    """The samples of a module in eval mode, which comes first among their arguments."""
    for given in info.module_inputs_func(info, "cpu", dtype, False, False):
        module = info.module_cls(*given.constructor_input.args, **given.constructor_input.kwargs).to(dtype)
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

    try:
        with torch.no_grad():
            expected, is_random = _run(program, given)
            others = _run_otherwise(program, given) if is_random else []
    except Exception as error:
        return f"does not run: {type(error).__name__}"
    if not expected:
        return "gives no tensor"
    if all(a.size and a.dtype.kind in "fc" and np.isnan(a).all() for a in expected):
        return "gives nothing but NaN"
    verdict = partial(_verdict_of_random, others=others) if is_random else _verdict
    model = None
    try:
        model, report = _converted(program, given)
        result.opened += [node.name for node in report.walk() if node.opened and node.name not in result.opened]
        feeds = [nobuco.t_pytorch2keras(t, ChannelOrder.PYTORCH) for t in given]
        result.keras.append(_judged(partial(_in_keras, model, feeds), verdict, expected))
    except Exception as error:
        result.keras.append(_told(error))
    if tflite and model is None:
        result.tflite.append("not in Keras")
    elif tflite and any(a.dtype.kind == "c" for a in expected):  # a file gives such as pairs
        result.tflite.append(_pairs_in_tflite(program, given, feeds, expected, verdict))
    elif tflite:
        result.tflite.append(_in_tflite(model, feeds, expected, verdict))
    return ""


def _converted(program: Any, given: Sequence[torch.Tensor]) -> tuple[Any, Any]:
    return nobuco.pytorch_to_keras(
        program,
        given,
        inputs_channel_order=ChannelOrder.PYTORCH,
        outputs_channel_order=ChannelOrder.PYTORCH,
        full_validation=False,
        return_report=True,
        verbose=False,
    )


def _pairs_in_tflite(
    program: Any, given: Sequence[torch.Tensor], feeds: Sequence[Any], expected: Sequence[np.ndarray], verdict: Any
) -> str:
    def pairs(*given: torch.Tensor) -> list[torch.Tensor]:
        found = program(*given)
        return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in found]

    try:
        model, _ = _converted(pairs, given)
    except Exception as error:
        return _told(error)
    wanted = [np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a for a in expected]
    return _in_tflite(model, feeds, wanted, verdict)


@dataclass
class _Draws(TorchDispatchMode):
    """Notes whether any call draws random numbers; what comes out does not tell where a sample sets its own seed.

    With `redrawn` each draws twice, so that others come out under that very seed.
    """

    redrawn: bool = False
    drew: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = torch.get_rng_state()
        returned = func(*args, **(kwargs or {}))
        if not torch.equal(before, torch.get_rng_state()):
            self.drew = True
            returned = func(*args, **(kwargs or {})) if self.redrawn else returned
        return returned


def _run(program: Any, given: Sequence[torch.Tensor]) -> tuple[list[np.ndarray], bool]:
    """What PyTorch gives, and whether it draws random numbers for it."""
    with seeding(0), _Draws() as draws:
        program(*(t.clone() for t in given))
    with seeding(0):  # without the mode, under which PyTorch gets `pinv` of complex numbers wrong
        returned = program(*(t.clone() for t in given))
    return [to_numpy(t) for t in returned], draws.drew


def _run_otherwise(program: Any, given: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """What PyTorch gives of other random numbers."""
    with seeding(0), _Draws(redrawn=True):
        returned = program(*(t.clone() for t in given))
    return [to_numpy(t) for t in returned]


def _in_keras(model: Any, feeds: Sequence[Any]) -> list[np.ndarray]:
    return _as_pytorch(in_order(model(feeds[0] if len(feeds) == 1 else feeds)))


def _in_tflite(model: Any, feeds: Sequence[Any], expected: Sequence[np.ndarray], verdict: Any) -> str:
    try:
        data = to_tflite(model)
        return _judged(lambda: _as_pytorch(run_tflite(data, feeds)), verdict, expected)
    except Exception as error:
        return _told(error)


def _as_pytorch(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [to_numpy(nobuco.t_keras2pytorch(x, ChannelOrder.PYTORCH)) for x in outputs]


def _judged(run: Callable[[], list[np.ndarray]], verdict: Any, expected: Sequence[np.ndarray]) -> str:
    """What is said of a run; where few numbers can come, those of the trace may, but not five times."""
    for _ in range(5):
        said = verdict(run(), expected)
        if said != _BAKED:
            return said
    return _BAKED


def _verdict(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    if len(got) != len(expected):
        return f"{len(got)} outputs, PyTorch gives {len(expected)}"
    for a, b in zip(got, expected):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{list(a.shape)}, PyTorch gives {b.dtype}{list(b.shape)}"
        rtol, atol = _tolerance(b)
        exact = a.dtype.kind in "biu"
        wide = np.complex128 if a.dtype.kind == "c" else a.dtype if exact else np.float64
        a, b = a.astype(wide), b.astype(wide)
        if not (np.array_equal(a, b) if exact else np.allclose(a, b, rtol, atol, equal_nan=True)):
            with np.errstate(invalid="ignore"):
                return f"differs by {np.nanmax(np.abs(a.astype(np.complex128) - b)):.2g}"
    return "ok"


def _tolerance(expected: np.ndarray) -> tuple[float, float]:
    """Relative and absolute; the coarse dtypes are summed up in another order, and in PyTorch in float32."""
    coarse = _COARSE.get(expected.dtype.name)
    if coarse is None:
        return RTOL, ATOL
    finite = expected.astype(np.float64)
    peak = np.max(np.abs(finite), initial=1.0, where=np.isfinite(finite))
    return coarse, coarse * peak


def _verdict_of_random(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> str:
    if [(a.shape, a.dtype) for a in got] != [(b.shape, b.dtype) for b in expected]:
        return _verdict(got, expected)
    varies = any(len(np.unique(b)) > 4 and not np.array_equal(b, c) for b, c in zip(expected, others))
    baked = varies and all(map(np.array_equal, got, expected))
    return _BAKED if baked else "ok"


def _told(error: Exception) -> str:
    if isinstance(error, nobuco.ConversionError) and error.gaps:
        return f"no converter: {', '.join(dict.fromkeys(error.gaps))}"
    text = str(error).replace("\n", " ")
    last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{type(error).__name__}: {text[:300]} [{Path(last.filename).name}:{last.lineno}]"


# -- all entries, a process each ----------------------------------------------------------------------------


def measure_all(infos: Sequence[Any], jobs: int, timeout: float, measure: Callable[[Any], Result]) -> Iterator[Result]:
    """Measure entries in `jobs` processes at a time; gives each result as it comes."""
    context = multiprocessing.get_context("fork")  # all imports are done, and nothing of TensorFlow has run yet
    waiting, running = list(infos), []
    while waiting or running:
        while waiting and len(running) < jobs:
            info = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, info, measure))
            process.start()
            theirs.close()
            running.append((process, ours, info, time.monotonic()))
        multiprocessing.connection.wait([ours for _, ours, _, _ in running], timeout=1)
        for entry in list(running):
            result = _finished(*entry, timeout)
            if result is not None:
                running.remove(entry)
                yield result


def _child(pipe: Connection, info: Any, measure: Callable[[Any], Result]) -> None:
    pipe.send(measure(info))


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


def dtype_row(result: Result) -> str:
    """One row of the table: each dtype that the operation takes, with what is wrong."""
    return " ".join(
        f"{dtype}{'✓' if said == 'ok' else '·' if said.startswith('raises') else '✗ (' + said + ')'}"
        for dtype, said in result.dtypes.items()
    )


def dtype_summary(results: Sequence[Result]) -> str:
    """By dtype: how many operations are right, raise, and are wrong without a word."""
    lines = []
    for dtype in (str(dtype).removeprefix("torch.") for dtype in _DTYPES):
        said = [r.dtypes[dtype] for r in results if dtype in r.dtypes]
        ok, wrong = said.count("ok"), sum(one.startswith("WRONG") for one in said)
        lines.append(f"{dtype:10} {ok:4} ok, {len(said) - ok - wrong:4} raise, {wrong:4} WRONG, of {len(said)}")
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
    parser.add_argument("--dtypes", action="store_true", help="in each dtype, instead of in float32")
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
    in_float32 = partial(measured, count=count, tflite=options.tflite)
    measure = partial(measured_by_dtype, count=count) if options.dtypes else in_float32
    for result in measure_all(infos, options.jobs, options.timeout, measure):
        results.append(result)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
        said = result.left_out or " | ".join(dict.fromkeys((*result.keras, *result.tflite)))
        print(f"{result.name:50} {dtype_row(result) if options.dtypes else said}", flush=True)
    print(dtype_summary(results) if options.dtypes else summary(results, options.tflite))


if __name__ == "__main__":
    main()
