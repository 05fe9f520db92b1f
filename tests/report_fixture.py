"""A report with everything in it: forms are made up, the conversion is a real one."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

from pytest_nobuco.report.data import Cell, SuiteReport, rows_of
from pytest_nobuco.results import LatencyRow, OutputResult

ORDERS, SHAPES = ("nchw", "nhwc"), ("dynHW", "static")
RUNTIMES = ("keras", "keras_file", "savedmodel", "tflite")
BOUND = "max abs 1.0e-04 scaled (default of float32)"
VALUES = "Values differ in 292 of 648 elements, worst at (0, 4, 6, 4): expected 1.03852, got 1.04371, off by 5.2e-03."
NAN = "NaN in 7 elements where 0 expected, 7 in the wrong place, first at (0, 1): expected 0.25, got nan."


def full_report(graph: Any = None) -> SuiteReport:
    """Two models that fail, one that matches, one skipped in part, and enough converters to fold."""
    graphs = {} if graph is None else {"Wrong-nchw-nchw": graph}
    cells = [
        *matrix("nets.Fine", 1.2e-6),
        *matrix("nets.Wrong", 2.4e-4, wrong=True),
        *matrix("nets.Fragile", 4e-5)[:-1],
        model_cell("nets.Fragile", ("nhwc", "nhwc", "static", "tflite"), 3.1e-3, fails=True),
        *matrix("nets.Nan", math.nan),
        *skipped(matrix("zoo.Tokens", 3e-7), "no axis of inputs 1×16 is one that is dynamic by default"),
    ]
    for index in range(40):
        outcome = "failed" if index == 3 else "xfailed" if index == 5 else "passed"
        cells += [
            converter_cell(f"torch.op_{index:02}", f"{order}-{shape}", outcome, (index + 1) * 1e-7)
            for order, shape in itertools.product(ORDERS, SHAPES)
        ]
    return SuiteReport(
        rows=rows_of(cells),
        conversions=52,
        graphs=graphs,
        latency=LATENCY,
        environment={"python": "3.12.1", "torch": "2.9.0", "processor": "a processor, 2 cores"},
        command="pytest --nobuco-model nets.Fine --nobuco-report report.html",
        date="2026-01-02 03:04 UTC",
        seconds=31.25,
    )


def matrix(model: str, off: float, wrong: bool = False) -> list[Cell]:
    """All forms of a model, which all fail if it is `wrong` or off by NaN."""
    return [
        model_cell(model, case, off, fails=math.isnan(off) or wrong)
        for case in itertools.product(ORDERS, ORDERS, SHAPES, RUNTIMES)
    ]


def model_cell(model: str, case: tuple[str, str, str, str], off: float, fails: bool = False) -> Cell:
    name = "-".join(case)
    figure = None if math.isnan(off) else off
    text = NAN if figure is None else VALUES if fails else f"Matches: max abs difference {off:.1e}."
    command = f"pytest --nobuco-model {model} -k {name}"
    return Cell(
        nodeid=f"nobuco::{model}[{name}]",
        kind="parity",
        model=model,
        case=name,
        outcome="failed" if fails else "passed",
        axes=dict(zip(("inputs", "outputs", "shape", "runtime"), case)),
        outputs=(OutputResult(figure, figure, not fails, text),),
        bound=BOUND,
        message=f"{model}[{name}]: {case[3]} differs from PyTorch\n  output 0: {text}\n  reproduce: {command}"
        if fails
        else "",
        duration=0.25,
        conversion=f"{model.rpartition('.')[2]}-{case[0]}-{case[1]}",
        command=command,
    )


def skipped(cells: list[Cell], reason: str) -> list[Cell]:
    """The cells with those of dynamic shape skipped."""
    return [
        Cell(cell.nodeid, cell.kind, cell.model, cell.case, "skipped", cell.axes, message=reason)
        if cell.axes["shape"] == "dynHW"
        else cell
        for cell in cells
    ]


def converter_cell(name: str, case: str, outcome: str, off: float) -> Cell:
    off = 0.25 if outcome != "passed" else off
    message = {"failed": f"{name}[{case}]: off", "xfailed": "TFLite has no such operation"}.get(outcome, "")
    outputs = (OutputResult(off, off, outcome == "passed", ""),)
    return Cell(f"conv::{name}[{case}]", "converter", name, case, outcome, {}, outputs, BOUND, message, 0.1)


def _latency(model: str, runtime: str, threads: int | None, median: float, device: str, **extra: Any) -> LatencyRow:
    return LatencyRow(model, runtime, threads, device, median, 0.97 * median, 0.02 * median, 50, extra)


_CPU, _GPU = "a processor", "SwiftShader Device (CPU)"
LATENCY = (
    _latency("nets.Fine", "torch", None, 0.0123, _CPU),
    _latency("nets.Fine", "keras", None, 0.0301, _CPU, operations=17),
    _latency(
        "nets.Fine", "tflite-xnnpack", 1, 0.0032, _CPU, operations=123, operations_outside_delegate=2, transpositions=1
    ),
    _latency("nets.Fine", "tflite-gpu", None, 0.387, _GPU, operations=123, file_size=21_800_000, adapter_type="CPU"),
    _latency("zoo.Tokens", "torch", None, 0.0010, _CPU),
    _latency("zoo.Tokens", "tflite-xnnpack", 4, 0.0004, _CPU, file_size=120_000),
)


@functools.cache
def conversion_report() -> Any:
    """The report of a real conversion, in which one converter is a little wrong."""
    import torch
    from torch import nn

    import nobuco

    @nobuco.traceable
    def scale(x):
        return x * 2

    @nobuco.converter(scale)
    def convert_scale(x):
        return lambda x: x * 2.1

    class Block(nn.Sequential):
        def __init__(self, inputs):
            super().__init__(nn.Conv2d(inputs, 4, 3), nn.ReLU())

    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.body = Block(3), Block(4)

        def forward(self, x):
            return self.body(scale(self.stem(x))).mean((2, 3))

    torch.manual_seed(0)
    _, report = nobuco.pytorch_to_keras(
        Wrong().eval(), args=[torch.randn(1, 3, 9, 9)], verbose=False, return_report=True
    )
    nobuco.unregister_converter(scale)
    return report


@functools.cache
def conversion_graph() -> Any:
    """The same as a report holds it."""
    from nobuco.report import report_to_dict

    return report_to_dict(conversion_report())
