"""What one item found, as plain data: the wire from the items (on any worker) to the reports.

An item leaves an `ItemResult` in its stash; the plugin sends it on its `TestReport` as the attribute `nobuco`, a
dict that JSON can hold, which xdist carries to the controller. Outcome, duration and the text of a failure are the
`TestReport`'s own and not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class OutputResult:
    """One output against PyTorch's; figures are None where shape, dtype, NaN or infinities differ."""

    max_abs: float | None
    max_rel: float | None
    """Relative to the largest element."""
    matches: bool
    text: str
    snr: float | None = None
    """Signal-to-noise ratio in dB, and the cosine, where a runtime quantises."""
    cosine: float | None = None
    name: str = ""
    """The output's, or its number."""


@dataclass(frozen=True)
class ItemResult:
    """What one item of a suite found.

    kind: "parity" for a model, "converter" for a registered converter, "backends" for several side by side.
    model: what the user calls it, the row of a table.
    case: the form, the column of a table, e.g. "nhwc-nhwc-dynHW-tflite".
    axes: the parts of the case by name: inputs, outputs, shape, runtime.
    bound: the bound that held and who set it, in words.
    conversion: the same for all items that share one conversion; empty where none was made.
    graph: `nobuco.report.report_to_dict` of the conversion; only on the first item that used it, and on failures.
    worst_node: the culprit; it and command are as in the text of a failure.
    warnings: what a reader should know though the item may pass.
    extra: what else there is to show: the rows of a table of backends, how the tensors of somebody's file lay.
    """

    kind: str
    model: str
    case: str
    axes: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[OutputResult, ...] = ()
    bound: str = ""
    conversion: str = ""
    graph: Mapping[str, Any] | None = None
    worst_node: str | None = None
    command: str = ""
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyRow:
    """One line of a latency table; times are seconds per run.

    runtime: "torch", "keras", "tflite-xnnpack", "tflite-gpu" or "phone".
    device: what ran it, in words: the processor, or the GPU adapter and its type.
    extra: delegate, operations, operations_outside_delegate, transpositions, file_size (bytes), ...
    """

    model: str
    runtime: str
    threads: int | None
    device: str
    median: float
    minimum: float
    iqr: float
    rounds: int
    extra: Mapping[str, Any] = field(default_factory=dict)


RESULT = pytest.StashKey[ItemResult]()
ABOVE_LIMIT = pytest.StashKey[list[str]]()
"""What an item found above `--nobuco-max-abs-limit`, which a known gap does not excuse."""


def to_wire(result: ItemResult) -> dict[str, Any]:
    """The result as JSON can hold it."""
    return asdict(result)


def from_wire(data: Mapping[str, Any]) -> ItemResult:
    """The result that `to_wire` wrote."""
    return ItemResult(
        **{
            **data,
            "outputs": tuple(OutputResult(**output) for output in data["outputs"]),
            "warnings": tuple(data.get("warnings", ())),
        }
    )
