"""From the test reports of a session, whichever worker made them, to one `SuiteReport`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pytest_nobuco.matrix import SIDE_BY_SIDE
from pytest_nobuco.report.data import MARKS, Cell, Row, SuiteReport, rows_of
from pytest_nobuco.results import ItemResult, LatencyRow, from_wire

_PHASES = ("setup", "call", "teardown")


@dataclass
class _Item:
    """What the phases of one item have told so far."""

    result: ItemResult | None = None
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

    @property
    def ends(self) -> bool:
        """Whether the item has no further phase."""
        return self.when == "teardown" or self.when not in _PHASES


@dataclass
class Gathered:
    """The items of a session, in the order in which they ended; only the controller has one."""

    items: dict[str, _Item] = field(default_factory=dict)
    graphs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    conversions: dict[str, int] = field(default_factory=dict)

    def add(self, told: Told) -> None:
        """Take in what one phase told."""
        item = self.items.setdefault(told.nodeid, _Item())
        item.seconds += told.seconds
        if told.result is not None:
            item.result = self._without_graph(told.result)
        elif told.when not in _PHASES:
            item.result = _crashed(told.nodeid)
        if told.conversions is not None:
            self.conversions[told.nodeid] = told.conversions
        if told.category and (told.category == "error" or item.outcome != "error"):
            item.outcome, item.message = told.category, told.message

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

    def _without_graph(self, result: ItemResult) -> ItemResult:
        if result.graph is not None:
            self.graphs.setdefault(result.conversion, result.graph)
        return replace(result, graph=None)

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
            if (result := item.result) is not None and item.outcome in MARKS
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
    """The item that killed its worker, of which xdist knows the id and no more."""
    model, _, rest = nodeid.partition("[")
    return ItemResult("parity", model, rest.removesuffix("]"))


def _message(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return report.wasxfail.removeprefix("reason: ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext
