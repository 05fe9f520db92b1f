"""Where numbers fall among sorted ones, and how many fall where: searches and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import cast, promoted, rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def places_among(sequence: tf.Tensor, values: tf.Tensor, right: bool) -> tf.Tensor:
    """How many elements of a sorted last dimension come before each value; `right` counts equal ones, too.

    A vector serves all values; else the dimensions before the last answer to each other. Each round halves where the
    place can be: TensorFlow's own search is unknown to TFLite.
    """
    batch, count = rank(sequence) - 1, sizes(sequence)[-1]
    low = tf.zeros(sizes(values), tf.int32)
    high = low + count
    for _ in range(count.bit_length() if isinstance(count, int) else 31):
        middle = (low + high) // 2
        found = tf.gather(sequence, tf.minimum(middle, count - 1), axis=batch, batch_dims=batch)
        before = found <= values if right else found < values
        if values.dtype.is_floating:  # NaN comes behind all numbers
            before = before | tf.math.is_nan(values) | tf.math.is_nan(found)
        low, high = (
            tf.where(tf.logical_and(low < high, before), middle + 1, low),
            tf.where(before, high, middle),
        )
    return low


@expression(torch.searchsorted, strategy=FORCE_PYTORCH_ORDER)
def searchsorted(
    sorted_sequence: tf.Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: tf.Tensor | None = None,
) -> tf.Tensor:
    """searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False,
    str? side=None, Tensor? sorter=None) -> Tensor
    """
    sequence, values = promoted(sorted_sequence, input)
    if sorter is not None:
        batch = rank(sequence) - 1
        sequence = tf.gather(sequence, sorter, axis=batch, batch_dims=batch)
    found = places_among(sequence, values, right or side == "right")
    return found if out_int32 else cast(found, tf.int64)


@expression(torch.bucketize, strategy=FORCE_PYTORCH_ORDER)
def bucketize(input: Any, boundaries: tf.Tensor, *, out_int32: bool = False, right: bool = False) -> tf.Tensor:
    """bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor"""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


# -- counting -------------------------------------------------------------------------------------------------


def _counted(bins: tf.Tensor, inside: tf.Tensor, number: Any, weight: tf.Tensor) -> tf.Tensor:
    """The sum of the weights in each bin; what is not inside goes to one more, which is left out."""
    ids = tf.where(inside, tf.cast(bins, tf.int32), number)
    return tf.math.unsorted_segment_sum(weight, ids, number + 1)[:number]


@expression(torch.bincount, strategy=FORCE_PYTORCH_ORDER)
def bincount(input: tf.Tensor, weights: tf.Tensor | None = None, minlength: int = 0) -> tf.Tensor:
    """bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor"""
    x = cast(input, tf.int32)
    number = tf.maximum(tf.reduce_max(tf.concat([x, [-1]], 0)) + 1, minlength)
    if weights is None:
        weight = tf.ones_like(x, tf.int64)
    else:
        weight = weights if weights.dtype == tf.float32 else cast(weights, tf.float64)
    return tf.math.unsorted_segment_sum(weight, x, number)


def _range_of(x: tf.Tensor, given: Sequence[float] | None, apart: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The range of a histogram, of all numbers if none is given; ends that are equal are moved `apart`."""
    if given is None:
        given = (0, 1) if 0 in x.shape.as_list() else (tf.reduce_min(x), tf.reduce_max(x))
    low, high = (cast(end, x.dtype) for end in given)
    return tf.where(low == high, low - apart, low), tf.where(low == high, high + apart, high)


@expression(torch.histc, strategy=FORCE_PYTORCH_ORDER)
def histc(input: tf.Tensor, bins: int = 100, min: float = 0, max: float = 0) -> tf.Tensor:
    """histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor"""
    x = tf.reshape(input, [-1])
    low, high = _range_of(x, None if min == max else (min, max), 1.0)
    inside = tf.logical_and(x >= low, x <= high)
    place = tf.where(inside, (x - low) * cast(bins, x.dtype) / (high - low), tf.zeros([], x.dtype))
    return _counted(tf.minimum(tf.cast(place, tf.int32), bins - 1), inside, bins, tf.ones_like(x))


def _edges(low: tf.Tensor, high: tf.Tensor, bins: int) -> tf.Tensor:
    """The edges of bins of one width; counted from the nearer end, as PyTorch does."""
    step, number = (high - low) / cast(bins, low.dtype), np.arange(bins + 1)
    up, down = (tf.constant(n, low.dtype) for n in (number, bins - number))
    return tf.where(number < (bins + 1) / 2, low + step * up, high - step * down)


def _binned(x: tf.Tensor, edges: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The bin of each number (the last bin holds its upper edge), and whether it is in any."""
    place = tf.minimum(places_among(edges, x, right=True) - 1, sizes(edges)[0] - 2)
    return place, tf.logical_and(x >= edges[0], x <= edges[-1])


def _histogram(
    x: tf.Tensor, bins: Sequence[Any], range: Sequence[float] | None, weight: tf.Tensor | None, density: bool
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The histogram of points, one a row, and the edges along each dimension."""
    edges = []
    for i, n in enumerate(bins):
        ends = None if range is None else range[2 * i : 2 * i + 2]
        edges.append(_edges(*_range_of(x[:, i], ends, 0.5), n) if isinstance(n, int) else n)
    numbers = [sizes(e)[0] - 1 for e in edges]
    place, inside = tf.zeros(sizes(x)[:1], tf.int32), tf.ones(sizes(x)[:1], tf.bool)
    for i, e in enumerate(edges):
        own, within = _binned(x[:, i], e)
        place, inside = place * numbers[i] + own, tf.logical_and(inside, within)
    weight = tf.ones(sizes(x)[:1], x.dtype) if weight is None else tf.reshape(weight, [-1])
    found = tf.reshape(_counted(place, inside, math.prod(numbers), weight), numbers)
    if density:
        found = found / tf.reduce_sum(found)
        for i, e in enumerate(edges):
            found = found / tf.reshape(e[1:] - e[:-1], [-1 if j == i else 1 for j, _ in enumerate(edges)])
    return found, edges


@expression(torch.histogram, strategy=FORCE_PYTORCH_ORDER)
def histogram(
    input: tf.Tensor, bins: Any = 100, *, range: Any = None, weight: tf.Tensor | None = None, density: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """histogram.bin_ct(Tensor self, int bins=100, *, float[]? range=None, Tensor? weight=None, bool density=False)
    -> (Tensor hist, Tensor bin_edges)
    """
    found, (edges,) = _histogram(tf.reshape(input, [-1, 1]), [bins], range, weight, density)
    return found, edges


@expression(torch.histogramdd, strategy=FORCE_PYTORCH_ORDER)
def histogramdd(
    input: tf.Tensor, bins: Any, range: Any = None, weight: tf.Tensor | None = None, density: bool = False
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """histogramdd(Tensor self, int[] bins, float[]? range=None, Tensor? weight=None, bool density=False)
    -> (Tensor hist, Tensor[] bin_edges)
    """
    points = tf.reshape(input, [-1, sizes(input)[-1]])
    numbers = [bins] * points.shape[1] if isinstance(bins, int) else list(bins)
    return _histogram(points, numbers, range, weight, density)
