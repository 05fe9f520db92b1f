"""What TFLite's kernel ends the process at where a tensor has no elements: done by one that does not."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a reversal along an axis behind which another one may have nothing."""
    if operation.type != "ReverseV2":
        return None
    shape, axes = operation.inputs[0].shape, tf.get_static_value(operation.inputs[1])
    if shape.rank is None or axes is None or not len(axes):
        return None
    places = [int(axis) % shape.rank for axis in axes]
    if all(n for n in shape[max(places) + 1 :]):
        return None
    return lambda operation, x, _: [_reversed(x, places)]


def _reversed(x: Any, places: list[int]) -> Any:
    for place in places:
        length = tf.shape(x)[place] if x.shape[place] is None else x.shape[place]
        x = tf.gather(x, length - 1 - tf.range(length), axis=place)
    return x
