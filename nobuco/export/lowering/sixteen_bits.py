"""Arithmetic of activations of 16 bits, of which TFLite's quantiser and its kernels lack some."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation in a file of the precision int16x8."""
    if operation.type not in ("SquaredDifference", "Square", "Sub") or not operation.outputs[0].dtype.is_floating:
        return None
    if operation.type == "Sub":
        return _negated if _is_zero(operation.inputs[0]) else None
    return _product


def _product(operation: tf.Operation, x: Any, *other: Any) -> list[Any]:
    difference = x - other[0] if other else x
    return [difference * difference]


def _negated(operation: tf.Operation, zero: Any, x: Any) -> list[Any]:
    """`0 - x`, whose constant has a range without a length: the quantiser ends the process."""
    return [tf.broadcast_to(-x, operation.outputs[0].shape) if zero.shape.rank else -x]


def _is_zero(tensor: Any) -> bool:
    value = tf.get_static_value(tensor)
    return value is not None and not value.any()
