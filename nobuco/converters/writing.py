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


def written(x: tf.Tensor, places: Any, updates: tf.Tensor, distinct: bool = False) -> tf.Tensor:
    """`x` with the rows of `updates` at these places along the first axis.

    Places that are known before the model runs, or known to be `distinct`, cost no more than the writing itself.
    """
    known = tf.get_static_value(places) if tf.is_tensor(places) else places
    count = sizes(updates)[0]
    if known is not None:
        last = _last_of_each(known)
        if len(last) < len(known):
            known, updates = known[last], tf.gather(updates, last)
        places, distinct = known.astype(np.int32), True
    if distinct or (isinstance(count, int) and count == 1):
        return tf.tensor_scatter_nd_update(x, tf.reshape(places, [-1, 1]), updates)
    return _chosen(x, tf.cast(places, tf.int32), updates)


def counted(lies: Sequence[Any], view: Callable[[tf.Tensor], tf.Tensor], known: bool = True) -> Any:
    """Which elements a view takes of a tensor of these sizes, by number; an array where sizes and view are `known`."""
    if not all(isinstance(n, int) for n in lies):
        return view(tf.reshape(tf.range(functools.reduce(tf.multiply, lies)), lies))
    numbers = np.arange(math.prod(lies), dtype=np.int32).reshape(lies)
    if not known:
        return view(tf.constant(numbers))
    with tf.init_scope():  # now, rather than each time that the model runs
        return view(tf.constant(numbers)).numpy()


def _last_of_each(places: np.ndarray) -> np.ndarray:
    """The numbers of those places that do not come again, in order."""
    _, from_behind = np.unique(places[::-1], return_index=True)
    return np.sort(len(places) - 1 - from_behind).astype(np.int32)


def _chosen(x: tf.Tensor, places: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
    """For each row of `x` the last of the updates that come to it, or itself."""
    count, rows = sizes(updates)[0], sizes(x)[0]
    last = tf.math.unsorted_segment_max(tf.range(count), places, rows)  # nothing comes: the lowest number
    return tf.gather(tf.concat([updates, x], 0), tf.where(last >= 0, last, count + tf.range(rows)))
