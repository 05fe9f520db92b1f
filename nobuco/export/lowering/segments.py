"""Reductions of integers by segments, for which TFLite wants a number of segments that it knows beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule

_REDUCTIONS: Mapping[str, tuple[Callable[..., Any], Callable[[tf.DType], Any]]] = {
    "UnsortedSegmentSum": (tf.reduce_sum, lambda dtype: 0),
    "UnsortedSegmentProd": (tf.reduce_prod, lambda dtype: 1),
    "UnsortedSegmentMax": (tf.reduce_max, lambda dtype: dtype.min),
    "UnsortedSegmentMin": (tf.reduce_min, lambda dtype: dtype.max),
}


def _by_segments(operation: tf.Operation, x: Any, segments: Any, count: Any) -> list[Any]:
    """Each segment's elements, and in place of others what makes no difference."""
    reduce, neutral = _REDUCTIONS[operation.type]
    dtype, kind = x.dtype, tf.int64 if x.dtype.size == 8 else tf.int32
    lead = len(segments.shape)
    rest = tf.shape(x)[lead:]
    rows = tf.reshape(tf.cast(x, kind), [1, tf.size(segments), -1])
    is_own = tf.reshape(segments, [1, -1]) == tf.cast(tf.range(tf.cast(count, tf.int32))[:, None], segments.dtype)
    reduced = reduce(tf.where(tf.expand_dims(is_own, -1), rows, tf.constant(neutral(dtype), kind)), 1)
    reduced = tf.reshape(tf.cast(reduced, dtype), tf.concat([[tf.shape(reduced)[0]], rest], 0))
    reduced.set_shape(operation.outputs[0].shape)
    return [reduced]


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a reduction of integers by segments."""
    is_one = operation.type in _REDUCTIONS and operation.inputs[0].dtype.is_integer
    return _by_segments if is_one else None
