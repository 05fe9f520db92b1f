"""Writing rows to places: of two that come to one place the last stays, as in PyTorch on a CPU.

TensorFlow leaves it open which one stays, and TFLite writes their sum.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import sizes

# Of up to so many rows a constant says for each where it comes from.
_LISTED = 2**16


def written(x: tf.Tensor, places: Any, updates: tf.Tensor) -> tf.Tensor:
    """`x` with the rows of `updates` at these places along the first axis."""
    known = tf.get_static_value(places) if tf.is_tensor(places) else places
    rows = sizes(x)[0]
    if known is None or not (isinstance(rows, int) and rows <= _LISTED):
        large = known is not None and updates.dtype in (tf.float32, tf.int32, tf.int64)
        return _spread(x, known, updates) if large else _chosen(x, tf.cast(places, tf.int32), updates)
    sources = np.arange(rows, dtype=np.int32)
    sources[known] = rows + np.arange(len(known))  # of several to one place the last
    return tf.gather(tf.concat([x, updates], 0), sources)


def _spread(x: tf.Tensor, places: np.ndarray, updates: tf.Tensor) -> tf.Tensor:
    """The same for places that are known, without a constant as large as `x` in the file."""
    from_behind = np.unique(places[::-1], return_index=True)[1]
    last = (len(places) - 1 - from_behind).astype(np.int32)
    column, shape = places[last].astype(np.int32)[:, np.newaxis], sizes(x)
    met = tf.scatter_nd(column, tf.ones([len(last)], tf.int32), shape[:1]) > 0
    spread = added_up(column, tf.gather(updates, last), shape)
    return tf.where(tf.reshape(met, [-1, *[1] * (len(shape) - 1)]), spread, x)


def added_up(places: tf.Tensor, rows: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """`tf.scatter_nd` of rows, which TensorFlow refuses where these have no elements: of no rows then."""
    if not all(isinstance(n, int) and n for n in shape[1:]):
        count = sizes(rows)[0] * tf.minimum(tf.reduce_prod(tf.stack(shape[1:])), 1)
        places, rows = tf.convert_to_tensor(places)[:count], rows[:count]
    return tf.scatter_nd(places, rows, shape)


def largest(updates: tf.Tensor, places: tf.Tensor, count: Any) -> tf.Tensor:
    """The largest update of each place; of floats -inf where none comes, for which TensorFlow has the lowest number."""
    return _extreme(tf.math.unsorted_segment_max, -math.inf, updates, places, count)


def smallest(updates: tf.Tensor, places: tf.Tensor, count: Any) -> tf.Tensor:
    """The smallest update of each place; of floats inf where none comes."""
    return _extreme(tf.math.unsorted_segment_min, math.inf, updates, places, count)


def _extreme(of_segments: Any, bound: float, updates: tf.Tensor, places: tf.Tensor, count: Any) -> tf.Tensor:
    found = of_segments(updates, places, count)
    if not updates.dtype.is_floating:
        return found
    # 0 for the bound itself, 1 for other numbers, 2 for NaN, which is stronger than any.
    kinds = tf.cast(updates != tf.constant(bound, updates.dtype), tf.int32) + tf.cast(tf.math.is_nan(updates), tf.int32)
    strongest = tf.math.unsorted_segment_max(kinds, places, count)
    found = tf.where(strongest > 0, found, tf.constant(bound, found.dtype))
    return tf.where(strongest == 2, tf.constant(math.nan, found.dtype), found)


def _chosen(x: tf.Tensor, places: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
    """For each row of `x` the last of the updates that come to it, or itself.

    By selection: what `tf.tensor_scatter_nd_update` is in TFLite multiplies by zero what it replaces, infinities too.
    """
    count, *width = sizes(updates)
    last = tf.math.unsorted_segment_max(tf.range(count), places, sizes(x)[0])  # where nothing comes, far below zero
    met = last >= 0
    with_spare = tf.concat([updates, tf.zeros([1, *width], updates.dtype)], 0)
    spread = tf.gather(with_spare, tf.where(met, last, count))
    return tf.where(tf.reshape(met, [-1, *[1] * len(width)]), spread, x)


def counted(lies: Sequence[Any], view: Callable[[tf.Tensor], tf.Tensor], known: bool = True) -> Any:
    """Which elements a view takes of a tensor of these sizes, by number; an array where sizes and view are `known`."""
    if not all(isinstance(n, int) for n in lies):
        return view(tf.reshape(tf.range(functools.reduce(tf.multiply, lies)), lies))
    numbers = np.arange(math.prod(lies), dtype=np.int32).reshape(lies)
    if not known:
        return view(tf.constant(numbers))
    with tf.init_scope():  # now, rather than each time that the model runs
        return view(tf.constant(numbers)).numpy()
