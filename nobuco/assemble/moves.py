"""Pure data movement as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.ir import Value, map_leaves
from nobuco.ir.growth import ENOUGH
from nobuco.layers.sizes import sizes
from nobuco.layout.movement import Move, Permute, Reshape, Step, shortest, without_reshapes
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import reordered
from nobuco.select import Unit

# Stand for dynamic sizes in the algebra, each times the size that its axis had while tracing: primes too large to
# be anybody's size, so that any part of a product of them tells which dynamic axes it is made of, and a size that
# the program may split (a height into windows) is still split.
_STAND_INS = (1000003, 1000033, 1000037, 1000039, 1000081, 1000099)
# Stands for a size of nothing, which would not tell what it is split into: every number up to 16 divides it.
_SOME = 720720


def moving_function(unit: Unit, before: ChannelOrder, after: ChannelOrder) -> Any:
    """`tensor -> tensor`: the chain's movement for an input lying in `before`, its output lying in `after`."""
    # TensorFlow may not know a size that is the same in all runs: that of what is resized to a shape of tensors.
    known = before.to_physical(_constant_sizes(unit, unit.inputs[0]))

    def move(x: tf.Tensor) -> tf.Tensor:
        shape = [always if here is None else here for here, always in zip(x.shape.as_list(), known)]
        return apply_moves(x, plan_moves(unit, shape, before, after), _dynamic_sizes(x, shape, unit, before))

    return move


def _stand_ins(unit: Unit, shape: Sequence[int | None], before: ChannelOrder) -> dict[int, int]:
    """The stand-in of each dynamic axis of the input as it lies; one for those that had as many lengths alike."""
    head, kinds = unit.inputs[0], dict[Any, int]()
    dims = before.to_physical(range(len(shape)))
    growths = [None if unit.sizes is None else unit.sizes.growth(head, dim) for dim in dims]
    alike = [(head.shape[dim], growth) for dim, growth in zip(dims, growths)]
    kind = [alike[axis] if len(set(growth or ())) >= ENOUGH else axis for axis, growth in enumerate(growths)]
    unknown = [axis for axis, size in enumerate(shape) if size is None]
    return {axis: kinds.setdefault(kind[axis], _STAND_INS[len(kinds)]) for axis in unknown}


def plan_moves(unit: Unit, shape: Sequence[int | None], before: ChannelOrder, after: ChannelOrder) -> tuple[Move, ...]:
    """The moves for an input of this shape as it lies; dynamic sizes are replaced by their stand-ins."""
    samples = before.to_physical(unit.inputs[0].shape)
    stand_ins = _stand_ins(unit, shape, before)
    physical = [size or 0 for size in shape]
    for axis, stand_in in stand_ins.items():
        physical[axis] = stand_in * (samples[axis] or _SOME)
    taken = unit.steps(before.to_logical(physical))
    if _rank(taken, len(physical)) != unit.outputs[0].rank:  # axes were left out for their length: as on the example
        physical = [sample if sample == 1 else size for size, sample in zip(physical, samples)]
        taken = unit.steps(before.to_logical(physical))
    moves = shortest(physical, reordered(taken, before, after, len(physical), unit.outputs[0].rank))
    sources = [tuple(physical), *(move.shape for move in moves)]
    return tuple(without_reshapes(move, source) for move, source in zip(moves, sources))


def _rank(steps: Sequence[Step], rank: int) -> int:
    """How many dimensions steps leave of so many."""
    return next((len(step.shape) for step in reversed(steps) if isinstance(step, Reshape)), rank)


def apply_moves(x: tf.Tensor, moves: Sequence[Move], stand_ins: dict[int, tuple[Any, int]]) -> tf.Tensor:
    """Run the moves; `stand_ins` tells of each the size of its axis now, and while tracing."""
    for move in moves:
        if move.transposes:
            x = _reshape(x, move.split, stand_ins)
            x = _transposed(x, move.perm)
        if not move.transposes or move.transposed != move.shape:  # which TFLite refuses between two dynamic axes
            x = _reshape(x, move.shape, stand_ins)
    return x


def stepping(unit: Unit) -> Callable[..., tf.Tensor]:
    """A movement run step by step, for sizes that are tensors: `(tensor, *args)` in PyTorch's order."""
    known = _constant_sizes(unit, unit.outputs[0])

    def run(x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        assert unit.converter.steps is not None
        traced, named = map_leaves(_as_shape, (args, kwargs))
        steps = unit.converter.steps(tuple(sizes(x)), *traced, **named)
        for step in steps:
            if isinstance(step, Permute):
                x = _transposed(x, step.perm)
            else:
                x = tf.reshape(x, _completed(step.shape, known) if step is steps[-1] else step.shape)
        return x

    return run


def _constant_sizes(unit: Unit, value: Value) -> list[int | None]:
    """Of each dimension of what a unit takes or gives, its size, if it was the same in so many runs at other sizes."""
    growths = [None if unit.sizes is None else unit.sizes.growth(value, dim) for dim in range(value.rank)]
    is_constant = [len(growth or ()) >= ENOUGH and set(growth or ()) == {1} for growth in growths]
    return [n if constant else None for n, constant in zip(value.shape, is_constant)]


def _completed(shape: Sequence[Any], known: Sequence[int | None]) -> Sequence[Any]:
    """A shape with its -1 as the number that it is known to be: what follows, such as a convolution, may need it."""
    if len(shape) != len(known):  # axes are left out for their length
        return shape
    return [k if isinstance(n, int) and n == -1 and k is not None else n for n, k in zip(shape, known)]


# As many as TFLite's TRANSPOSE takes.
_MOST_DIMENSIONS = 6


def _transposed(x: tf.Tensor, perm: Sequence[int]) -> tf.Tensor:
    """`tf.transpose`; of many dimensions, one after the other is brought to its place."""
    if len(perm) <= _MOST_DIMENSIONS:
        return tf.transpose(x, perm)
    size, order = sizes(x), list(range(len(perm)))
    for place, dim in enumerate(perm):
        at = order.index(dim)
        if at != place:
            parts = (order[:place], order[place:at], [dim], order[at + 1 :])
            blocks = [prod(size[i] for i in part) for part in parts]
            x = tf.transpose(tf.reshape(x, blocks), (0, 2, 1, 3))
            order.insert(place, order.pop(at))
    return tf.reshape(x, [size[i] for i in perm])


def _as_shape(leaf: Any) -> Any:
    return tuple(sizes(leaf)) if tf.is_tensor(leaf) and leaf.shape.rank else leaf


def _dynamic_sizes(
    x: tf.Tensor, known: Sequence[int | None], unit: Unit, before: ChannelOrder
) -> dict[int, tuple[Any, int]]:
    """By stand-in: the size of its axis now, and while tracing."""
    axes = {stand_in: axis for axis, stand_in in _stand_ins(unit, known, before).items()}
    if not axes:
        return {}
    shape, samples = tf.shape(x), before.to_physical(unit.inputs[0].shape)
    return {stand_in: (shape[axis], samples[axis] or _SOME) for stand_in, axis in axes.items()}


def _reshape(x: tf.Tensor, shape: Sequence[int], stand_ins: dict[int, tuple[Any, int]]) -> tf.Tensor:
    target = [_real_size(size, stand_ins) for size in shape]
    # Compared only where all are numbers: with a tensor among them, equality is a tensor, too.
    if all(isinstance(size, int) for size in target) and x.shape.as_list() == target:
        return x
    dynamic = [i for i, size in enumerate(target) if not isinstance(size, int)]
    if len(dynamic) == 1:
        target[dynamic[0]] = -1
    return tf.reshape(x, target)


def _real_size(size: int, stand_ins: dict[int, tuple[Any, int]]) -> Any:
    """What an integer of the algebra is now: an int, or a tensor where stand-ins are among its factors."""
    if not size:  # every stand-in divides it, and none is among its factors
        return 0
    factors, samples = [], 1
    for stand_in, (real, sample) in stand_ins.items():
        while size and size % stand_in == 0:
            factors.append(real)
            size //= stand_in
            samples *= sample
    if not factors:
        return size
    ratio = Fraction(size, samples)
    product = prod(factors[1:], start=factors[0])
    product = product if ratio.numerator == 1 else product * ratio.numerator
    return product if ratio.denominator == 1 else product // ratio.denominator
