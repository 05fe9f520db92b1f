"""Floats of 16 bits, in which TFLite stores weights and computes nothing: what they are computed in is float32.

So each result is nearer to the real numbers' than PyTorch's, and what overflows there may not overflow here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import recreated

_SHORT = (tf.float16, tf.bfloat16)
# What reads and writes 16 bits as they are.
_EXACT = ("AssignVariableOp", "Bitcast", "Const", "ReadVariableOp")


def is_short(operation: tf.Operation) -> bool:
    """Whether an operation gives floats of 16 bits."""
    return any(tensor.dtype in _SHORT for tensor in operation.outputs)


def wide(dtype: tf.DType) -> tf.DType:
    """What a dtype is computed in."""
    return tf.float32 if dtype in _SHORT else dtype


def widened(tensor: Any) -> Any:
    """A tensor in what it is computed in."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in _SHORT else tensor


def narrowed(value: Any, dtype: tf.DType) -> Any:
    """The same with the bits that it has in the model."""
    return tf.cast(value, dtype) if dtype in _SHORT else value


def again(operation: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of the same operation, computed in 32 bits."""
    if operation.type == "Cast":
        (x,), (result,) = inputs, operation.outputs
        return [widened(tf.cast(x, result.dtype))]
    if operation.type not in _EXACT:
        return recreated(operation, inputs, wide)
    own = [narrowed(value, tensor.dtype) for value, tensor in zip(inputs, operation.inputs)]
    return [widened(tensor) for tensor in recreated(operation, own)]
