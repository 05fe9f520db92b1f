"""A constant minus, or divided by, a transposed tensor: TFLite's converter exchanges the two operands.

It moves a transposition behind the element by element operations that follow, and where the first operand of SUB or DIV
is a constant, of one element or of the whole shape, the constant becomes the second. What gives the elements another
shape may stand between, since it folds such operations away, or moves the transposition behind them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule

# What it moves a transposition behind, and what may become that.
_ELEMENTWISE = frozenset((
    "Abs", "Add", "AddV2", "BiasAdd", "Cast", "Ceil", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Identity",
    "LeakyRelu", "Log", "Log1p", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Relu",
    "Relu6", "Round", "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sin", "Softplus", "Sqrt", "Square",
    "SquaredDifference", "Sub", "Tanh",
))  # fmt: skip
_SHAPING = frozenset((
    "BroadcastTo", "ConcatV2", "EnsureShape", "ExpandDims", "Pack", "Pad", "PadV2", "Reshape", "Slice", "Split",
    "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Tile", "Unpack",
))  # fmt: skip
_PASSED = _ELEMENTWISE | _SHAPING
_TRANSPOSING = ("Transpose", "Einsum")


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation whose operands would change places."""
    if operation.type not in _RULES or operation.outputs[0].dtype not in _DTYPES:
        return None
    *constant, x = operation.inputs
    return _RULES[operation.type] if _is_transposed(x) and all(map(_is_constant, constant)) else None


def _difference(_: tf.Operation, a: Any, b: Any) -> list[Any]:
    return [_negative(b) + a]


def _negative(x: Any) -> Any:
    """By a product, since the converter makes a difference of a negative number that is added."""
    return x * tf.constant(-1, x.dtype)


def _quotient(_: tf.Operation, a: Any, b: Any) -> list[Any]:
    """In one dimension more, since a transposition stays in front of what makes that."""
    return [tf.squeeze(a / tf.expand_dims(b, 0), 0)]


_RULES: Mapping[str, Rule] = {
    "Div": _quotient,
    "RealDiv": _quotient,
    "Reciprocal": lambda operation, x: _quotient(operation, tf.constant(1, x.dtype), x),
    "Neg": lambda _, x: [_negative(x)],
    "Sub": _difference,
}
_DTYPES = (tf.float32, tf.int32, tf.int64)


def _is_transposed(tensor: Any) -> bool:
    """Whether a transposition stands somewhere above, with nothing between that it does not get behind."""
    above = _above(tensor, lambda operation: operation.type in _PASSED)
    return any(operation.type in _TRANSPOSING for operation in above)


def _is_constant(tensor: Any) -> bool:
    """Whether nothing that the model is given comes in here; weights are constants in a file."""
    above = _above(tensor, lambda operation: True)
    return all(operation.type != "Placeholder" or operation.outputs[0].dtype == tf.resource for operation in above)


def _above(tensor: Any, passes: Callable[[tf.Operation], bool]) -> Iterator[tf.Operation]:
    """The operations that a tensor is made by, up to those that `passes` says no to."""
    ahead, seen = [tensor.op], set()
    while ahead:
        operation = ahead.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            yield operation
            ahead += [source.op for source in operation.inputs] if passes(operation) else []
