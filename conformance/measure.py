"""What one conversion comes to: parity, transpositions, operations, and seconds per stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import torch

import nobuco
from conformance.models import Case
from nobuco.bridge import flat_outputs, t_pytorch2keras, to_numpy
from nobuco.export.tflite import run_tflite, tflite_operations, to_tflite
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, Tolerance, compare
from nobuco.report import Report

BOUND = Tolerance(float("inf"), 1e-4, "the suite's bound, relative to the largest output")


@dataclass(frozen=True)
class Measured:
    """One network's conversion to Keras and to a TFLite file, against PyTorch."""

    report: Report
    keras: tuple[Difference, ...]
    tflite: tuple[Difference, ...]
    operations: Mapping[str, int]
    seconds: Mapping[str, float]
    size: int

    @property
    def transposes(self) -> int:
        """TRANSPOSE operations in the file."""
        return self.operations.get("TRANSPOSE", 0)


def measure(case: Case, full_validation: bool = True) -> Measured:
    """Convert a network, write it as TFLite, run both and compare; inputs and outputs lie as the case says."""
    model, inputs = case.built()
    with torch.no_grad():
        expected = flat_outputs(model(*[x.clone() for x in inputs]))
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
    exported = time.perf_counter()
    feeds = [t_pytorch2keras(x, case.order) for x in inputs]
    got = keras.tree.flatten(keras_model(feeds[0] if len(feeds) == 1 else feeds))
    seconds = {**report.stages, "all": exported - started, "tflite": exported - converted}
    return Measured(
        report,
        _differences([_logical(t, case.outputs_order) for t in got], expected),
        _differences([_logical(t, case.outputs_order) for t in run_tflite(data, feeds)], expected),
        tflite_operations(data),
        seconds,
        len(data),
    )


def _logical(tensor: object, order: ChannelOrder) -> torch.Tensor:
    return nobuco.t_keras2pytorch(tensor, order)


def _differences(got: list[torch.Tensor], expected: list[torch.Tensor]) -> tuple[Difference, ...]:
    return tuple(compare(to_numpy(g), to_numpy(e), BOUND) for g, e in zip(got, expected, strict=True))
