"""Operations on the bits of integers: TFLite has the exclusive or of 32 bits, and arithmetic of 64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.export.lowering.integers import floor_quotient
from nobuco.export.lowering.operation import Rule

_HALF = 1 << 16


def xor(a: Any, b: Any) -> Any:
    """The exclusive or."""
    return _in_32_bits(tf.bitwise.bitwise_xor, a, b)


def both(a: Any, b: Any) -> Any:
    """The bits that both have: half of what the sum has more than the exclusive or."""
    return _in_32_bits(_both, a, b)


def either(a: Any, b: Any) -> Any:
    """The bits that one or both have."""
    return _in_32_bits(lambda a, b: tf.bitwise.bitwise_xor(a, b) + _both(a, b), a, b)


def inverted(x: Any) -> Any:
    """All bits exchanged, by two's complement."""
    return tf.cast(-1 - tf.cast(x, _arithmetic(x.dtype)), x.dtype)


def _both(a: Any, b: Any) -> Any:
    """Of 32 bits in halves of 16, whose sum does not overflow."""
    (a_low, a_high), (b_low, b_high) = _halves(a), _halves(b)
    low, high = (
        (x + y - tf.bitwise.bitwise_xor(x, y)) // tf.constant(2, tf.int32)
        for x, y in ((a_low, b_low), (a_high, b_high))
    )
    return high * _HALF + low


def _halves(x: Any) -> tuple[Any, Any]:
    low = x % tf.constant(_HALF, tf.int32)
    return low, (x - low) // tf.constant(_HALF, tf.int32)


def _in_32_bits(compute: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    dtype = a.dtype
    if dtype.size == 8:
        return tf.bitcast(compute(tf.bitcast(a, tf.int32), tf.bitcast(b, tf.int32)), dtype)
    return tf.cast(compute(tf.cast(a, tf.int32), tf.cast(b, tf.int32)), dtype)


def left_shift(x: Any, by: Any) -> Any:
    """A product with a power of two; numbers wrap around."""
    kind, last = _arithmetic(x.dtype), x.dtype.size * 8 - 1
    powers = tf.constant((1 << np.arange(last + 1)).astype(kind.as_numpy_dtype))
    return tf.cast(tf.cast(x, kind) * tf.gather(powers, _place(by, last)), x.dtype)


def right_shift(x: Any, by: Any) -> Any:
    """Quotients, rounded down, by two powers of two, since the largest power is no number of its own dtype."""
    kind, last, dtype = _arithmetic(x.dtype), x.dtype.size * 8 - 1, x.dtype
    powers = tf.constant((1 << np.arange(last)).astype(kind.as_numpy_dtype))
    place = _place(by, last)
    half = place // 2
    for power in (half, place - half):
        x = _floor_quotient(tf.cast(x, kind), tf.gather(powers, power))
    return tf.cast(x, dtype)


def _floor_quotient(a: Any, b: Any) -> Any:
    return floor_quotient(a, b) if a.dtype == tf.int64 else a // b


def _arithmetic(dtype: tf.DType) -> tf.DType:
    return tf.int64 if dtype.size == 8 else tf.int32


def _place(by: Any, last: int) -> Any:
    return tf.clip_by_value(tf.cast(by, tf.int32), 0, last)


_RULES: Mapping[str, Callable[[Any, Any], Any]] = {
    "BitwiseAnd": both,
    "BitwiseOr": either,
    "BitwiseXor": xor,
    "LeftShift": left_shift,
    "RightShift": right_shift,
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation on bits; large unsigned numbers have no arithmetic in TFLite."""
    if operation.type == "Invert":
        return lambda operation, x: [inverted(x)]
    compute = _RULES.get(operation.type)
    if compute is None or operation.inputs[0].dtype not in (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8):
        return None
    return lambda operation, a, b: [compute(a, b)]
