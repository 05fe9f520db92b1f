"""What a selection is made of: units, each of which becomes one layer, and gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from nobuco.ir import Node, Value, ValueKind, map_leaves
from nobuco.ir.growth import Sizes
from nobuco.layout.movement import Freed, Reshape, Step
from nobuco.registry import Converter


@dataclass(frozen=True, eq=False)
class Unit:
    """A node, or a chain of nodes that only move data, which becomes one layer.

    `scope` is the path of the module that the call was made in; `inputs` and `outputs` are the tensors that
    enter and leave, in order. `flattening` is the call in front of it that it also stands for; `ahead` and `behind` are
    moves that are folded into its weights, with what is left of them.
    """

    node: Node
    converter: Converter
    scope: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    chain: tuple[tuple[Node, Converter], ...] = ()
    sizes: Sizes | None = None
    flattening: Unit | None = None
    ahead: tuple[Unit, Freed] | None = None
    behind: tuple[Unit, Freed] | None = None

    @property
    def moves_only(self) -> bool:
        """Whether the unit is pure data movement."""
        return bool(self.chain)

    @property
    def calls(self) -> Iterator[tuple[Node, Converter]]:
        """All calls that it stands for, its own first."""
        yield self.node, self.converter
        yield from self.chain
        for other in (self.flattening, *(joined[0] for joined in (self.ahead, self.behind) if joined is not None)):
            yield from other.chain if other is not None else ()

    @property
    def taken(self) -> Freed | None:
        """What is left of the move ahead."""
        return None if self.ahead is None else self.ahead[1]

    @property
    def given(self) -> Freed | None:
        """What is left of the move behind."""
        return None if self.behind is None else self.behind[1]

    def steps(self, shape: Sequence[int]) -> list[Step]:
        """The movement of the whole chain, on logical dimensions, for an input of this shape.

        A traced size is larger than it was while tracing by as much as the dimensions are that it grows with.
        """
        found: list[Step] = []
        head = self.inputs[0]
        larger = [Fraction(n, sample or 1) for n, sample in zip(shape, head.shape)]

        def number(value: Value, dim: int | None) -> int:
            if self.sizes is None:
                return value.shape[dim or 0]
            axes = self.sizes.axes_of(self.sizes.growth(value, dim), head)
            sample = self.sizes.number(value) if dim is None else value.shape[dim]
            return -1 if axes is None else int(prod((larger[axis] for axis in axes), start=sample))

        for node, converter in self.chain:
            steps = _steps(node, converter, tuple(shape), number)
            found += steps
            shape = moved_shape(shape, steps)
        return found


@dataclass(frozen=True)
class Gap:
    """A call without a converter, the path of the module that it was made in, and the call that was opened into it."""

    node: Node
    scope: str
    within: Node | None = None


@dataclass(frozen=True)
class Selection:
    """What `select` decided: units in running order, the fate of the nodes that became none, and what to warn of."""

    units: tuple[Unit, ...]
    folded: frozenset[int]
    gaps: tuple[Gap, ...]
    dropped: tuple[Unit, ...] = ()
    notes: tuple[str, ...] = ()


def moved_shape(shape: Sequence[int], steps: Sequence[Step]) -> tuple[int, ...]:
    """The shape that a tensor of `shape` has after the steps."""
    for step in steps:
        shape = step.shape if isinstance(step, Reshape) else tuple(shape[i] for i in step.perm)
    return tuple(shape)


def _steps(
    node: Node, converter: Converter, shape: tuple[int, ...], number: Callable[[Value, int | None], int]
) -> list[Step]:
    """The steps of one movement, its tensors replaced by their shapes, the one that moves by `shape`."""
    assert converter.steps is not None
    first = node.inputs[0]

    def replaced(leaf: Any) -> Any:
        if not isinstance(leaf, Value):
            return leaf
        if leaf is not first and is_size(leaf, node):
            return number(leaf, None)
        return shape if leaf is first else tuple(number(leaf, dim) for dim in range(leaf.rank))

    args, kwargs = map_leaves(replaced, (node.args, dict(node.kwargs)))
    return list(converter.steps(*args, **kwargs))


def is_size(value: Value, node: Node) -> bool:
    """Whether a movement takes a number there, rather than the shape of a tensor: `x.view(n)`, not `x.view_as(y)`."""
    is_like = getattr(node.op, "__name__", "").endswith("_as")
    return value.kind is ValueKind.SIZE or (value.rank == 0 and not is_like)
