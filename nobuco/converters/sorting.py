"""Sorting and picking by rank. TensorFlow sorts along the last axis only, which the planner is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.rules import along_last, remaining
from nobuco.converters.support import axis, rank, scalar_as_vector, size, sizes
from nobuco.ir import Value
from nobuco.layout.strategy import keeping
from nobuco.ops.names import torch
from nobuco.registry import expression


def ranked(x: tf.Tensor, dim: int, k: Any, descending: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The first `k` elements along a dimension when sorted, and their indices; equals keep their order."""
    over, last = axis(x, dim), rank(x) - 1
    x = _swapped(x, over)
    keys = _keys(x)
    indices = tf.math.top_k(keys if descending else -1 - keys, k)[1]  # which turns the order of all integers
    values = tf.gather(x, indices, axis=last, batch_dims=last)
    return _swapped(values, over), _swapped(tf.cast(indices, tf.int64), over)


def _swapped(x: tf.Tensor, over: int) -> tf.Tensor:
    """`x` with an axis exchanged for the last."""
    last = rank(x) - 1
    perm = [last if a == over else over if a == last else a for a in range(rank(x))]
    return x if over == last else tf.transpose(x, perm)


def _keys(x: tf.Tensor) -> tf.Tensor:
    """Integers that lie in the order of the elements, NaN behind all: TensorFlow finds no place for it.

    The bits of a floating number, read as an integer, count up from zero on either side.
    """
    if not x.dtype.is_floating:
        return tf.cast(x, tf.int32) if x.dtype in (tf.bool, tf.uint8, tf.int8, tf.int16) else x
    x = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    whole = tf.int64 if x.dtype == tf.float64 else tf.int32
    bits = tf.bitcast(x, whole)
    keys = tf.where(bits < 0, tf.constant(whole.min, whole) - bits, bits)
    return tf.where(tf.math.is_nan(x), tf.constant(whole.max, whole), keys)


def nan_above(x: tf.Tensor) -> tf.Tensor:
    """NaN as infinity, and infinity as the largest number, so that it does not come before."""
    return tf.where(tf.math.is_nan(x), tf.constant(float("inf"), x.dtype), tf.minimum(x, x.dtype.max))


def _sort_dim(input: Value, dim: int = -1, *_: Any, **__: Any) -> int:
    return dim


@expression(torch.sort, strategy=along_last(_sort_dim))
@scalar_as_vector
def sort(
    input: tf.Tensor, dim: int = -1, descending: bool = False, *, stable: Any = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (values, indices)"""
    return ranked(input, dim, size(input, dim), descending)


@expression(torch.argsort, strategy=along_last(_sort_dim))
@scalar_as_vector
def argsort(input: tf.Tensor, dim: int = -1, descending: bool = False, *, stable: Any = None) -> tf.Tensor:
    """argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor"""
    return sort(input, dim, descending)[1]


@expression(torch.msort, strategy=along_last(lambda input: 0))
def msort(input: tf.Tensor) -> tf.Tensor:
    """msort(Tensor self) -> Tensor"""
    return ranked(input, 0, size(input, 0), descending=False)[0]


def _topk_dim(input: Value, k: Any, dim: int = -1, *_: Any, **__: Any) -> int:
    return dim


@expression(torch.topk, strategy=along_last(_topk_dim))
@scalar_as_vector
def topk(
    input: tf.Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[tf.Tensor, tf.Tensor]:
    """topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (values, indices)

    For the largest of floating numbers, numbers are the keys: TFLite finds those in fewer operations.
    """
    if not (largest and input.dtype.is_floating):
        return ranked(input, dim, k, descending=largest)
    over, last = axis(input, dim), rank(input) - 1
    x = _swapped(input, over)
    indices = tf.math.top_k(nan_above(x), k)[1]
    values = tf.gather(x, indices, axis=last, batch_dims=last)
    return _swapped(values, over), _swapped(tf.cast(indices, tf.int64), over)


def _picked(x: tf.Tensor, dim: int, place: Any, keepdim: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The element at a place of the ascending order, and its index."""
    over = axis(x, dim)

    def pick(ordered: tf.Tensor) -> tf.Tensor:
        chosen = tf.gather(ordered, place, axis=over)
        return tf.expand_dims(chosen, over) if keepdim else chosen

    values, indices = ranked(x, dim, place + 1, descending=False)
    return pick(values), pick(indices)


def _kth_sources(input: Value, k: Any, dim: int = -1, keepdim: bool = False) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


@expression(torch.kthvalue, strategy=keeping(_kth_sources))
@scalar_as_vector
def kthvalue(input: tf.Tensor, k: Any, dim: int = -1, keepdim: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """kthvalue(Tensor self, SymInt k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _picked(input, dim, k - 1, keepdim)


def _middle(x: tf.Tensor, dim: int, keepdim: bool, ignoring: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The lower median along a dimension, and its index; a NaN is the median unless ignored."""
    if not x.dtype.is_floating:
        return _picked(x, dim, (size(x, dim) - 1) // 2, keepdim)
    over = axis(x, dim)
    count = tf.reduce_sum(tf.cast(tf.logical_not(tf.math.is_nan(x)), tf.int32), over, keepdims=True)
    place = tf.maximum((count - 1) // 2, 0)
    place = place if ignoring else tf.where(count < size(x, dim), count, place)  # the first NaN
    there = tf.range(size(x, dim))
    there = tf.reshape(there, [-1 if a == over else 1 for a in range(rank(x))]) == place
    values, indices = ranked(x, dim, size(x, dim), descending=False)
    values = tf.reduce_sum(tf.where(there, values, tf.zeros([], x.dtype)), over, keepdim)
    return values, tf.reduce_sum(tf.where(there, indices, tf.zeros([], tf.int64)), over, keepdim)


def _median_sources(input: Value, dim: int | None = None, keepdim: bool = False) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


def _median(input: tf.Tensor, dim: int | None, keepdim: bool, ignoring: bool) -> Any:
    if dim is None:
        flat = tf.reshape(input, [-1])
        count, nothing = sizes(flat)[0], tf.constant(float("nan") if input.dtype.is_floating else 0, input.dtype)
        if isinstance(count, int):
            return _middle(flat, 0, False, ignoring)[0] if count else nothing
        return tf.where(count == 0, nothing, _middle(flat, 0, False, ignoring)[0])
    return scalar_as_vector(_middle)(input, dim, keepdim, ignoring)


@expression(torch.median, strategy=keeping(_median_sources))
def median(input: tf.Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _median(input, dim, keepdim, ignoring=False)


@expression(torch.nanmedian, strategy=keeping(_median_sources))
def nanmedian(input: tf.Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """nanmedian.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _median(input, dim, keepdim, ignoring=True)
