"""The report of a conversion, from what its stages gave; of one that fails, from what they gave until then."""

from __future__ import annotations

import linecache
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from nobuco.errors import ConversionError, ConverterError
from nobuco.ir import Graph, Node, Value, computed_in, values
from nobuco.layout.order import ChannelOrder, is_free
from nobuco.layout.strategy import has_order
from nobuco.parity import Difference, Tried
from nobuco.plan.whole import Layout
from nobuco.registry import operation_name
from nobuco.report.data import Choice, NodeReport, Port, Report, Status
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


@dataclass
class Draft:
    """A report in the making. The stages of a conversion note here what they give; `seconds` is theirs.

    `finished` gets the report, also that of a conversion that fails.
    """

    model: str
    finished: Callable[[Report], object] = lambda report: None
    graph: Graph | None = None
    inputs: Sequence[tuple[str, ChannelOrder]] = ()
    wanted: Sequence[tuple[Value, ChannelOrder | None, str | None]] = ()
    selection: Any = None
    layout: Layout | None = None
    built: Measured | None = None
    outputs: Sequence[Difference] = ()
    trials: Sequence[Tried] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage. If it raises a `ConversionError`, that gets the report of what was done until then."""
        started = time.perf_counter()
        try:
            yield
        except ConversionError as error:
            error.report = self.report(error)
            self.finished(error.report)
            raise
        finally:
            self.seconds[name] = time.perf_counter() - started

    def report(self, error: ConversionError | None = None) -> Report:
        """What is known now: one report node per traced call, with what became of it."""
        message = None if error is None else str(error)
        if self.graph is None:
            return Report(self.model, (), stages=dict(self.seconds), error=message)
        facts = _Facts.of(self, error)
        return Report(
            model=self.model,
            nodes=tuple(facts.node(node, inside=False) for node in self.graph.nodes),
            outputs=tuple(self.outputs),
            transpositions=self.built.transpositions if self.built is not None else 0,
            stages=dict(self.seconds),
            warnings=self.graph.warnings,
            sources=tuple(
                Port(name, facts.described(value), value.id) for value, (name, _) in zip(self.graph.inputs, self.inputs)
            ),
            results=tuple(facts.result(number, *wanted) for number, wanted in enumerate(self.wanted)),
            moved=self.layout.plan.cost if self.layout is not None else 0,
            error=message,
            conditions=self.graph.conditions,
            trials=tuple(self.trials),
        )


@dataclass(frozen=True)
class _Facts:
    """What is known of a graph's nodes and values.

    `units`: by the id of each node that is a unit or part of one; `reads` and `choices`: by the id of a unit's node,
    how its inputs lie, and how it could have run; `orders` and `computed`: how each value lies as it is made, and the
    dtype that it was computed in; `messages`: by the id of a node whose converter raised.
    """

    units: Mapping[int, Any]
    checks: Mapping[int, Any]
    reads: Mapping[int, Mapping[int, ChannelOrder]]
    choices: Mapping[int, tuple[Choice, ...]]
    orders: Mapping[int, ChannelOrder]
    computed: Mapping[int, str]
    folded: frozenset[int]
    dropped: frozenset[int]
    gaps: frozenset[int]
    messages: Mapping[int, str]

    @classmethod
    def of(cls, draft: Draft, error: ConversionError | None) -> _Facts:
        """What a draft knows, and which node an error is of."""
        assert draft.graph is not None
        regions = list(draft.built.regions) if draft.built is not None else []
        selections = [draft.selection, *(region.selection for region in regions)] if draft.selection is not None else []
        units = {node: unit for one in selections for unit in (*one.units, *one.dropped) for node in _nodes_of(unit)}
        measured = [draft.built, *regions] if draft.built is not None else []
        checks = {node: check for part in measured for node, check in part.checks.items()}
        signatures = {node: check.signature for node, check in checks.items()}
        orders = {value.id: order for value, (_, order) in zip(draft.graph.inputs, draft.inputs)}
        if draft.layout is not None:
            chosen = zip(draft.selection.units, draft.layout.plan.signatures)
            signatures |= {unit.node.id: signature for unit, signature in chosen}
            orders |= draft.layout.plan.orders
        for number, signature in signatures.items():
            for value, order in zip(units[number].outputs, signature.outputs):
                orders.setdefault(value.id, order)
        return cls(
            units=units,
            checks=checks,
            reads={
                number: {v.id: order for v, order in zip(units[number].inputs, signature.inputs)}
                for number, signature in signatures.items()
            },
            choices=_choices(draft),
            orders=orders,
            computed=computed_in(draft.graph),
            folded=frozenset(value for selection in selections for value in selection.folded),
            dropped=frozenset(unit.node.id for selection in selections for unit in selection.dropped),
            gaps=frozenset(gap.node.id for selection in selections for gap in selection.gaps),
            messages={error.node: str(error)} if isinstance(error, ConverterError) and error.node is not None else {},
        )

    def node(self, node: Node, inside: bool) -> NodeReport:
        unit = self.units.get(node.id)
        check = self.checks.get(unit.node.id) if unit is not None else None
        last = unit is not None and unit.node.id == node.id
        outputs = values(node.outputs)
        reads = self.reads.get(unit.node.id, {}) if unit is not None else {}
        return NodeReport(
            name=operation_name(node.op),
            path=node.path,
            status=self._status(node, unit, check, inside),
            invoked=node.site,
            defined=str(definition_site(node.op) or "") or None,
            converted=unit.converter.location if unit is not None else None,
            inputs=tuple(self.described(v, reads.get(v.id)) for v in node.inputs),
            outputs=tuple(self.described(v) for v in outputs),
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
            message=self.messages.get(node.id, check.message if check and last else None),
            layer=check.layer if check and last else "",
            source=linecache.getline(node.site.file, node.site.line).strip(),
            choices=self.choices.get(node.id, ()),
            reads=tuple(v.id for v in node.inputs),
            makes=tuple(v.id for v in outputs),
            turned=tuple(dict.fromkeys(v.id for v in node.inputs if self._is_turned(v, reads.get(v.id)))),
            children=(
                *(self.node(child, inside or unit is not None) for child in node.children),
                *(self.node(child, inside or check is None) for region in node.regions for child in region.nodes),
            ),
        )

    def described(self, value: Value, order: ChannelOrder | None = None) -> str:
        """A tensor in words; `order` is how it is read, if not as it is made."""
        order = order or self.orders.get(value.id)
        suffix = f" {order.name}" if order is not None and has_order(value) else ""
        return f"{value.dtype}{list(value.shape)}{suffix}"

    def result(self, number: int, value: Value, order: ChannelOrder | None, name: str | None) -> Port:
        """An output of the model."""
        return Port(
            name or f"output {number}",
            self.described(value, order),
            value.id,
            turned=self._is_turned(value, order),
            computed=self.computed.get(value.id, value.dtype),
        )

    def _is_turned(self, value: Value, order: ChannelOrder | None) -> bool:
        before = self.orders.get(value.id)
        return None not in (before, order) and before is not order and not is_free(value.shape)

    def _status(self, node: Node, unit: Any, check: Any, inside: bool) -> Status:
        if node.id in self.messages:
            return Status.FAILED
        if inside:
            return Status.INSIDE
        if node.id in self.gaps:
            return Status.NO_CONVERTER
        if check is not None and check.refused:
            return Status.FAILED
        if check is None and unit is not None and node.id not in self.dropped:
            return Status.UNREACHED
        if check is None or check.own is None or check.own.matches:
            return Status.DONE
        return Status.FAILED if check.own.is_broken else Status.IMPRECISE


def _nodes_of(unit: Any) -> Iterator[int]:
    """The ids of the nodes that became a unit."""
    yield from (node.id for node, _ in unit.calls)


def _choices(draft: Draft) -> dict[int, tuple[Choice, ...]]:
    """By the id of a unit's node, the ways in which it could have run."""
    if draft.layout is None:
        return {}
    plan, ways, moved = draft.layout.plan, draft.layout.choices, draft.layout.moved
    return {
        unit.node.id: tuple(
            Choice(_named(unit.inputs, way.inputs), _named(unit.outputs, way.outputs), cost, way is chosen)
            for way, cost in zip(signatures, costs)
        )
        for unit, chosen, signatures, costs in zip(draft.selection.units, plan.signatures, ways, moved)
    }


def _named(tensors: Sequence[Value], orders: Sequence[ChannelOrder]) -> tuple[str, ...]:
    return tuple(order.name if has_order(v) else "" for v, order in zip(tensors, orders))
