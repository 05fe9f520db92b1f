"""From the test reports of a session, whichever worker made them, to one `SuiteReport`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

import pytest

from pytest_nobuco.matrix import SIDE_BY_SIDE
from pytest_nobuco.report.data import MARKS, Cell, Row, SuiteReport, rows_of
from pytest_nobuco.results import ItemResult, LatencyRow, from_wire, to_wire

_PHASES = ("setup", "call", "teardown")


@dataclass
class _Item:
    """What the phases of one item have told so far."""

    outcome: str = ""
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Told:
    """What the report of one phase of an item tells.

    category: what pytest counts it as: passed, failed, ...; "" for nothing.
    conversions: how many the item made; None where it does not say.
    """

    nodeid: str
    when: str
    category: str
    message: str
    seconds: float
    result: ItemResult | None = None
    conversions: int | None = None

    @classmethod
    def by(cls, report: Any, category: str) -> Told:
        """What a test report tells."""
        wire = getattr(report, "nobuco", None)
        return cls(
            nodeid=report.nodeid,
            when=report.when,
            category=category,
            message=_message(report),
            seconds=report.duration,
            result=from_wire(wire) if wire else None,
            conversions=next((value for name, value in report.user_properties if name == "nobuco_conversions"), None),
        )

    def without_graph(self) -> Told:
        """The same without the graphs, since one can be megabytes."""
        return replace(self, result=replace(self.result, graph=None)) if self.result else self

    @property
    def ends(self) -> bool:
        """Whether the item has no further phase."""
        return self.when == "teardown" or self.when not in _PHASES


class Shelf:
    """Data by key on the disk: graphs and results of many models are more than the memory should have to hold."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        self._file: IO[bytes] | None = None

    def add(self, key: str, data: Mapping[str, Any]) -> None:
        """Keep what JSON can hold."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this
        start = self._file.seek(0, os.SEEK_END)
        self._places[key] = start, self._file.write(json.dumps(data).encode())

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        start, size = self._places[key]
        assert self._file is not None, "there is a place, so there is a file"
        self._file.seek(start)
        graph: Mapping[str, Any] = json.loads(self._file.read(size))
        return graph


@dataclass
class Gathered:
    """The items of a session, in the order in which they ended; only the controller has one."""

    items: dict[str, _Item] = field(default_factory=dict)
    results: Shelf = field(default_factory=Shelf)
    graphs: Shelf = field(default_factory=Shelf)
    conversions: dict[str, int] = field(default_factory=dict)

    def add(self, phase: Told) -> None:
        """Take in what one phase told."""
        item = self.items.setdefault(phase.nodeid, _Item())
        item.seconds += phase.seconds
        if phase.result is not None:
            self._keep(phase.nodeid, phase.result)
        elif phase.when not in _PHASES:
            self._keep(phase.nodeid, _crashed(phase.nodeid))
        if phase.conversions is not None:
            self.conversions[phase.nodeid] = phase.conversions
        if phase.category and (phase.category == "error" or item.outcome != "error"):
            item.outcome, item.message = phase.category, phase.message

    def report(self, latency: Sequence[LatencyRow] = (), **facts: Any) -> SuiteReport:
        """Everything so far; `facts` are further fields of `SuiteReport`."""
        cells = _with_axes(self._cells())
        rows = rows_of([cell for cell in cells if cell.kind != SIDE_BY_SIDE])
        wanted = [cell.conversion for row in rows for cell in _shown_with_graph(row)]
        return SuiteReport(
            rows=rows,
            conversions=sum(self.conversions.values()),
            graphs={key: self.graphs[key] for key in dict.fromkeys(wanted) if key in self.graphs},
            latency=tuple(latency),
            backends={cell.model: cell.extra["backends"] for cell in cells if "backends" in cell.extra},
            **facts,
        )

    def _keep(self, nodeid: str, result: ItemResult) -> None:
        if result.graph is not None and result.conversion not in self.graphs:
            self.graphs.add(result.conversion, result.graph)
        self.results.add(nodeid, to_wire(replace(result, graph=None)))

    def _cells(self) -> list[Cell]:
        return [
            Cell(
                nodeid=nodeid,
                kind=result.kind,
                model=result.model,
                case=result.case,
                outcome=item.outcome,
                axes=result.axes,
                outputs=result.outputs,
                bound=result.bound,
                message=item.message,
                duration=item.seconds,
                conversion=result.conversion,
                worst_node=result.worst_node,
                command=result.command,
                warnings=result.warnings,
                extra=result.extra,
            )
            for nodeid, item in self.items.items()
            if nodeid in self.results and item.outcome in MARKS and (result := from_wire(self.results[nodeid]))
        ]


def _with_axes(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, those whose item died too early to say its axes with those of their case."""
    axes = {cell.case: cell.axes for cell in cells if cell.axes}
    return [cell if cell.axes else replace(cell, axes=axes.get(cell.case, {})) for cell in cells]


def _shown_with_graph(row: Row) -> tuple[Cell, ...]:
    if row.failing:
        return row.failing
    return (row.worst,) if row.kind == "parity" else ()


def _crashed(nodeid: str) -> ItemResult:
    """The item that killed its worker; xdist knows its id and no more."""
    model, _, rest = nodeid.partition("[")
    return ItemResult("parity", model, rest.removesuffix("]"))


def _message(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return report.wasxfail.removeprefix("reason: ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext
