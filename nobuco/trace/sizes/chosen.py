"""Decisions by the larger, or the smaller, of two sizes.

`max(h, w) > 512` looks at one of them, in each run at its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nobuco.ir import Graph, Guard, Value
from nobuco.trace.sizes.formulas import Formula, Formulas
from nobuco.trace.sizes.reruns import Rerun
from nobuco.trace.sizes.story import aligned

_CHOICES = (max, min)


def chosen_of_two(graph: Graph, formulas: Formulas, runs: Sequence[Rerun]) -> dict[int, Formula]:
    """Formulas of what decisions look at, by the ids of these, where that of the size which the example has is none."""
    met = [_met(graph, run) for run in runs if run.graph is not None]
    found: dict[int, Formula] = {}
    choices: list[Formula] = []
    for number, guard in enumerate(graph.guards):
        numbers = [graph.samples[guard.size.id], *(run.get(number) for run in met)]
        known = formulas.of(guard.size)
        if known is not None and choices and not _fits(known, numbers):
            made = (m for choice in choices for m in (choice, *formulas.made_with(guard.size, choice)))
            fitting = next((formula for formula in made if _fits(formula, numbers)), None)
            if fitting is not None:
                found[id(guard)] = fitting
        choices += _choices(formulas, guard)
    return found


def _met(graph: Graph, run: Rerun) -> dict[int, Any]:
    """What each decision, by its number, looked at in another run."""
    kept = {} if run.graph is None else run.graph.samples.kept
    return {number: kept.get(theirs.size.id) for number, _, theirs in aligned(graph.guards, run.guards)}


def _choices(formulas: Formulas, guard: Guard) -> Iterator[Formula]:
    """The larger and the smaller of two sizes that were compared."""
    pair = [formulas.of(guard.size), formulas.of(guard.other)]
    if isinstance(guard.other, Value) and all(formula is not None for formula in pair):
        yield from (made for op in _CHOICES if (made := formulas.applied(op, pair)) is not None)


def _fits(formula: Formula, numbers: Sequence[Any]) -> bool:
    """Whether a formula gives what was seen: in the example and in the runs, as far as they came."""
    rows = np.broadcast_to(formula.numbers, max(len(formula.numbers), len(numbers)))
    return all(n is None or n == row for n, row in zip(numbers, rows))
