"""Arithmetic of activations of 16 bits that TFLite's quantiser or its kernels lack."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation in a file of the precision int16x8."""
    if not operation.outputs or not operation.outputs[0].dtype.is_floating:
        return None
    if operation.type in ("SquaredDifference", "Square"):
        return _product
    if operation.type == "Sub" and _is_fixed(operation.inputs[0]):
        return _negated
    if operation.type == "Tile" and _counts(operation) is not None:
        return _repeated
    return None


def _product(operation: tf.Operation, x: Any, *other: Any) -> list[Any]:
    difference = x - other[0] if other else x
    return [difference * difference]


def _negated(operation: tf.Operation, fixed: Any, x: Any) -> list[Any]:
    """A weight minus a tensor: where the weight is all zeros, the quantiser ends the process at the difference."""
    return [fixed + x * -1.0]


def _repeated(operation: tf.Operation, x: Any, counts: Any) -> list[Any]:
    """Copies one behind another: TILE has no 16 bits, and within a larger graph it ends the process."""
    for axis, count in enumerate(_counts(operation) or ()):
        x = tf.concat([x] * count, axis) if count > 1 else x
    return [x]


def _counts(operation: tf.Operation) -> list[int] | None:
    """How often a tensor is repeated along each axis; None where that is not known, or nothing is left of it."""
    counts = tf.get_static_value(operation.inputs[1])
    return None if counts is None or not counts.all() else counts.tolist()


def _is_fixed(tensor: Any) -> bool:
    """Whether a tensor depends on weights and constants alone."""
    seen, rest = set(), [tensor.op]
    while rest:
        operation = rest.pop()
        if operation.type == "Placeholder" and operation.outputs[0].dtype != tf.resource:
            return False
        if operation.name not in seen:
            seen.add(operation.name)
            rest += [source.op for source in operation.inputs]
    return True
