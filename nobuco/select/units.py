"""What a selection consists of: units, which become one layer each, and gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any

from nobuco.ir import Node, Value, ValueKind, map_leaves
from nobuco.ir.growth import Sizes
from nobuco.layout.channels import Lying, Order, Run
from nobuco.layout.movement import Freed, Reshape, Step
from nobuco.registry import Converter


@dataclass(frozen=True, eq=False)
class Unit:
    """A node, or a chain of nodes that only move data, which becomes one layer.

    `scope` is the path of the module that the call was made in; `inputs` and `outputs` are the tensors that
    enter and leave, in order. `flattening` is the call in front of it that it also stands for; `ahead` and `behind` are
    moves that are folded into its weights, with what is left of them. `lies` are the orders of channels in which its
    layer takes or gives tensors, by value id. One with `parts` only puts channels together: `parts` are the runs of
    each output, `shares` tell of tensors that are cut into so many equal parts, each read somewhere, and
    `through` are units that it also stands for.
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
    lies: Mapping[int, Order] = field(default_factory=dict)
    parts: tuple[tuple[Run, ...], ...] = ()
    shares: Mapping[int, int] = field(default_factory=dict)
    through: tuple[Unit, ...] = ()

    @property
    def moves_only(self) -> bool:
        """Whether the unit is pure data movement."""
        return bool(self.chain)

    @property
    def vanishes(self) -> bool:
        """Whether it puts channels together to nothing but the tensor that it takes."""
        if not len(self.parts) == len(self.inputs) == 1:
            return False
        (source,), (runs,) = self.inputs, self.parts
        return runs == (Run(source.id, 0, source.shape[1]),)

    @property
    def calls(self) -> Iterator[tuple[Node, Converter]]:
        """All calls that it stands for, its own first."""
        yield self.node, self.converter
        yield from self.chain
        for other in (self.flattening, *(joined[0] for joined in (self.ahead, self.behind) if joined is not None)):
            yield from other.chain if other is not None else ()
        for other in self.through:
            yield from other.calls

    @property
    def taken(self) -> Freed | None:
        """The order of channels in which it takes its first tensor, and what is left of the move ahead."""
        return self.ahead[1] if self.ahead is not None else self._lying(self.inputs[:1])

    @property
    def given(self) -> Freed | None:
        """The order of channels in which it gives its tensor, and what is left of the move behind."""
        return self.behind[1] if self.behind is not None else self._lying(self.outputs[:1])

    def _lying(self, values: Sequence[Value]) -> Freed | None:
        return next((Freed(self.lies[v.id], 1) for v in values if v.id in self.lies), None)

    def steps(self, shape: Sequence[int]) -> list[Step]:
        """The movement of the whole chain, on logical dimensions, for an input of this shape.

        A traced size is larger than it was while tracing by as much as the dimensions are that it grows with.
        """
        movement: list[Step] = []
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
            movement += steps
            shape = moved_shape(shape, steps)
        return movement


@dataclass(frozen=True)
class Gap:
    """A call without a converter, the path of the module that it was made in, and the call that was opened into it."""

    node: Node
    scope: str
    within: Node | None = None


@dataclass(frozen=True)
class Selection:
    """What `select` decided: units in running order, the fate of the nodes that became none, and what to warn of.

    `lies` are the tensors whose channels have an order of their own: by value id, along which dimension, and which.
    """

    units: tuple[Unit, ...]
    folded: frozenset[int]
    gaps: tuple[Gap, ...]
    dropped: tuple[Unit, ...] = ()
    notes: tuple[str, ...] = ()
    lies: Mapping[int, Lying] = field(default_factory=dict)


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
