"""Calls through nobuco against PyTorch: converted together, since a conversion costs far more than a call.

Imports PyTorch, TensorFlow and nobuco, so it is itself imported only when an item runs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
import torch

import nobuco
from nobuco.bridge import to_numpy
from nobuco.builtin import find_converter
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layers.output import called
from nobuco.parity import Difference, Tolerance, compare, default_tolerance
from nobuco.registry import Converter
from nobuco.report.data import Report, report_to_dict
from nobuco.select import select
from nobuco.trace import trace
from pytest_nobuco.converters.builtin_facts import BOUNDS, PASSIVE
from pytest_nobuco.converters.calls import SHORT, Call, again, fresh, in_float32, run
from pytest_nobuco.converters.resize import Resized
from pytest_nobuco.gate import Bound
from pytest_nobuco.models.culprit import blamed

ORDERS = {"nchw": nobuco.ChannelOrder.PYTORCH, "nhwc": nobuco.ChannelOrder.TENSORFLOW}
# How often a random call is drawn, by both, and by how many standard errors their means may differ: one run in
# ten million fails by chance.
_DRAWS, _ERRORS = 32, 8.0


@dataclass(eq=False)
class Conversion:
    """Calls as one Keras model, and its TFLite form once somebody asked for it; `others` are they at other sizes."""

    calls: tuple[Call, ...]
    others: tuple[tuple[Call, ...], ...]
    order: Any
    model: keras.Model
    report: Report
    tflite: bytes | None = field(default=None, repr=False)

    def outputs(self, calls: Sequence[Call], runtime: str) -> list[list[np.ndarray]]:
        """What the model gives for these calls, in PyTorch's order; the calls differ from its own in sizes only."""
        feeds = [nobuco.t_pytorch2keras(tensor, self.order) for call in calls for tensor in call.tensors]
        if runtime == "keras":
            flat = called(self.model, feeds)
        else:
            if self.tflite is None:
                self.tflite = to_tflite(self.model)
            flat = run_tflite(self.tflite, feeds)
        arrays = iter([to_numpy(nobuco.t_keras2pytorch(array, self.order)) for array in flat])
        return [[next(arrays) for _ in call.expected] for call in calls]


class NotReachedError(Exception):
    """A sample does not lead to the converter that it is a sample of."""


def convert(
    converter: Converter | None, subjects: Sequence[Call | Resized], order: str, validate: bool = False
) -> Conversion:
    """Convert calls, or calls with free axes, into one model; without a converter, whatever serves them.

    Raises:
        NotReachedError: the trace has no call that this converter served.
    """
    calls = [subject.call if isinstance(subject, Resized) else subject for subject in subjects]
    samples = [fresh(call.sample) for call in calls]
    copies = [replace(call, sample=sample) for call, sample in zip(calls, samples)]
    shapes = {}
    for subject, copied in zip(subjects, copies):
        if isinstance(subject, Resized):
            for i, tensor in enumerate(copied.tensors):
                shapes[tensor] = tuple(None if (i, dim) in subject.free else n for dim, n in enumerate(tensor.shape))

    def program(*given: Any) -> list[torch.Tensor]:
        results = [
            run(call.operation, args, kwargs, call.sample.program, call.written)
            for call, (args, kwargs) in zip(calls, given)
        ]
        return [tensor for result in results for tensor in result]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, report = nobuco.pytorch_to_keras(
            program,
            [(sample.args, dict(sample.kwargs)) for sample in samples],
            input_shapes=shapes or None,
            inputs_channel_order=ORDERS[order],
            outputs_channel_order=ORDERS[order],
            full_validation=validate,
            verbose=False,
            return_report=True,
        )
    if converter is not None:
        _require_reached(converter, calls, report)
    return Conversion(tuple(calls), _at_other_sizes(subjects), ORDERS[order], model, report)


def _at_other_sizes(subjects: Sequence[Call | Resized]) -> tuple[tuple[Call, ...], ...]:
    """The calls at one size after the other; of a random one at the first alone, since each is drawn many times."""
    others = [subject.others for subject in subjects if isinstance(subject, Resized)]
    is_random = any(call.random for calls in others for call in calls)
    most = min(max(map(len, others), default=0), 1 if is_random else math.inf)
    return tuple(tuple(calls[number % len(calls)] for calls in others) for number in range(int(most)))


def reaches(converter: Converter, call: Call) -> bool:
    """Whether the conversion of a call asks this converter, rather than making a constant or nothing of it."""
    sample = fresh(call.sample)

    def program(*args: Any, **kwargs: Any) -> Any:
        return run(call.operation, args, kwargs, call.sample.program)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = trace(program, tuple(sample.args), dict(sample.kwargs))
    units = select(graph, find_converter).units
    return any(used is converter for unit in units for used in (unit.converter, *(c for _, c in unit.chain)))


def _require_reached(converter: Converter, calls: Sequence[Call], report: Report) -> None:
    """Python's operators arrive as the methods that they mean, so calls are counted and not looked up by name."""
    wanted = sum(call.name not in PASSIVE for call in calls)
    served = [node for node in report.walk() if node.direct and node.converted == converter.location]
    if len(served) < wanted:
        raise NotReachedError(f"the converter served {len(served)} of {wanted} calls, as in {calls[0].describe()}")


def differences(conversion: Conversion, runtime: str, bound: Bound) -> list[list[Difference]]:
    """For each call how far each of its outputs is from PyTorch's, at its own sizes and then at the others."""
    found = _compared(conversion, conversion.calls, runtime, bound)
    if runtime == "keras" and not any(call.random for call in conversion.calls):  # nothing remembers the first time
        again = _compared(conversion, conversion.calls, runtime, bound)
        found = [one if all(d.matches for d in other) else other for one, other in zip(found, again)]
    for calls in conversion.others:
        for first, second in zip(found, _compared(conversion, calls, runtime, bound)):
            first += second
    return found


def _compared(conversion: Conversion, calls: Sequence[Call], runtime: str, bound: Bound) -> list[list[Difference]]:
    outputs = conversion.outputs(calls, runtime)
    again_outputs = range(_DRAWS - 1) if any(call.random for call in calls) else ()
    draws = [outputs, *(conversion.outputs(calls, runtime) for _ in again_outputs)]
    return [
        _random_differences(call, [draw[i] for draw in draws], bound)
        if call.random
        else _differences(call, outputs[i], bound)
        for i, call in enumerate(calls)
    ]


def _differences(call: Call, got: Sequence[np.ndarray], bound: Bound) -> list[Difference]:
    """How far each output is off; with 16 bits, where PyTorch itself rounds much, from what it finds with 32."""
    found = [_difference(call, a, b, bound) for a, b in zip(got, call.expected)]
    if all(d.matches or d.is_broken for d in found):
        return found
    exact = in_float32(call)
    if exact is None:
        return found
    return [
        d if d.matches or d.expected_dtype not in SHORT else _difference(call, a, b, bound)
        for d, a, b in zip(found, got, exact)
    ]


def _random_differences(call: Call, draws: Sequence[Sequence[np.ndarray]], bound: Bound) -> list[Difference]:
    """Shape and dtype as they are; of the values the mean of all draws and the mean of their squares."""
    theirs = [call.expected, *(again(call, seed) for seed in range(1, len(draws)))]
    found = []
    for i, expected in enumerate(call.expected):
        got = draws[0][i]
        if got.shape != expected.shape or got.dtype != expected.dtype or not expected.size or "empty" in call.name:
            ours = np.zeros_like(got) if got.shape == expected.shape else got
            found.append(_difference(call, ours, np.zeros_like(expected), bound))
            continue
        ours, wanted = (np.stack([draw[i] for draw in many]).astype(np.float64) for many in (draws, theirs))
        varies = np.array((ours != ours[0]).any())
        found.append(compare(varies, np.array(True), Tolerance(0.0, None, "whether runs differ")))
        # By draw, since the elements of one draw need not be independent: dropout takes whole channels.
        moments = [np.stack([_means(m), _means(m**2)]) for m in (ours, wanted)]
        spread = np.hypot(*(m.std(axis=1, ddof=1) / math.sqrt(_DRAWS) for m in moments))
        allowed = Tolerance(
            _ERRORS * float(spread.max()) + 1e-6, None, f"{_ERRORS:g} standard errors of {_DRAWS} draws"
        )
        found.append(compare(moments[0].mean(axis=1), moments[1].mean(axis=1), allowed))
    return found


def _means(draws: np.ndarray) -> np.ndarray:
    return draws.reshape(len(draws), -1).mean(axis=1)


def _difference(call: Call, got: np.ndarray, expected: np.ndarray, bound: Bound) -> Difference:
    if bound.is_default or (bound.max_abs is None and not expected.any()):
        return compare(got, expected, _default(call.name, expected))
    return compare(got, expected, Tolerance(bound.max_abs or 0.0, bound.max_rel, bound.source))


def _default(name: str, expected: np.ndarray) -> Tolerance:
    """The dtype's default, but for what is known to be rounded more."""
    dtype = expected.dtype.name
    for (pattern, of_dtype), (max_abs, reason) in BOUNDS.items():
        if of_dtype == dtype and fnmatchcase(name, pattern):
            return Tolerance(max_abs, None, reason, scaled=True)
    return default_tolerance(dtype)


def blame(
    converter: Converter, subject: Call | Resized, order: str, runtime: str, bound: Bound
) -> tuple[str | None, dict[str, Any] | None]:
    """Which operation is off in a call's conversion, in words, and its graph: once more, checking every node."""
    try:
        report = convert(converter, [subject], order, validate=True).report
    except Exception:
        return None, None  # why it cannot be converted has been told
    # A sample's module has the path that this plugin keeps it at.
    told = blamed(report, bound, label=lambda node: node.name)
    if told is None and runtime != "keras":
        name = next((node.name for node in report.walk() if node.converted == converter.location), converter.location)
        told = f"{name} is within its bound in Keras, so it is the way to {runtime}, or what runs it"
    return told, _without_own_paths(report_to_dict(report))


def _without_own_paths(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph in which a sample's module has no path: it would be the one that this plugin keeps it at."""
    for key in ("nodes", "children"):
        for node in graph.get(key, ()):
            node["path"] = "" if node["path"].startswith("calls.") else node["path"]
            _without_own_paths(node)
    return graph
