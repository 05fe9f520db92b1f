"""The planner against brute force, on random graphs."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
import torch

import nobuco
from nobuco.ir import Value, ValueKind
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.plan import regions
from nobuco.plan.alternatives import alternatives
from nobuco.plan.planner import plan

P, T = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


@dataclass(frozen=True)
class FakeUnit:
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def _value(number, rng):
    rank = rng.choice([2, 3, 4, 5])
    shape = tuple(rng.choice([1, 2, 3, 5]) for _ in range(rank))
    return Value(number, ValueKind.RESULT, shape, rng.choice(["float32", "int64", "bool"]))


def _random_graph(seed):
    """Up to seven units over random tensors, each with random signatures, read by random later units."""
    rng = random.Random(seed)
    numbers = itertools.count()
    inputs = [_value(next(numbers), rng) for _ in range(rng.randint(1, 2))]
    constants = [Value(next(numbers), ValueKind.PARAMETER, (2, 3, 4), "float32")]
    pool, units, choices = list(inputs), [], []
    for _ in range(rng.randint(1, 7)):
        entering = tuple(rng.choice(pool + constants) for _ in range(rng.randint(1, 3)))
        leaving = tuple(_value(next(numbers), rng) for _ in range(rng.randint(1, 2)))
        units.append(FakeUnit(entering, leaving))
        pool += leaving
        signatures = [
            Signature(
                tuple(rng.choice([P, T]) if v.rank >= 3 else P for v in entering),
                tuple(rng.choice([P, T]) if v.rank >= 3 else P for v in leaving),
                rng.choice([0, 0, 0, 7, 50]),
            )
            for _ in range(rng.randint(1, 3))
        ]
        choices.append(signatures)
    orders = {v.id: rng.choice([P, T]) if v.rank >= 3 else P for v in inputs}
    outputs = [(rng.choice(pool), rng.choice([P, T, None])) for _ in range(rng.randint(1, 3))]
    return units, choices, orders, outputs


def _bytes(value):
    """What transposing a value costs: its bytes, nothing for constants and where channel or space is trivial."""
    if value.kind is ValueKind.PARAMETER or value.rank < 3 or value.shape[1] == 1 or set(value.shape[2:]) == {1}:
        return 0
    size = {"float32": 4, "int64": 8, "bool": 1}[value.dtype]
    for n in value.shape:
        size *= n
    return size


def _brute_force(units, choices, orders, outputs):
    """The least cost over every combination of signatures, by the definition and nothing cleverer."""
    live = set(orders)
    for unit in units:
        if any(v.id in live for v in unit.inputs):
            live |= {v.id for v in unit.outputs}
    best = None
    for combination in itertools.product(*choices):
        made = dict(orders)
        for unit, signature in zip(units, combination):
            made.update({v.id: o for v, o in zip(unit.outputs, signature.outputs)})
        inner = sum(s.cost for u, s in zip(units, combination) if any(v.id in live for v in u.outputs))
        changed = {}
        reads = [(v, o) for u, s in zip(units, combination) for v, o in zip(u.inputs, s.inputs)]
        for value, order in [*reads, *((v, o) for v, o in outputs if o is not None)]:
            if value.rank >= 3 and value.id in live and made[value.id] is not order:
                changed[value.id] = _bytes(value)
        cost = inner + sum(changed.values())
        best = cost if best is None else min(best, cost)
    return best


@pytest.mark.parametrize("block", range(10))
def test_plan_is_as_cheap_as_brute_force_finds(block):
    for seed in range(block * 30, block * 30 + 30):
        units, choices, orders, outputs = _random_graph(seed)
        assert plan(units, choices, orders, outputs).cost == _brute_force(units, choices, orders, outputs), seed


@pytest.mark.parametrize("block", range(5))
def test_alternatives_cost_what_brute_force_finds_with_all_else_as_planned(block):
    for seed in range(block * 30, block * 30 + 30):
        units, choices, orders, outputs = _random_graph(seed)
        found = plan(units, choices, orders, outputs)
        moved = alternatives(units, choices, found, orders, outputs)
        for number, signatures in enumerate(choices):
            for signature, cost in zip(signatures, moved[number], strict=True):
                forced = [[s] for s in found.signatures]
                forced[number] = [signature]
                assert cost == _brute_force(units, forced, orders, outputs), seed


def test_the_plans_of_nested_regions_are_made_once_for_each_level_above(monkeypatch):
    """Each decision has the rest of the program in both of its regions, so regions nest as deep as it decides."""
    made = []

    def counting(*given):
        made.append(given)
        return plan(*given)

    def program(x):
        for i in range(4):
            if x.sum() > i:
                x = x + 1
        return x

    monkeypatch.setattr(regions, "plan", counting)
    x = torch.ones(2, 3)
    _, report = nobuco.pytorch_to_keras(program, [x], explore_branches=True, verbose=False, return_report=True)
    decisions = sum(node.name.endswith("cond") for node in report.walk())
    assert report.ok and decisions == 15
    assert len(made) <= 2 * 2 * decisions * 4  # orders, regions, levels
