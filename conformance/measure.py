"""What one conversion comes to: parity, transpositions, operations, and seconds per stage."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import torch
from torch import nn

import nobuco
from conformance.models import Case
from nobuco.bridge import flat_outputs, t_pytorch2keras, to_numpy
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from nobuco.layers.output import called
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, Tolerance, compare
from nobuco.report import Report

BOUND = Tolerance(0.0, 1e-4, "the suite's bound, relative to the largest output")


@dataclass(frozen=True)
class Measured:
    """One network's conversion to Keras and to a TFLite file, against PyTorch."""

    report: Report
    keras: tuple[Difference, ...]
    tflite: tuple[Difference, ...]
    operations: Mapping[str, int]
    seconds: Mapping[str, float]
    peak: int
    """The most memory that this process had until the file was made, in MB."""
    size: int

    @property
    def transposes(self) -> int:
        """TRANSPOSE operations in the file."""
        return self.operations.get("TRANSPOSE", 0)


def measure(case: Case, full_validation: bool = True) -> Measured:
    """Convert a network, write it as TFLite, run both and compare; inputs and outputs lie as the case says."""
    model, inputs = case.built()
    started = time.perf_counter()
    keras_model, report = nobuco.pytorch_to_keras(
        model,
        list(inputs),
        inputs_channel_order=case.order,
        outputs_channel_order=case.outputs_order,
        full_validation=full_validation,
        return_report=True,
        verbose=False,
    )
    converted = time.perf_counter()
    data = to_tflite(keras_model)
    exported, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = {**report.stages, "all": exported - started, "tflite": exported - converted}
    found: tuple[list[Difference], list[Difference]] = ([], [])
    for given in (inputs, *([case.other_inputs()] if case.other_inputs else [])):
        for differences, difference in zip(found, _compared(case, model, given, keras_model, data)):
            differences += difference
    return Measured(report, tuple(found[0]), tuple(found[1]), tflite_operations(data), seconds, peak, len(data))


def _compared(
    case: Case, model: nn.Module, inputs: Sequence[torch.Tensor], keras_model: keras.Model, data: bytes
) -> tuple[list[Difference], list[Difference]]:
    """How far Keras and TFLite are from PyTorch on one input."""
    with torch.no_grad():
        expected = flat_outputs(model(*[x.clone() for x in inputs]))
    feeds = [t_pytorch2keras(x, case.order) for x in inputs]
    got = called(keras_model, feeds)
    return (
        _differences([_logical(t, case.outputs_order) for t in got], expected),
        _differences([_logical(t, case.outputs_order) for t in run_tflite(data, feeds)], expected),
    )


def _logical(tensor: object, order: ChannelOrder) -> torch.Tensor:
    return nobuco.t_keras2pytorch(tensor, order)


def _differences(got: list[torch.Tensor], expected: list[torch.Tensor]) -> list[Difference]:
    return [compare(to_numpy(g), to_numpy(e), BOUND) for g, e in zip(got, expected, strict=True)]
