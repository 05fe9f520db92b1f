"""A number added to a transposed convolution, as a vector.

TFLite's converter takes it for the bias, of one element: the kernel then reads beyond that, or refuses.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.half_precision import wide
from nobuco.export.lowering.operation import Rule, recreated

_SUMS = ("AddV2", "Sub", "BiasAdd")
# What the converter moves a sum across, or joins with it.
_BETWEEN = ("Reshape", "Transpose", "Squeeze", "ExpandDims", "Identity", "Mul", "RealDiv", *_SUMS)


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for the sum of a tensor and a number that is known."""
    if operation.type not in _SUMS or not operation.outputs[0].dtype.is_floating:
        return None
    known = [tf.get_static_value(tensor) for tensor in operation.inputs]
    is_number = any(value is not None and value.size == 1 for value in known)
    return _with_vector if is_number and any(map(_is_transposed, operation.inputs)) else None


def _with_vector(operation: tf.Operation, *inputs: Any) -> list[Any]:
    channels = operation.outputs[0].shape.as_list()[-1:] if operation.outputs[0].shape.rank else []
    if None in channels or not any(map(_is_transposed, inputs)):
        return recreated(operation, inputs, wide)
    ones = [x.shape.num_elements() == 1 for x in inputs]
    spread = [tf.fill(channels, tf.reshape(x, [])) if one else x for x, one in zip(inputs, ones)]
    return recreated(operation, spread, wide)


def _is_transposed(tensor: Any) -> bool:
    while tensor.op.type in _BETWEEN:
        tensor = tensor.op.inputs[0]
    return bool(tensor.op.type == "Conv2DBackpropInput")
