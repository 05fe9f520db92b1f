"""Reductions: sums, extremes, moments, truth. The dimensions that remain keep lying as they did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters import arithmetic
from nobuco.converters.rules import is_over_none, reducing, reducing_at_word, remaining
from nobuco.converters.sorting import nan_above
from nobuco.converters.support import aligned, as_summed, axes, cast, promoted, rank, sizes
from nobuco.ir import Node, Value
from nobuco.layers.sizes import part
from nobuco.layout import ChannelOrderingStrategy
from nobuco.layout.order import ChannelOrder, get_channel_order, set_channel_order
from nobuco.layout.strategy import Signature, broadcasting, keeping, uniform
from nobuco.ops.names import torch
from nobuco.registry import ChannelUse, Named, expression

Dims = int | Sequence[int] | None


def reduction(*operations: Named) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a reduction with the usual arguments: `(input, dim=None, keepdim=False, ...)`."""
    return expression(*operations, strategy=keeping(reducing), channels=_channels)


def _channels(node: Node) -> ChannelUse | None:
    """Each by itself where they stay, behind the batch."""
    kept = list(reducing(*node.args, **node.kwargs))
    return ChannelUse.EACH if kept[:2] == [0, 1] else None


# As many as XNNPACK reduces of.
_MOST_DIMENSIONS = 6


def _reduced(reduce: Callable[..., tf.Tensor], x: tf.Tensor, over: Sequence[int], keepdim: bool = False) -> tf.Tensor:
    """A reduction of TensorFlow's; of many dimensions, neighbours that go, or stay, together become one."""
    if rank(x) <= _MOST_DIMENSIONS:
        return reduce(x, over, keepdim)
    size, gone = sizes(x), {place % rank(x) for place in over}
    runs = [list(run) for _, run in itertools.groupby(range(rank(x)), gone.__contains__)]
    merged = tf.reshape(x, [math.prod(size[place] for place in run) for run in runs])
    found = reduce(merged, [i for i, run in enumerate(runs) if run[0] in gone], False)
    left = [1 if place in gone else n for place, n in enumerate(size) if keepdim or place not in gone]
    return tf.reshape(found, left or tf.zeros([0], tf.int32))


@reduction(torch.sum)
def sum(input: tf.Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> tf.Tensor:
    """sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"""
    return _sum(input, axes(input, dim), keepdim, dtype)


def _sum(x: tf.Tensor, over: Sequence[int], keepdim: bool, dtype: torch.dtype | None) -> tf.Tensor:
    if dtype == torch.bool:  # so is a sum of truth values true where one is
        return _reduced(tf.reduce_any, cast(x, tf.bool), over, keepdim)
    return _reduced(tf.reduce_sum, as_summed(x, dtype), over, keepdim)


@reduction(torch.nansum)
def nansum(input: tf.Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> tf.Tensor:
    """nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"""
    return _sum(_without_nan(input), axes(input, dim), keepdim, dtype)


@expression(torch.Tensor.sum_to_size, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def sum_to_size(input: tf.Tensor, size: Sequence[Any]) -> tf.Tensor:
    """sum_to_size(Tensor self, SymInt[] size) -> Tensor"""
    before = rank(input) - len(size)
    gone = [axis for axis, n in enumerate(size, before) if isinstance(n, int) and n == 1 and input.shape[axis] != 1]
    moving = {axis: n for axis, n in enumerate(size, before) if tf.is_tensor(n)}
    x = as_summed(input, None) if before or gone or moving or not size else input
    x = _reduced(tf.reduce_sum, x, gone, keepdim=True) if gone else x
    for axis, n in moving.items():  # behind the elements lies their sum, the only one if that is asked for
        both = tf.concat([x, tf.reduce_sum(x, axis, keepdims=True)], axis)
        start = tf.where(tf.equal(n, 1), sizes(x)[axis], 0)
        x = part(both, axis, start, start + n)
    return _reduced(tf.reduce_sum, x, range(before)) if before else x


def _without_nan(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(x), tf.zeros([], x.dtype), x) if x.dtype.is_floating else x


@reduction(torch.mean)
def mean(input: tf.Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> tf.Tensor:
    """mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"""
    x = input if dtype is None else tf.cast(input, tf_dtype(dtype))
    return _average(x, axes(input, dim), keepdim)


def _average(x: tf.Tensor, over: Sequence[int], keepdim: bool) -> tf.Tensor:
    """The mean, part by part of complex numbers: of none of them TensorFlow has zero."""
    if x.dtype.is_complex:
        return tf.complex(*(_average(part(x), over, keepdim) for part in (tf.math.real, tf.math.imag)))
    return _reduced(tf.reduce_mean, x, over, keepdim)


@reduction(torch.nanmean)
def nanmean(input: tf.Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> tf.Tensor:
    """nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"""
    x = input if dtype is None else cast(input, tf_dtype(dtype))
    number = tf.cast(tf.logical_not(tf.math.is_nan(x)), x.dtype)
    over = axes(input, dim)
    total, count = (_reduced(tf.reduce_sum, y, over, keepdim) for y in (_without_nan(x), number))
    return total / count


@reduction(torch.prod)
def prod(input: tf.Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> tf.Tensor:
    """prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"""
    if dtype == torch.bool:
        return _reduced(tf.reduce_all, cast(input, tf.bool), axes(input, dim), keepdim)
    return _reduced(tf.reduce_prod, as_summed(input, dtype), axes(input, dim), keepdim)


def _largest(x: tf.Tensor, over: list[int], keepdim: bool) -> tf.Tensor:
    return _reduced(tf.reduce_any if x.dtype == tf.bool else tf.reduce_max, x, over, keepdim)


def _smallest(x: tf.Tensor, over: list[int], keepdim: bool) -> tf.Tensor:
    return _reduced(tf.reduce_all if x.dtype == tf.bool else tf.reduce_min, x, over, keepdim)


@reduction(torch.amax)
def amax(input: tf.Tensor, dim: Dims = (), keepdim: bool = False) -> tf.Tensor:
    """amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor"""
    return _largest(input, axes(input, dim), keepdim)


@reduction(torch.amin)
def amin(input: tf.Tensor, dim: Dims = (), keepdim: bool = False) -> tf.Tensor:
    """amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor"""
    return _smallest(input, axes(input, dim), keepdim)


@reduction(torch.aminmax)
def aminmax(input: tf.Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)"""
    return _smallest(input, axes(input, dim), keepdim), _largest(input, axes(input, dim), keepdim)


def _position(x: tf.Tensor, over: int, keepdim: bool, extreme: Callable[..., tf.Tensor]) -> tf.Tensor:
    """The index, as int64, of the first element along an axis that equals the extreme one; in PyTorch NaN is that."""
    find = tf.argmax if extreme is _largest or x.dtype.is_floating else tf.argmin
    if x.dtype.is_floating:
        x = nan_above(x if extreme is _largest else -x)
    if x.dtype in (tf.int64, tf.bool):  # whose ARG_MAX TFLite lacks
        x, find = tf.cast(tf.equal(x, extreme(x, [over], True)), tf.int32), tf.argmax
    index = find(x, over, output_type=tf.int64)
    return tf.expand_dims(index, over) if keepdim else index


def _extreme_layout(node: Node) -> Sequence[Signature]:
    """Elementwise with a second tensor, else a reduction."""
    return broadcasting(node) if len(node.inputs) > 1 else keeping(reducing)(node)


def _extreme(
    input: tf.Tensor,
    dim: Any,
    keepdim: bool,
    reduce: Callable[..., tf.Tensor],
    choose: Callable[..., tf.Tensor],
) -> Any:
    """The three forms of `max` and `min`: of all, along a dimension with its indices, of two tensors."""
    if tf.is_tensor(dim):
        return choose(*aligned(*promoted(input, dim)))
    if dim is None:
        return reduce(input, axes(input, None), False)
    if rank(input) == 0:
        return input, tf.zeros([], tf.int64)
    (over,) = axes(input, dim)
    return reduce(input, [over], keepdim), _position(input, over, keepdim, reduce)


@expression(torch.max, strategy=_extreme_layout)
def max(input: tf.Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _extreme(input, dim if other is None else other, keepdim, _largest, arithmetic.maximum)


@expression(torch.min, strategy=_extreme_layout)
def min(input: tf.Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _extreme(input, dim if other is None else other, keepdim, _smallest, arithmetic.minimum)


def _position_layout(node: Node) -> Sequence[Signature]:
    """Without a dimension the index counts the elements in PyTorch's order."""
    if reducing_dim(*node.args, **node.kwargs) is None:
        return [uniform(node, ChannelOrder.PYTORCH, ChannelOrder.PYTORCH)]
    return keeping(reducing)(node)


def reducing_dim(input: Value, dim: Any = None, *_: Any, **__: Any) -> Any:
    """The `dim` of a reduction's arguments."""
    return dim


def _position_of(input: tf.Tensor, dim: int | None, keepdim: bool, extreme: Callable[..., tf.Tensor]) -> tf.Tensor:
    if dim is not None and rank(input):
        return _position(input, axes(input, dim)[0], keepdim, extreme)
    index = _position(tf.reshape(input, [-1]), 0, False, extreme)
    return tf.reshape(index, [1] * rank(input)) if keepdim else index


@expression(torch.argmax, strategy=_position_layout)
def argmax(input: tf.Tensor, dim: int | None = None, keepdim: bool = False) -> tf.Tensor:
    """argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor"""
    return _position_of(input, dim, keepdim, _largest)


@expression(torch.argmin, strategy=_position_layout)
def argmin(input: tf.Tensor, dim: int | None = None, keepdim: bool = False) -> tf.Tensor:
    """argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor"""
    return _position_of(input, dim, keepdim, _smallest)


def _truth(input: tf.Tensor, reduce: Callable[..., tf.Tensor], dim: Dims, keepdim: bool) -> tf.Tensor:
    """PyTorch answers in bool, but for uint8, which was its bool once; over no dimension of each element alone."""
    truth = tf.cast(input, tf.bool)
    found = truth if is_over_none(dim) else _reduced(reduce, truth, axes(input, dim), keepdim)
    return tf.cast(found, tf.uint8) if input.dtype == tf.uint8 else found


@expression(torch.any, strategy=keeping(reducing_at_word))
def any(input: tf.Tensor, dim: Dims = None, keepdim: bool = False) -> tf.Tensor:
    """any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor"""
    return _truth(input, tf.reduce_any, dim, keepdim)


@expression(torch.all, strategy=keeping(reducing_at_word))
def all(input: tf.Tensor, dim: Dims = None, keepdim: bool = False) -> tf.Tensor:
    """all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor"""
    return _truth(input, tf.reduce_all, dim, keepdim)


@reduction(torch.count_nonzero)
def count_nonzero(input: tf.Tensor, dim: Dims = None) -> tf.Tensor:
    """count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor"""
    return _reduced(tf.reduce_sum, tf.cast(tf.cast(input, tf.bool), tf.int64), axes(input, dim))


@reduction(torch.logsumexp, torch.special.logsumexp)
def logsumexp(input: tf.Tensor, dim: Dims, keepdim: bool = False) -> tf.Tensor:
    """logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor"""
    over = axes(input, dim)
    (x,) = promoted(input, to_float=True)
    if not x.dtype.is_complex:
        return tf.reduce_logsumexp(x, over, keepdim)
    largest = tf.reduce_max(tf.math.real(x), over, True)
    largest = tf.cast(tf.where(tf.math.is_inf(largest), tf.zeros_like(largest), largest), x.dtype)
    total = largest + tf.math.log(tf.reduce_sum(tf.exp(x - largest), over, True))
    return total if keepdim else tf.squeeze(total, over)


# -- moments ------------------------------------------------------------------------------------------


def _moment_sources(
    input: Value, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, **_: Any
) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


def _moment(operation: Named) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a moment, which takes either `unbiased`, maybe alone, or `correction`."""
    return expression(operation, strategy=keeping(_moment_sources))


def _real_part(x: tf.Tensor) -> tf.Tensor:
    return set_channel_order(tf.math.real(x), get_channel_order(x))


def _imaginary_part(x: tf.Tensor) -> tf.Tensor:
    return set_channel_order(tf.math.imag(x), get_channel_order(x))


@_moment(torch.var)
def var(
    input: tf.Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> tf.Tensor:
    """var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor"""
    over = axes(input, dim)
    if input.dtype.is_complex:  # the variances of both parts, added up
        real, imag = (
            var(part(input), dim, unbiased, keepdim, correction=correction) for part in (_real_part, _imaginary_part)
        )
        return real + imag
    correction = float(unbiased) if correction is None else correction
    if correction == 0:
        return tf.math.reduce_variance(input, over, keepdim)
    count = math.prod(sizes(input)[a] for a in over)
    deviation = tf.math.squared_difference(input, tf.reduce_mean(input, over, True))
    freedom = tf.maximum(tf.cast(count, input.dtype) - correction, 0)
    return tf.reduce_sum(deviation, over, keepdim) / freedom


@_moment(torch.std)
def std(
    input: tf.Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> tf.Tensor:
    """std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor"""
    return tf.sqrt(var(input, dim, unbiased, keepdim, correction=correction))


@_moment(torch.var_mean)
def var_mean(
    input: tf.Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False)"""
    average = _average(input, axes(input, dim), keepdim)
    return var(input, dim, unbiased, keepdim, correction=correction), average


@_moment(torch.std_mean)
def std_mean(
    input: tf.Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False)"""
    average = _average(input, axes(input, dim), keepdim)
    return std(input, dim, unbiased, keepdim, correction=correction), average
