"""Floats of 16 and of 64 bits, in which TFLite stores numbers and computes nothing: they are computed in float32.

So a result of 16 bits is nearer to the real numbers' than PyTorch's, and what overflows there may not overflow here.
One of 64 bits has the digits of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import recreated

_OTHERS = (tf.float16, tf.bfloat16, tf.float64)
# What reads and writes 16 bits as they are.
_EXACT = ("AssignVariableOp", "Bitcast", "Const", "ReadVariableOp")


def is_other(operation: tf.Operation) -> bool:
    """Whether an operation gives floats that TFLite does not compute in."""
    return any(tensor.dtype in _OTHERS for tensor in operation.outputs)


def wide(dtype: tf.DType) -> tf.DType:
    """What a dtype is computed in."""
    return tf.float32 if dtype in _OTHERS else dtype


def widened(tensor: Any) -> Any:
    """A tensor in what it is computed in."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in _OTHERS else tensor


def narrowed(value: Any, dtype: tf.DType) -> Any:
    """The same with the bits that it has in the model."""
    return tf.cast(value, dtype) if dtype in _OTHERS else value


def again(operation: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of the same operation, computed in 32 bits."""
    if operation.type == "Cast":
        (x,), (result,) = inputs, operation.outputs
        return [widened(tf.cast(x, result.dtype))]
    if operation.type == "BroadcastTo" and is_other(operation):  # the converter would swap it with a cast behind it
        x, shape = inputs
        return [x * tf.ones(shape, x.dtype)]
    if operation.type not in _EXACT:
        return recreated(operation, inputs, wide)
    own = [narrowed(value, tensor.dtype) for value, tensor in zip(inputs, operation.inputs)]
    return [widened(tensor) for tensor in recreated(operation, own)]
