"""Sizes of tensors, as numbers where they are known, and parts along an axis."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def sizes(x: tf.Tensor) -> list[Any]:
    """The sizes of `x`, axis by axis as it lies: an int where static, a scalar int32 tensor where dynamic."""
    static = x.shape.as_list()
    if None not in static:
        return static
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(static)]


def part(x: tf.Tensor, axis: int, start: Any, stop: Any) -> tf.Tensor:
    """`x[start:stop]` along an axis."""
    return x[(slice(None),) * axis + (slice(start, stop),)]
