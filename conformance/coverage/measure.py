"""One entry measured: its samples converted and compared."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nobuco
import nobuco.converters  # once, before the processes part
from conformance.coverage.entries import DTYPES, dtypes_of, name_of, samples_of
from conformance.coverage.verdicts import judged, told, verdict, verdict_of_random
from nobuco import ChannelOrder
from nobuco.bridge import to_numpy
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.ir import map_tensors, tensors
from nobuco.layers.output import called
from nobuco.registry import Sample
from nobuco.trace.calls import UNINITIALISED
from pytest_nobuco.converters.samples import seeding


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


def measured(info: Any, count: int | None, tflite: bool) -> Result:
    """Convert and compare `count` samples (None: all) spread over an entry's."""
    result, started = Result(name_of(info)), time.perf_counter()
    if torch.float32 not in dtypes_of(info) or info.name in UNINITIALISED:
        result.left_out = "no values" if info.name in UNINITIALISED else "takes no float32"
        return result
    with seeding(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reasons = [measure(sample, tflite, result) for sample in samples_of(info, torch.float32, count)]
    if not result.keras:
        result.left_out = next(filter(None, reasons), "no sample that could be compared")
    result.seconds = time.perf_counter() - started
    return result


def measured_by_dtype(info: Any, count: int | None) -> Result:
    """What becomes of `count` samples of each dtype: ok, raises, or WRONG, a wrong answer without a word."""
    result, started = Result(name_of(info)), time.perf_counter()
    for dtype in () if info.name in UNINITIALISED else DTYPES:
        if dtype in dtypes_of(info):
            own = Result(result.name)
            with seeding(0), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for sample in samples_of(info, dtype, count):
                    measure(sample, False, own)
            if own.keras:
                result.dtypes[str(dtype).removeprefix("torch.")] = _worst(own.keras)
    result.seconds = time.perf_counter() - started
    return result


def _worst(said: Sequence[str]) -> str:
    raised = [one for one in said if ": " in one]
    wrong = [one for one in said if one != "ok" and one not in raised]
    return f"WRONG, {wrong[0]}" if wrong else f"raises {raised[0]}" if raised else "ok"


def measure(sample: Sample, tflite: bool, result: Result) -> str:
    """Add what a sample shows to the result; gives why it is left out, if it is."""
    op, *arguments = sample.args
    tree = (tuple(arguments), dict(sample.kwargs))
    inputs = [t.detach().clone() for t in tensors(tree)]

    def program(*inputs: torch.Tensor) -> list[torch.Tensor]:
        args, kwargs = map_tensors(lambda _, i: inputs[i], tree)
        return tensors(op(*args, **kwargs))

    try:
        with torch.no_grad():
            expected, is_random = run(program, inputs)
            others = run_otherwise(program, inputs) if is_random else []
    except Exception as error:
        return f"does not run: {type(error).__name__}"
    if not expected:
        return "gives no tensor"
    if all(a.size and a.dtype.kind in "fc" and np.isnan(a).all() for a in expected):
        return "gives nothing but NaN"
    judge = partial(verdict_of_random, others=others) if is_random else verdict
    model = None
    try:
        model, report = _converted(program, inputs)
        result.opened += [node.name for node in report.walk() if node.opened and node.name not in result.opened]
        feeds = [nobuco.t_pytorch2keras(t, ChannelOrder.PYTORCH) for t in inputs]
        result.keras.append(judged(partial(_in_keras, model, feeds), judge, expected))
    except Exception as error:
        result.keras.append(told(error))
    if tflite and model is None:
        result.tflite.append("not in Keras")
    elif tflite and any(a.dtype.kind == "c" for a in expected):  # a file gives such as pairs
        result.tflite.append(_pairs_in_tflite(program, inputs, feeds, expected, judge))
    elif tflite:
        result.tflite.append(_in_tflite(model, feeds, expected, judge))
    return ""


def _converted(program: Any, inputs: Sequence[torch.Tensor]) -> tuple[Any, Any]:
    return nobuco.pytorch_to_keras(
        program, inputs, inputs_channel_order=ChannelOrder.PYTORCH, outputs_channel_order=ChannelOrder.PYTORCH,
        full_validation=False, return_report=True, verbose=False,
    )  # fmt: skip


def _pairs_in_tflite(
    program: Any, inputs: Sequence[torch.Tensor], feeds: Sequence[Any], expected: Sequence[np.ndarray], judge: Any
) -> str:
    def pairs(*inputs: torch.Tensor) -> list[torch.Tensor]:
        results = program(*inputs)
        return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in results]

    try:
        model, _ = _converted(pairs, inputs)
    except Exception as error:
        return told(error)
    wanted = [np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a for a in expected]
    return _in_tflite(model, feeds, wanted, judge)


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


def run(program: Any, inputs: Sequence[torch.Tensor]) -> tuple[list[np.ndarray], bool]:
    """What PyTorch gives, and whether it draws random numbers for it."""
    with seeding(0), _Draws() as draws:
        program(*(t.clone() for t in inputs))
    with seeding(0):  # without the mode, under which PyTorch gets `pinv` of complex numbers wrong
        returned = program(*(t.clone() for t in inputs))
    return [to_numpy(t) for t in returned], draws.drew


def run_otherwise(program: Any, inputs: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """What PyTorch gives of other random numbers."""
    with seeding(0), _Draws(redrawn=True):
        returned = program(*(t.clone() for t in inputs))
    return [to_numpy(t) for t in returned]


def _in_keras(model: Any, feeds: Sequence[Any]) -> list[np.ndarray]:
    return _as_pytorch(called(model, feeds))


def _in_tflite(model: Any, feeds: Sequence[Any], expected: Sequence[np.ndarray], judge: Any) -> str:
    try:
        data = to_tflite(model)
        return judged(lambda: _as_pytorch(run_tflite(data, feeds)), judge, expected)
    except Exception as error:
        return told(error)


def _as_pytorch(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [to_numpy(nobuco.t_keras2pytorch(x, ChannelOrder.PYTORCH)) for x in outputs]
