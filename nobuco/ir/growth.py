"""How sizes grow with the dynamic axes: what is learnt from running a program again at other sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import torch

from nobuco.ir.graph import Graph, Value, ValueKind

Growth = tuple[Fraction, ...]
# Axes that were as long as each other in runs at other sizes always are if they had so many lengths; one that was the
# same in so many runs always is.
ENOUGH = 4


@dataclass(frozen=True)
class Sizes:
    """The sizes of values while tracing and in the other runs of a program.

    `numbers` are the traced sizes; each of `runs` maps a value's id to the shape, or the number, that it had in
    another run. No tensor is kept, since layers keep this.
    """

    numbers: Mapping[int, Any]
    runs: tuple[Mapping[int, Any], ...]
    dynamic: bool

    @classmethod
    def of(cls, graph: Graph) -> Sizes:
        """The sizes that a graph's values had."""
        # A tensor without dimensions may be a size, too: `torch.div(n, 2, rounding_mode="floor")`.
        numbers = {
            id: held.item() if isinstance(held, torch.Tensor) else held
            for id, held in graph.samples.kept.items()
            if not isinstance(held, torch.Tensor) or _is_integer(held)
        }
        return cls(numbers, graph.runs, bool(graph.dynamic))

    def number(self, value: Value) -> Any:
        """A traced size as it was while tracing."""
        return self.numbers[value.id]

    def growth(self, value: Value, dim: int | None = None) -> Growth | None:
        """By what factor a dimension (or a traced size) was larger in each other run; None where unknown.

        What no run says anything about is constant: a parameter, a buffer.
        """
        mine = self.number(value) if dim is None else value.shape[dim]
        if not self.runs or not isinstance(mine, int) or mine == 0:
            return None if self.dynamic and value.kind in (ValueKind.RESULT, ValueKind.SIZE) else ()
        others = [run.get(value.id) for run in self.runs]
        if dim is None and any(isinstance(other, (tuple, torch.Size)) for other in others):
            return None  # a tensor: runs tell its shape alone
        theirs = [mine if other is None else other if dim is None else other[dim] for other in others]
        return tuple(Fraction(n, mine) for n in theirs)

    def axes_of(self, growth: Growth | None, head: Value) -> tuple[int, ...] | None:
        """The dimensions of `head` whose growths multiply to this one.

        None where none do; or where several do that had few lengths, so that they may be alike by chance.
        """
        if growth is None:
            return None
        if all(factor == 1 for factor in growth):
            return ()
        each = {dim: self.growth(head, dim) for dim in range(head.rank)}
        growing = [dim for dim, own in each.items() if own and any(factor != 1 for factor in own)]
        for count in range(1, len(growing) + 1):
            splits = [
                dims for dims in combinations(growing, count) if _product([each[d] or () for d in dims]) == growth
            ]
            if splits:
                return splits[0] if len(splits) == 1 or len(set(growth)) >= ENOUGH else None
        return None


def _is_integer(tensor: torch.Tensor) -> bool:
    kind = tensor.dtype
    return tensor.ndim == 0 and not (kind.is_floating_point or kind.is_complex or tensor.is_meta)


def _product(growths: Sequence[Growth]) -> Growth:
    result = growths[0]
    for growth in growths[1:]:
        result = tuple(a * b for a, b in zip(result, growth))
    return result
