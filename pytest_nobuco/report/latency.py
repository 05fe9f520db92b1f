"""Latency rows in words, for every form of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_nobuco.latency.spec import GPU
from pytest_nobuco.latency.table import NAMES, megabytes, ratio, speed_up
from pytest_nobuco.report.data import count
from pytest_nobuco.results import LatencyRow


def by_model(rows: Sequence[LatencyRow]) -> dict[str, list[LatencyRow]]:
    """The rows of each model, in their order."""
    models: dict[str, list[LatencyRow]] = {}
    for row in rows:
        models.setdefault(row.model, []).append(row)
    return models


def runtime_text(row: LatencyRow) -> str:
    """What ran it."""
    name = NAMES.get(row.runtime, row.runtime)
    return f"{name}, {count(row.threads, 'thread')}" if row.threads else name


def speed_up_text(row: LatencyRow, rows: Sequence[LatencyRow]) -> str:
    """The speed-up against PyTorch eager."""
    return ratio(speed_up(row, rows))


def facts(row: LatencyRow) -> str:
    """The operations and the size of what ran."""
    extra = row.extra
    parts = []
    if extra.get("operations") is not None:
        parts.append(count(extra["operations"], "operation"))
    if extra.get("operations_outside_delegate"):
        parts.append(f"{extra['operations_outside_delegate']} outside the delegate")
    if extra.get("transpositions"):
        parts.append(count(extra["transpositions"], "transposition"))
    if extra.get("file_size"):
        parts.append(megabytes(extra["file_size"]))
    return ", ".join(parts)


def notes(rows: Sequence[LatencyRow]) -> Iterator[str]:
    """What a reader must know of the figures and of the adapters that ran the GPU rows."""
    yield "Median time of a run; the speed-up is against PyTorch eager, with however many threads it is fastest."
    adapters = {row.device: str(row.extra.get("adapter_type", "")) for row in rows if row.runtime == GPU}
    for device, kind in adapters.items():
        note = f"The GPU rows ran on {device}" + (f" (adapter type {kind})." if kind else ".")
        if kind.startswith("CPU"):
            note += (
                " That is a Vulkan driver in software: it proves that the path works and what it computes; "
                "its time says nothing about a phone."
            )
        yield note
