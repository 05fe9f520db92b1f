"""What the plan would have cost with another signature here or there: why the planner chose as it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nobuco.ir import Value
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature, has_order
from nobuco.plan.planner import Plan, Planned, change_cost, static_values

_Wants = dict[int, list[tuple[int, ChannelOrder]]]
_END = -1


def alternatives(
    units: Sequence[Planned],
    choices: Sequence[Sequence[Signature]],
    plan: Plan,
    inputs: Mapping[int, ChannelOrder],
    outputs: Iterable[tuple[Value, ChannelOrder | None]],
) -> list[tuple[int, ...]]:
    """For each unit the bytes that the whole model would move with each of its signatures, all else as planned.

    An upper bound of what that signature costs: planned anew, others might change along. Arguments as those of `plan`,
    which gave the plan.
    """
    static = static_values(units, inputs)
    wants: _Wants = {}
    for number, (unit, signature) in enumerate(zip(units, plan.signatures)):
        for value, order in zip(unit.inputs, signature.inputs):
            wants.setdefault(value.id, []).append((number, order))
    for value, wanted in outputs:
        if wanted is not None:
            wants.setdefault(value.id, []).append((_END, wanted))
    return [
        tuple(
            plan.cost + _around(number, unit, signature, plan, wants, static) - as_planned for signature in signatures
        )
        for number, (unit, signatures) in enumerate(zip(units, choices))
        for as_planned in [_around(number, unit, plan.signatures[number], plan, wants, static)]
    ]


def _around(number: int, unit: Planned, signature: Signature, plan: Plan, wants: _Wants, static: frozenset[int]) -> int:
    """The bytes that move in a unit and on the tensors at it, if it runs under a signature."""
    own_outputs = dict(zip((v.id for v in unit.outputs), signature.outputs))
    own = list(zip(unit.inputs, signature.inputs))
    cost = 0.0 if all(v.id in static for v in unit.outputs) else float(signature.cost)
    for value in {v.id: v for v in (*unit.inputs, *unit.outputs) if has_order(v)}.values():
        order_made = own_outputs.get(value.id, plan.orders.get(value.id))
        readers = [order for reader, order in wants.get(value.id, ()) if reader != number]
        readers += [order for v, order in own if v is value]
        if order_made is not None and any(order is not order_made for order in readers):
            cost += change_cost(value, value.id in static)
    return int(cost)
