"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nobuco.converters.arithmetic import logaddexp as log_of_sum
from nobuco.converters.support import as_summed, axis, cast, promoted, rank, scalar_as_vector, sizes
from nobuco.layers.sizes import part
from nobuco.ops.names import torch
from nobuco.registry import expression

Parts = tuple[tf.Tensor, ...]


def scanned(parts: Parts, over: int, combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """The running results of an associative operation along an axis, each of `parts` being one of its values.

    Each round joins every element with the result that lies twice as far back, so a few rounds of plain
    operations serve any size; TensorFlow's own scans are loops of a step for each element, which TFLite runs slowly
    or not at all.
    """
    count, reach = sizes(parts[0])[over], 1
    if not isinstance(count, int):
        return _scanned_in_loop(parts, over, combine)
    while reach < count:
        before = tuple(part(x, over, 0, count - reach) for x in parts)
        after = tuple(part(x, over, reach, count) for x in parts)
        joined = combine(before, after)
        parts = tuple(tf.concat([part(x, over, 0, reach), y], over) for x, y in zip(parts, joined))
        reach *= 2
    return parts


def _scanned_in_loop(parts: Parts, over: int, combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """The same along an axis where only the running model knows the number of rounds."""
    count = sizes(parts[0])[over]
    places = tf.range(count)
    column = [-1 if i == over else 1 for i in range(rank(parts[0]))]

    def one_round(reach: tf.Tensor, *parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        before = tuple(tf.gather(x, tf.maximum(places - reach, 0), axis=over) for x in parts)
        has_one = tf.reshape(places >= reach, column)
        joined = tuple(tf.where(has_one, y, x) for x, y in zip(parts, combine(before, parts)))
        return 2 * reach, *joined

    return tuple(tf.while_loop(lambda reach, *_: reach < count, one_round, (tf.constant(1), *parts))[1:])


@expression(torch.cumsum)
def cumsum(input: tf.Tensor, dim: int, *, dtype: Any = None) -> tf.Tensor:
    """cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor"""
    x = as_summed(input, dtype)
    return tf.cumsum(x, axis(input, dim)) if rank(x) else x


@expression(torch.cumprod)
@scalar_as_vector
def cumprod(input: tf.Tensor, dim: int, *, dtype: Any = None) -> tf.Tensor:
    """cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor"""
    return scanned((as_summed(input, dtype),), axis(input, dim), lambda a, b: (a[0] * b[0],))[0]


@expression(torch.logcumsumexp)
@scalar_as_vector
def logcumsumexp(input: tf.Tensor, dim: int) -> tf.Tensor:
    """logcumsumexp(Tensor self, int dim) -> Tensor"""
    over = axis(input, dim)
    if input.dtype.is_complex:  # one after the other, since the order tells which of its logarithms a number has
        swapped = [over if i == 0 else 0 if i == over else i for i in range(rank(input))]
        return tf.transpose(tf.scan(log_of_sum, tf.transpose(input, swapped)), swapped)
    return scanned((input,), over, lambda a, b: (log_of_sum(a[0], b[0]),))[0]


def _running_extreme(input: tf.Tensor, dim: int, wins: Callable[..., tf.Tensor]) -> Parts:
    """Values and int64 indices; of equal elements the last counts, as in PyTorch."""
    if input.dtype == tf.bool:
        values, indices = _running_extreme(cast(input, tf.int32), dim, wins)
        return cast(values, tf.bool), indices
    over = axis(input, dim)
    places = tf.range(sizes(input)[over])
    places = tf.reshape(places, [-1 if a == over else 1 for a in range(rank(input))])
    indices = tf.broadcast_to(places, sizes(input))

    def later_or_better(before: Parts, after: Parts) -> Parts:
        chosen = wins(after[0], before[0])
        if input.dtype.is_floating:  # once NaN, always NaN
            chosen = tf.logical_or(chosen, tf.math.is_nan(after[0]))
        return tuple(tf.where(chosen, b, a) for a, b in zip(before, after))

    values, indices = scanned((input, indices), over, later_or_better)
    return values, tf.cast(indices, tf.int64)


@expression(torch.cummax)
@scalar_as_vector
def cummax(input: tf.Tensor, dim: int) -> Parts:
    """cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)"""
    return _running_extreme(input, dim, tf.greater_equal)


@expression(torch.cummin)
@scalar_as_vector
def cummin(input: tf.Tensor, dim: int) -> Parts:
    """cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)"""
    return _running_extreme(input, dim, tf.less_equal)


@expression(torch.diff)
def diff(input: tf.Tensor, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> tf.Tensor:
    """diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor"""
    over = axis(input, dim)
    if not n:  # then PyTorch joins nothing to it either
        return input
    x = tf.concat(promoted(*(piece for piece in (prepend, input, append) if piece is not None)), over)
    for _ in range(n):
        after, before = part(x, over, 1, None), part(x, over, 0, -1)
        x = tf.not_equal(after, before) if x.dtype == tf.bool else after - before
    return x
