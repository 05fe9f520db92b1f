"""Numbers that are finite, as those are that integers stand for: what asks for NaN is answered, and bounds beyond go.

An infinity, or the largest number, would else be part of a tensor's range, and nothing be left of all other numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.export.lowering.operation import Rule

_BEYOND = 1e30


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a question after NaN, for a choice by it, and for a bound that nothing reaches."""
    if _asks(operation):
        return lambda operation, *inputs: [tf.zeros_like(inputs[0], tf.bool)]
    if operation.type in ("Select", "SelectV2") and _asks(operation.inputs[0].op):
        return _only(2, operation)
    if operation.type in ("Minimum", "Maximum"):
        beyond = [_is_beyond(tensor, operation.type) for tensor in operation.inputs]
        return _only(beyond.index(False), operation) if sum(beyond) == 1 else None
    return None


def _asks(operation: tf.Operation) -> bool:
    if operation.type == "NotEqual":
        return operation.inputs[0] is operation.inputs[1] and operation.inputs[0].dtype.is_floating
    return operation.type == "IsNan"


def _is_beyond(bound: Any, kind: str) -> bool:
    value = tf.get_static_value(bound)
    if value is None or not bound.dtype.is_floating:
        return False
    return bool(np.all(value > _BEYOND if kind == "Minimum" else value < -_BEYOND))


def _only(place: int, operation: tf.Operation) -> Rule | None:
    """One input in place of the result; none where only the running file knows how it is broadcast."""
    own, shape = operation.inputs[place].shape, operation.outputs[0].shape
    if own.rank is not None and own.as_list() == shape.as_list():
        return lambda operation, *inputs: [inputs[place]]
    if shape.is_fully_defined():
        return lambda operation, *inputs: [tf.broadcast_to(inputs[place], shape)]
    return None
