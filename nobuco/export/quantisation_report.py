"""Where quantisation hurts: the tensors of a quantised file beside those of the float32 file, by operation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import keras
import numpy as np

from nobuco.errors import ExportArgumentError
from nobuco.export.names import MODEL
from nobuco.export.quantisation import SAMPLES, Precision, Samples
from nobuco.export.running import as_numbers, feed, interpreter_of, litert
from nobuco.export.tflite_file import to_tflite
from nobuco.kinds import instance, one_of, shown, takes, whole
from nobuco.parity import fidelity


@dataclass(frozen=True)
class QuantisedStep:
    """One operation of the quantised file.

    layer: the Keras layer that it comes from, or several that it does in one; empty where that is not known.
    snr: signal-to-noise ratio of its output in dB, with all noise so far; infinite where nothing is lost.
    before: the least ratio among its inputs; infinite where they are exact.
    """

    layer: str
    operation: str
    tensor: str
    snr: float
    before: float

    @property
    def added(self) -> float:
        """The noise that it adds, as a fraction of its output's signal: what its inputs brought along is left out."""
        return max(0.0, _noise(self.snr) - _noise(self.before))


@dataclass(frozen=True)
class QuantisationReport:
    """What each operation does to the signal, in running order, and what is left of each output (dB)."""

    precision: str
    steps: tuple[QuantisedStep, ...]
    outputs: Mapping[str, float]

    def worst(self, count: int = 10) -> tuple[QuantisedStep, ...]:
        """The operations that add the most noise."""
        return tuple(sorted(self.steps, key=lambda step: -step.added)[:count])


@takes(ExportArgumentError, model=MODEL, representative=SAMPLES, precision=one_of(*get_args(Precision)))
def quantisation_report(
    model: keras.Model, representative: Samples, precision: Precision = "int8", inputs: Any = None
) -> QuantisationReport:
    """Run the float32 and the quantised file side by side and measure every tensor that both have.

    Args:
        model: what `pytorch_to_keras` returned.
        representative: samples, as `to_tflite` takes them.
        precision: of the quantised file.
        inputs: the arrays to run both on, in input order; None: the first sample.

    Raises:
        ExportError: as `to_tflite`.
    """
    samples = list(representative)
    if not samples:
        raise ExportArgumentError(f"representative is {shown(representative)}; give some dozens of samples")
    inputs_of_run = samples[0] if inputs is None else inputs
    feeds = list(inputs_of_run) if isinstance(inputs_of_run, (list, tuple)) else [inputs_of_run]
    argument = "representative[0]" if inputs is None else "inputs"
    exact = _run(to_tflite(model), feeds, argument)
    noisy = _run(to_tflite(model, precision=precision, representative=samples), feeds, argument)
    ratios = {
        name: _ratio(array, exact.tensors[counterpart])
        for name, array in noisy.tensors.items()
        if (counterpart := noisy.counterparts.get(name, name)) in exact.tensors
    }
    layers = {layer.name for layer in model.layers}
    steps = tuple(_steps(noisy, ratios, layers))
    return QuantisationReport(precision, steps, {name: ratios[name] for name in noisy.outputs if name in ratios})


@takes(
    ExportArgumentError,
    report=instance("what quantisation_report returned", QuantisationReport),
    count=whole(0),
)
def render_quantisation(report: QuantisationReport, count: int = 10) -> str:
    """The report as text: the outputs, then the operations that add the most noise."""
    lines = [f"{report.precision}: " + ", ".join(f"{name} {snr:.1f} dB" for name, snr in report.outputs.items())]
    lines.append(f"{'noise':>8}  {'before':>9}  {'after':>9}  operation")
    for step in report.worst(count):
        label = f"{step.operation} ({step.layer or step.tensor})"
        lines.append(f"{step.added:8.1e}  {step.before:6.1f} dB  {step.snr:6.1f} dB  {label}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Run:
    """A file after a run: its tensors by name, as numbers; its operations with the tensors' names; its outputs."""

    tensors: Mapping[str, np.ndarray]
    operations: Sequence[tuple[str, Sequence[str], Sequence[str]]]
    outputs: Sequence[str]

    @property
    def counterparts(self) -> dict[str, str]:
        """What casts at the ends of a quantised file have on their other side."""
        others = {}
        for operation, inputs, outputs in self.operations:
            if operation == "QUANTIZE":
                others[outputs[0]] = inputs[0]
            elif operation == "DEQUANTIZE" and inputs:
                others[inputs[0]] = outputs[0]
        return others


def _run(data: bytes, feeds: Sequence[Any], argument: str) -> _Run:
    interpreter = interpreter_of(
        data,
        experimental_op_resolver_type=litert().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    feed(interpreter, feeds, argument)
    interpreter.invoke()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    named = {index: detail["name"] for index, detail in details.items()}
    nodes = interpreter._get_ops_details()
    computed = {int(index) for node in nodes for index in node["outputs"]}
    computed |= {detail["index"] for detail in interpreter.get_input_details()}
    tensors: dict[str, np.ndarray] = {}
    for index in sorted(
        computed & set(details)
    ):  # of one name, the first is the one that was there before quantisation
        tensors.setdefault(named[index], as_numbers(interpreter.get_tensor(index), details[index]))
    operations = [
        (node["op_name"], *([named[int(i)] for i in node[side] if int(i) in named] for side in ("inputs", "outputs")))
        for node in nodes
    ]
    return _Run(tensors, operations, [detail["name"] for detail in interpreter.get_output_details()])


def _steps(noisy: _Run, ratios: Mapping[str, float], layers: set[str]) -> Iterator[QuantisedStep]:
    for operation, inputs, outputs in noisy.operations:
        before = min((ratios[name] for name in inputs if name in ratios), default=math.inf)
        for name in outputs:
            if name in ratios and operation not in ("QUANTIZE", "DEQUANTIZE"):
                constants = ";".join(given for given in inputs if given not in ratios)
                layer = _layer(name, layers) or _layer(constants, layers)  # an output has the name that it is given
                yield QuantisedStep(layer, operation, name, ratios[name], before)


def _layer(tensor: str, layers: set[str]) -> str:
    """The layers in whose scopes a tensor was made; Keras numbers the calls of a layer in its scope's name."""
    found: dict[str, None] = {}
    for part in re.split(r"[/;]", tensor):
        names = (name for name in (re.sub(r"_\d+$", "", part), part) if name in layers)
        found.update({name: None for name in [next(names, None)] if name})
    return ", ".join(found)


def _ratio(got: np.ndarray, expected: np.ndarray) -> float:
    return fidelity(got.astype(np.float32), expected.astype(np.float32), 0, "").snr


def _noise(snr: float) -> float:
    return 10 ** (-snr / 10)
