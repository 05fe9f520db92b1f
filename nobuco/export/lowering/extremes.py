"""Kernels of TFLite's that are wrong for infinities, NaN and zero, with what sets that right.

What is added suits XNNPACK where it can, since an operation that XNNPACK lacks splits what it runs in one go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.export.lowering.operation import Rule, computing, recreated


def exp(x: Any) -> Any:
    """The exponential, which is above its argument; XNNPACK's of NaN is 0, and so is the lower of the two."""
    return tf.maximum(tf.exp(x), x)


def log(x: Any) -> Any:
    """The logarithm; XNNPACK's of infinity and of NaN are 88, and what is beyond the largest number is added.

    Of quarters, since the converter takes the larger one of `x` and the largest number for `x`.
    """
    largest = x.dtype.max / 4
    return tf.math.log(x) + (tf.maximum(x / 4, largest) - largest)


def quotient_by_root(a: Any, root: Any) -> Any:
    """`a / root`: the converter makes RSQRT of it, which gives NaN at zero, unless something stands between.

    That is a function of other numbers than roots are.
    """
    return a / tf.nn.leaky_relu(root)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), where no power overflows."""
    return tf.nn.relu(x) + tf.math.log(1 + tf.exp(-tf.abs(x)))


def _extreme(operation: tf.Operation, x: Any, axes: Any) -> list[Any]:
    """The largest or the least number, and NaN where there is one, which TFLite passes over."""
    keepdims = operation.get_attr("keep_dims")
    (extreme,) = recreated(operation, [x, axes])
    return [tf.where(tf.reduce_any(tf.math.is_nan(x), axes, keepdims), tf.constant(float("nan"), x.dtype), extreme)]


def _bounded(bound: int) -> Rule:
    """The infinity that one of two numbers is, but for NaN: the converter takes the other one for the result."""

    def chosen(operation: tf.Operation, *inputs: Any) -> list[Any]:
        x = inputs[1 - bound]
        return [tf.where(tf.math.is_nan(x), x, inputs[bound])]

    return chosen


_RULES: Mapping[str, Rule] = {
    "Exp": computing(exp),
    "Log": computing(log),
    "Log1p": computing(lambda x: log(1 + x)),
    "Max": _extreme,
    "Min": _extreme,
    "Rsqrt": computing(lambda x: quotient_by_root(1.0, tf.sqrt(x))),
    "Softplus": computing(softplus),
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation on floats whose kernel is wrong for some."""
    if operation.type == "LogicalNot" and _is_of_order(operation.inputs[0].op):
        return computing(lambda x: tf.equal(x, False))
    if not operation.inputs or not operation.inputs[0].dtype.is_floating or _is_stable(operation):
        return None
    if operation.type == "Sub" and operation.inputs[0] is operation.inputs[1]:
        return computing(lambda x, _: tf.abs(x * 0))  # of `x - x` the converter makes zero, whatever `x` is
    if operation.type == "Cast":
        return _to_short if operation.outputs[0].dtype in _SHORT else None
    if operation.type in ("Div", "RealDiv"):
        return computing(quotient_by_root) if _may_be_zero(operation.inputs[1].op) else None
    if operation.type == "Rsqrt" and _is_positive(operation.inputs[0].op):
        return None
    if operation.type in ("Max", "Min") and _has_no_nan(operation.inputs[0].op):
        return None
    if operation.type in ("Maximum", "Minimum"):
        bounds = [place for place, given in enumerate(operation.inputs) if _is_infinite(given, operation.type)]
        return _bounded(bounds[0]) if bounds else None
    return _RULES.get(operation.type)


def _is_of_order(operation: tf.Operation) -> bool:
    """Whether floats are compared; of its negation the converter makes the comparison that NaN does not pass either."""
    compares = operation.type in ("Less", "LessEqual", "Greater", "GreaterEqual")
    return compares and operation.inputs[0].dtype.is_floating


def _is_infinite(given: Any, kind: str) -> bool:
    """Whether a constant is the infinity that is beyond any number, upwards or downwards."""
    value = tf.get_static_value(given)
    return value is not None and bool(value.size and (value == (np.inf if kind == "Maximum" else -np.inf)).all())


_SHORT = (tf.int8, tf.uint8, tf.int16, tf.uint16)


def _to_short(operation: tf.Operation, x: Any) -> list[Any]:
    """By way of 32 bits, from which numbers wrap around, as they do in PyTorch."""
    return [tf.cast(tf.cast(x, tf.int32), operation.outputs[0].dtype)]


def _is_stable(operation: tf.Operation) -> bool:
    """Whether this is part of log1p(exp(-|x|)), which has no extremes; what it is added to brings a NaN along."""
    if operation.type == "Log1p":
        operation = operation.inputs[0].op
    if operation.type != "Exp" or operation.inputs[0].op.type != "Neg":
        return False
    return operation.inputs[0].op.inputs[0].op.type == "Abs"


def _may_be_zero(root: tf.Operation) -> bool:
    return root.type == "Sqrt" and not _is_positive(root.inputs[0].op)


def _is_positive(operation: tf.Operation) -> bool:
    """Whether a positive number is a bound, or is added to what is a variance or a mean of squares."""
    return operation.type in ("Add", "AddV2", "Maximum") and any(map(_is_positive_number, operation.inputs))


def _is_positive_number(tensor: Any) -> bool:
    value = tf.get_static_value(tensor)
    return value is not None and value.size == 1 and value.item() > 0


def _has_no_nan(operation: tf.Operation) -> bool:
    """Whether NaN has been replaced."""
    return operation.type in ("Select", "SelectV2") and operation.inputs[0].op.type == "IsNan"
