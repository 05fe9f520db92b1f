"""The report of a conversion, from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nobuco.ir import Graph, Node, Value, values
from nobuco.parity import Difference
from nobuco.registry import operation_name
from nobuco.report.data import NodeReport, Report, Status
from nobuco.trace.site import definition_site


class Measured(Protocol):
    """What building measured, by node id."""

    @property
    def checks(self) -> Mapping[int, Any]:
        """What was measured of each unit."""

    @property
    def transpositions(self) -> int:
        """How many the model holds."""

    @property
    def regions(self) -> Sequence[Any]:
        """The bodies of control-flow calls."""


def assemble(
    model: str,
    graph: Graph,
    selection: Any,
    built: Measured,
    outputs: Sequence[Difference],
    stages: Mapping[str, float],
) -> Report:
    """One report node per traced call, with what became of it."""
    units, checks = {}, dict(built.checks)
    selections = [selection, *(region.selection for region in built.regions)]
    for unit in (unit for one in selections for unit in (*one.units, *one.dropped)):
        flattened = unit.flattening.chain if unit.flattening is not None else ()
        for node in (unit.node, *(node for node, _ in (*unit.chain, *flattened))):
            units[node.id] = unit
    for region in built.regions:
        checks.update(region.checks)
    context = _Context(units, checks, selections)
    nodes = tuple(context.node(node, inside=False) for node in graph.nodes)
    return Report(model, nodes, tuple(outputs), built.transpositions, dict(stages), graph.warnings)


class _Context:
    def __init__(self, units: Mapping[int, Any], checks: Mapping[int, Any], selections: Sequence[Any]) -> None:
        self.units, self.checks = units, checks
        self.folded = {value for selection in selections for value in selection.folded}
        self.dropped = {unit.node.id for selection in selections for unit in selection.dropped}
        self.gaps = {gap.node.id for selection in selections for gap in selection.gaps}

    def node(self, node: Node, inside: bool) -> NodeReport:
        unit = self.units.get(node.id)
        check = self.checks.get(unit.node.id) if unit is not None else None
        last = unit is not None and unit.node.id == node.id
        outputs = values(node.outputs)
        return NodeReport(
            name=operation_name(node.op),
            path=node.path,
            status=Status.INSIDE if inside else self._status(node, check),
            invoked=node.site,
            defined=str(definition_site(node.op) or "") or None,
            converted=unit.converter.location if unit is not None else None,
            inputs=tuple(_described(v) for v in node.inputs),
            outputs=tuple(_described(v) for v in outputs),
            own=check.own if check and last else None,
            accumulated=check.accumulated if check and last else None,
            direct=unit is not None,
            opened=node.opened,
            reused=bool(check and check.reused),
            disconnected=node.id in self.dropped,
            constant=bool(outputs) and all(v.id in self.folded for v in outputs),
            useless=bool(outputs) and all(v in node.inputs for v in outputs),
            transposed=check.transpositions if check and last else 0,
            seconds=check.seconds if check and last else 0.0,
            message=check.message if check and last else None,
            children=(
                *(self.node(child, inside or unit is not None) for child in node.children),
                *(self.node(child, inside) for region in node.regions for child in region.nodes),
            ),
        )

    def _status(self, node: Node, check: Any) -> Status:
        if node.id in self.gaps:
            return Status.NO_CONVERTER
        if check is not None and check.refused:
            return Status.FAILED
        if check is None or check.own is None:
            return Status.DONE
        if check.own is not None and not check.own.matches:
            return Status.FAILED if check.own.is_broken else Status.IMPRECISE
        return Status.DONE


def _described(value: Value) -> str:
    return f"{value.dtype}{list(value.shape)}"
