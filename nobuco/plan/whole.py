"""The plan of a whole graph, with what the planner chose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nobuco.ir import Graph, Value
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.plan.alternatives import alternatives
from nobuco.plan.planner import Plan, plan
from nobuco.plan.regions import choices
from nobuco.select import Unit


@dataclass(frozen=True)
class Layout:
    """A plan, the signatures that it chose from, unit by unit, and the bytes that each would have moved."""

    plan: Plan
    choices: Sequence[Sequence[Signature]]
    moved: Sequence[Sequence[int]]


def laid_out(
    units: Sequence[Unit],
    graph: Graph,
    inputs: Mapping[int, ChannelOrder],
    outputs: Sequence[tuple[Value, ChannelOrder | None]],
) -> Layout:
    """Plan a graph whose inputs come in these orders, by id, and whose outputs leave in these (None: as made).

    State is in PyTorch's order, before the call and after.
    """
    ways = [choices(unit, graph) for unit in units]
    starts = {**inputs, **{before.id: ChannelOrder.PYTORCH for before, _ in graph.states}}
    ends = [*outputs, *((after, ChannelOrder.PYTORCH) for _, after in graph.states)]
    cheapest = plan(units, ways, starts, ends)
    return Layout(cheapest, ways, alternatives(units, ways, cheapest, starts, ends))
