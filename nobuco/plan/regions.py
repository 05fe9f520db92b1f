"""The ways in which each unit can run, and regions, the bodies of control-flow calls, each with a plan of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nobuco.builtin import find_converter
from nobuco.ir import Graph, Value
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import ChannelOrderingStrategy, Signature, has_order, moving, signatures, uniform
from nobuco.plan.manual import probed_signatures
from nobuco.plan.planner import Plan, plan
from nobuco.select import Selection, Unit, select


@dataclass(frozen=True)
class PlannedRegion:
    """A region ready to be built: its graph, the units, and the order of every tensor."""

    graph: Graph
    selection: Selection
    plan: Plan
    order: ChannelOrder


Plans = dict[tuple[int, ChannelOrder], PlannedRegion]
"""Regions that are planned already, by identity and order: in a nest of them each is asked for at every level above."""


def choices(unit: Unit, graph: Graph, plans: Plans | None = None) -> Sequence[Signature]:
    """The ways in which a unit of `graph` can run."""
    if unit.moves_only:
        return moving(unit.steps, unit.inputs[0], unit.outputs[0])
    if unit.node.regions:
        return _around_regions(unit, graph, {} if plans is None else plans)
    if unit.parts:
        return signatures(ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS, unit.node)
    if unit.converter.make is None:  # movement to sizes that only the running model knows
        return signatures(ChannelOrderingStrategy.FORCE_PYTORCH_ORDER, unit.node)
    if unit.converter.strategy is ChannelOrderingStrategy.MANUAL:
        return probed_signatures(unit, graph.samples)
    return signatures(unit.converter.strategy, unit.node)


def _around_regions(unit: Unit, graph: Graph, plans: Plans) -> Sequence[Signature]:
    """All tensors in one order, at the price of what the regions then move inside."""
    ways = []
    for signature in signatures(unit.converter.strategy, unit.node):
        order = order_of(signature)
        moved = sum(planned(region, graph, order, plans).plan.cost for region in unit.node.regions)
        ways.append(uniform(unit.node, order, order, moved))
    return ways


def order_of(signature: Signature) -> ChannelOrder:
    """The order in which the tensors of a call with regions lie."""
    last = ChannelOrder.TENSORFLOW in (*signature.inputs, *signature.outputs)
    return ChannelOrder.TENSORFLOW if last else ChannelOrder.PYTORCH


def planned(region: Graph, around: Graph, order: ChannelOrder, plans: Plans | None = None) -> PlannedRegion:
    """Select and plan a region of `around` whose inputs and outputs lie in `order`."""
    plans, key = {} if plans is None else plans, (id(region), order)
    if key not in plans:
        plans[key] = _planned(region, around, order, plans)
    return plans[key]


def _planned(region: Graph, around: Graph, order: ChannelOrder, plans: Plans) -> PlannedRegion:
    graph = replace(region, samples=around.samples, runs=around.runs, dynamic=around.dynamic)
    selection = select(graph, find_converter)
    orders = {v.id: lies(v, order) for v in graph.inputs}
    layout = plan(
        selection.units,
        [choices(unit, graph, plans) for unit in selection.units],
        orders,
        [(v, lies(v, order)) for v in graph.outputs],
    )
    return PlannedRegion(graph, selection, layout, order)


def lies(value: Value, order: ChannelOrder) -> ChannelOrder:
    """The order that a tensor has where `order` is everybody's."""
    return order if has_order(value) else ChannelOrder.PYTORCH
