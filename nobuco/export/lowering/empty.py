"""What TFLite's kernels end the process at where a tensor has no elements: done by others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a reversal, and for shares in logarithms, where an axis of dynamic size may have nothing."""
    if not operation.inputs or operation.inputs[0].shape.rank is None:
        return None
    shape = operation.inputs[0].shape.as_list()
    if operation.type == "LogSoftmax" and shape[-1] is None:
        return lambda operation, x: [_log_softmax(x)]
    return _rule_of_reversal(operation, shape) if operation.type == "ReverseV2" else None


def _log_softmax(x: Any) -> Any:
    """With one more element of which nothing comes."""
    none = tf.constant(float("-inf"), x.dtype)
    return tf.nn.log_softmax(tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, 1]], constant_values=none))[..., :-1]


def _rule_of_reversal(operation: tf.Operation, shape: list[int | None]) -> Rule | None:
    """None but for one along an axis behind which another one may have nothing."""
    axes = tf.get_static_value(operation.inputs[1])
    if axes is None or not len(axes):
        return None
    places = [int(axis) % len(shape) for axis in axes]
    return None if all(shape[max(places) + 1 :]) else lambda operation, x, _: [_reversed(x, places)]


def _reversed(x: Any, places: list[int]) -> Any:
    for place in places:
        length = tf.shape(x)[place] if x.shape[place] is None else x.shape[place]
        x = tf.gather(x, length - 1 - tf.range(length), axis=place)
    return x
