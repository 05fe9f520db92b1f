"""The planner: an order for every tensor such that the whole graph moves the fewest bytes, exactly.

Each unit runs under one of its signatures, each tensor is made in one order, and changing a tensor's order
costs its bytes once, however many readers want the other one. That is a 0-1 program, solved by
`scipy.optimize.milp`. Constants are laid out when the model is built and cost nothing, nor does a change of
order that is only a reshape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from nobuco.ir import Value
from nobuco.layout.order import ChannelOrder, is_free
from nobuco.layout.strategy import Signature, has_order, nbytes

# Among plans of equal cost: few reshapes, then each unit's preferred signature. Both far below one byte.
RESHAPE_COST, PREFERENCE_COST = 0.01, 0.0001


class Planned(Protocol):
    """What the planner needs to know of a unit."""

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors that enter."""

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The tensors that leave."""


@dataclass(frozen=True)
class Plan:
    """The signature of each unit, by position; the order in which each value is made; the bytes moved."""

    signatures: tuple[Signature, ...]
    orders: Mapping[int, ChannelOrder]
    cost: int


@dataclass(frozen=True)
class _Affine:
    """Whether something is channels-last: a constant plus 0-1 variables."""

    constant: float = 0.0
    terms: Mapping[int, float] = field(default_factory=dict)

    def minus(self, other: _Affine) -> _Affine:
        terms = dict(self.terms)
        for variable, weight in other.terms.items():
            terms[variable] = terms.get(variable, 0.0) - weight
        return _Affine(self.constant - other.constant, {v: w for v, w in terms.items() if w})


def change_cost(value: Value, static: bool = False) -> float:
    """What changing a tensor's order costs: its bytes, or next to nothing where no data moves.

    Nothing for a constant, which is laid out when the model is built; next to nothing for what is `static`,
    computed from weights alone, which export folds.
    """
    if value.kind.is_constant:
        return 0.0
    return RESHAPE_COST if static or is_free(value.shape) else float(nbytes(value))


def plan(
    units: Sequence[Planned],
    choices: Sequence[Sequence[Signature]],
    inputs: Mapping[int, ChannelOrder],
    outputs: Iterable[tuple[Value, ChannelOrder | None]],
) -> Plan:
    """Choose a signature per unit.

    Args:
        units: in running order.
        choices: the signatures of each unit; at least one.
        inputs: the order of each input of the graph, by value id.
        outputs: each output of the graph with the order asked for (None: whichever is cheapest).
    """
    static = static_values(units, inputs)
    program = _Program()
    made: dict[int, _Affine] = {i: _Affine(float(order is ChannelOrder.TENSORFLOW)) for i, order in inputs.items()}
    wanted: dict[int, list[_Affine]] = {}
    by_id: dict[int, Value] = {}
    picks: list[list[int]] = []
    for unit, signatures in zip(units, choices):
        free = all(v.id in static for v in unit.outputs)
        pick = program.choose([PREFERENCE_COST * i + (0 if free else s.cost) for i, s in enumerate(signatures)])
        picks.append(pick)
        for i, value in enumerate(unit.inputs):
            by_id[value.id] = value
            wanted.setdefault(value.id, []).append(_is_last(pick, [s.inputs[i] for s in signatures]))
        for i, value in enumerate(unit.outputs):
            by_id[value.id] = value
            made.setdefault(value.id, _is_last(pick, [s.outputs[i] for s in signatures]))
    for value, order in outputs:
        by_id[value.id] = value
        if order is not None:
            wanted.setdefault(value.id, []).append(_Affine(float(order is ChannelOrder.TENSORFLOW)))
    for value_id, readers in wanted.items():
        value = by_id[value_id]
        if has_order(value) and value_id in made:
            program.change(made[value_id], readers, change_cost(value, value_id in static))
    solution = program.solve()
    chosen = tuple(
        signatures[int(np.argmax(solution[pick])) if pick else 0] for signatures, pick in zip(choices, picks)
    )
    orders = dict(inputs)
    for unit, signature in zip(units, chosen):
        for value, order in zip(unit.outputs, signature.outputs):
            orders.setdefault(value.id, order)
    return Plan(chosen, orders, _cost(units, chosen, orders, outputs, static))


def static_values(units: Sequence[Planned], inputs: Mapping[int, ChannelOrder]) -> frozenset[int]:
    """The values that depend on no input of the graph: whatever happens to them is folded on export."""
    live = set(inputs)
    for unit in units:
        if any(v.id in live for v in unit.inputs):
            live |= {v.id for v in unit.outputs}
    return frozenset(v.id for unit in units for v in (*unit.inputs, *unit.outputs)) - live


def _is_last(pick: Sequence[int], orders: Sequence[ChannelOrder]) -> _Affine:
    last = [order is ChannelOrder.TENSORFLOW for order in orders]
    if not pick or all(last) or not any(last):
        return _Affine(float(last[0]))
    return _Affine(0.0, {variable: 1.0 for variable, is_last in zip(pick, last) if is_last})


class _Program:
    """A 0-1 program under construction."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.rows: list[tuple[Mapping[int, float], float, float]] = []

    def choose(self, costs: Sequence[float]) -> list[int]:
        """One of several: a variable each (none where there is no choice)."""
        if len(costs) == 1:
            return []
        first = len(self.costs)
        self.costs += costs
        pick = list(range(first, len(self.costs)))
        self.rows.append((dict.fromkeys(pick, 1.0), 1.0, 1.0))
        return pick

    def change(self, origin: _Affine, readers: Sequence[_Affine], cost: float) -> None:
        """Pay `cost` once where any reader's order is not the one made."""
        differences = [d for d in (reader.minus(origin) for reader in readers) if d.terms]
        if not cost or not differences or any(not d.terms and d.constant for d in (r.minus(origin) for r in readers)):
            return
        paid = len(self.costs)
        self.costs.append(cost)
        seen = set()
        for difference in differences:
            key = (difference.constant, tuple(sorted(difference.terms.items())))
            if key in seen:
                continue
            seen.add(key)
            for sign in (1.0, -1.0):
                row = {v: -sign * w for v, w in difference.terms.items()}
                self.rows.append(({**row, paid: 1.0}, sign * difference.constant, np.inf))

    def solve(self) -> np.ndarray:
        """The cheapest assignment."""
        if not self.costs:
            return np.zeros(0)
        entries = [(i, v, w) for i, (row, _, _) in enumerate(self.rows) for v, w in row.items()]
        where = ([e[0] for e in entries], [e[1] for e in entries])
        matrix = csr_matrix(([e[2] for e in entries], where), shape=(len(self.rows), len(self.costs)))
        low, high = [row[1] for row in self.rows], [row[2] for row in self.rows]
        result = milp(
            np.array(self.costs),
            constraints=LinearConstraint(matrix, low, high),
            integrality=np.ones(len(self.costs)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            raise AssertionError(f"the layout program has no solution: {result.message}")
        return np.asarray(result.x)


def _cost(
    units: Sequence[Planned],
    chosen: Sequence[Signature],
    orders: Mapping[int, ChannelOrder],
    outputs: Iterable[tuple[Value, ChannelOrder | None]],
    static: frozenset[int],
) -> int:
    """The bytes that a finished plan moves."""
    changed: dict[int, float] = {}
    inner = 0
    for unit, signature in zip(units, chosen):
        inner += 0 if all(v.id in static for v in unit.outputs) else signature.cost
        for value, order in zip(unit.inputs, signature.inputs):
            if has_order(value) and orders.get(value.id, order) is not order:
                changed[value.id] = change_cost(value, value.id in static)
    for value, wanted in outputs:
        if wanted is not None and has_order(value) and orders.get(value.id, wanted) is not wanted:
            changed[value.id] = change_cost(value, value.id in static)
    return inner + int(sum(changed.values()))
