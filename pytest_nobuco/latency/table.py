"""From pytest-benchmark's results to rows, and from rows to the table at the end of pytest's output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from pytest_nobuco.latency.spec import GPU, KERAS, PHONE_GPU, PHONE_XNNPACK, RUNTIMES, TORCH, XNNPACK
from pytest_nobuco.results import LatencyRow

NAMES = {
    TORCH: "PyTorch eager",
    KERAS: "Keras, compiled",
    XNNPACK: "TFLite XNNPACK",
    GPU: "TFLite GPU",
    PHONE_XNNPACK: "phone XNNPACK",
    PHONE_GPU: "phone GPU",
}
_DEVICES = {GPU: "GPU", PHONE_XNNPACK: "phone", PHONE_GPU: "phone"}
_IN_COLUMNS = ("model", "runtime", "threads", "device")


def latency_rows(config: pytest.Config) -> list[LatencyRow]:
    """What this session measured, grouped by model, in the order of the runtimes; none on an xdist worker."""
    session = getattr(config, "_benchmarksession", None)
    benchmarks = [] if session is None else session.benchmarks
    rows = [row_of(b.extra_info, b.stats) for b in benchmarks if b and not b.has_error and "runtime" in b.extra_info]
    models = list(dict.fromkeys(row.model for row in rows))
    return sorted(rows, key=lambda row: (models.index(row.model), RUNTIMES.index(row.runtime), row.threads or 0))


def row_of(info: Mapping[str, Any], stats: Any, once: float = 0.0) -> LatencyRow:
    """The row of one measurement; of a single run where pytest-benchmark is off and has no statistics."""
    return LatencyRow(
        model=info["model"],
        runtime=info["runtime"],
        threads=info["threads"],
        device=info["device"],
        median=stats.median if stats else once,
        minimum=stats.min if stats else once,
        iqr=stats.iqr if stats else 0.0,
        rounds=stats.rounds if stats else 1,
        extra={key: value for key, value in info.items() if key not in _IN_COLUMNS},
    )


def speed_up(row: LatencyRow, rows: Sequence[LatencyRow]) -> float | None:
    """How many times faster it is than PyTorch eager of the same model, with however many threads that is fastest."""
    eager = [other.median for other in rows if other.model == row.model and other.runtime == TORCH]
    return min(eager) / row.median if eager and row.median else None


def render_table(rows: Sequence[LatencyRow]) -> Iterator[str]:
    """Lines of at most 80 columns, a block per model."""
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        size = next((row.extra["file_size"] for row in mine if row.extra.get("file_size")), None)
        yield f"{model}" if size is None else f"{model} ({megabytes(size)})"
        yield f"  {'':15}{'threads':>8}{'median':>11}{'min':>11}{'speed-up':>9}{_columns('ops', 'outside', 'transp.')}"
        for row in mine:
            yield f"  {_cells(row, mine)}".rstrip()
        yield ""
    if any(row.runtime == TORCH for row in rows):
        yield "speed-up: against PyTorch eager, with however many threads it is fastest"
    if any("operations" in row.extra for row in rows):
        yield "ops: operations in the file; outside the delegate; transp.: that only transpose"
    for device in dict.fromkeys(row.device for row in rows):
        yield from _device(device, next(row for row in rows if row.device == device))


def milliseconds(seconds: float) -> str:
    """Three significant digits, in milliseconds."""
    ms = seconds * 1e3
    digits = 3 if ms < 1 else 2 if ms < 10 else 1 if ms < 100 else 0
    return f"{ms:.{digits}f} ms"


def megabytes(size: float) -> str:
    """Bytes as a reader takes them in."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def ratio(faster: float | None) -> str:
    """A speed-up."""
    return "" if faster is None else f"{faster:.2f}x" if faster < 10 else f"{faster:.0f}x"


def _cells(row: LatencyRow, rows: Sequence[LatencyRow]) -> str:
    threads = "" if row.threads is None else str(row.threads)
    times = f"{milliseconds(row.median):>11}{milliseconds(row.minimum):>11}"
    counts = [row.extra.get(key) for key in ("operations", "operations_outside_delegate", "transpositions")]
    texts = ["" if count is None else str(count) for count in counts]
    return f"{NAMES[row.runtime]:15}{threads:>8}{times}{ratio(speed_up(row, rows)):>9}{_columns(*texts)}"


def _columns(operations: str, outside: str, transpositions: str) -> str:
    return f"{operations:>7}{outside:>8}{transpositions:>8}"


def _device(device: str, row: LatencyRow) -> Iterator[str]:
    yield f"{_DEVICES.get(row.runtime, 'CPU')}: {device}"
    if str(row.extra.get("adapter_type", "")).startswith("CPU"):
        yield "     a software driver: this proves that the model runs, not how fast a GPU is"
