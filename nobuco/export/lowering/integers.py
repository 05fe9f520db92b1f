"""Arithmetic of integers of other sizes than 32 bits, which TFLite mostly lacks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule, computing, recreated

# Integers of few bits are computed in more and cast back, which wraps around as their own arithmetic does.
_WIDER = {tf.int8: tf.int32, tf.uint8: tf.int32, tf.int16: tf.int32, tf.uint16: tf.int32}
_ARITHMETIC = frozenset((
    "Abs", "Add", "AddN", "AddV2", "ArgMax", "ArgMin", "BatchMatMul", "BatchMatMulV2", "ClipByValue", "Cumsum",
    "Div", "Equal", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Less", "LessEqual", "MatMul", "Max",
    "Maximum", "Min", "Minimum", "MirrorPad", "Mul", "Neg", "NotEqual", "Pad", "PadV2", "Prod", "Relu",
    "ReverseV2", "Select", "SelectV2", "Sign", "Square", "SquaredDifference", "Sub", "Sum", "Tile", "TruncateDiv",
    "TruncateMod",
))  # fmt: skip


def floor_quotient(a: Any, b: Any) -> Any:
    """`a // b` of int64, rounded down.

    Each turn finds the quotient of what is left to within 3 parts in 2**24, so that the third is exact for all int64.
    """
    total, rest = _quotient(a, b)
    return total - tf.cast(_is_below(rest, b), tf.int64)


def truncated_quotient(a: Any, b: Any) -> Any:
    """The quotient of int64 rounded towards zero."""
    total, rest = _quotient(a, b)
    towards = tf.cast(_is_below(rest, b), tf.int64)
    return total - towards + tf.cast((a - (total - towards) * b != 0) & ((a < 0) != (b < 0)), tf.int64)


def _quotient(a: Any, b: Any) -> tuple[Any, Any]:
    """A quotient, and what is left."""
    total: Any = 0
    most = float(2**63 - 2**39)  # the largest float32 that is an int64
    for _ in range(3):
        quotient = tf.round(tf.clip_by_value(tf.cast(a, tf.float32) / tf.cast(b, tf.float32), -most, most))
        quotient = tf.cast(quotient, tf.int64)
        total, a = total + quotient, a - quotient * b
    return total, a


def _is_below(rest: Any, b: Any) -> Any:
    """Where a quotient is one too large."""
    return (rest != 0) & ((rest < 0) != (b < 0))


def _of_other_divisors(operation: tf.Operation, a: Any, b: Any) -> list[Any]:
    """A remainder by 1 in place of -1, by which the least integer divided would end the process."""
    return recreated(operation, (a, tf.where(b == -1, tf.ones_like(b), b)))


def _may_be_minus_one(b: Any) -> bool:
    known = tf.get_static_value(b)
    return known is None or bool((known == -1).any())


def _absolute(x: Any) -> Any:
    return tf.maximum(x, -x)


def _sign(x: Any) -> Any:
    return tf.clip_by_value(x, -1, 1)


def _unpacked(operation: tf.Operation, x: Any) -> list[Any]:
    """Slices, which TFLite makes of any integers."""
    lead = (slice(None),) * (operation.get_attr("axis") % len(x.shape))
    places = [(*lead, i) for i in range(operation.get_attr("num"))]
    return [x[place] for place in places]


def _split(operation: tf.Operation, axis: Any, x: Any) -> list[Any]:
    """Slices of equal sizes."""
    return _slices(x, axis, [t.shape for t in operation.outputs])


def _split_at(operation: tf.Operation, x: Any, sizes: Any, axis: Any) -> list[Any]:
    """Slices of these sizes."""
    return _slices(x, axis, [t.shape for t in operation.outputs])


def _slices(x: Any, axis: Any, shapes: Sequence[Any]) -> list[Any]:
    place = int(tf.get_static_value(axis)) % len(x.shape)
    ends = list(itertools.accumulate((shape[place] for shape in shapes), initial=0))
    lead = (slice(None),) * place
    places = [(*lead, slice(start, end)) for start, end in itertools.pairwise(ends)]
    return [x[place] for place in places]


def _power(a: Any, b: Any) -> Any:
    """A power of an exponent that is not negative, by squares, a bit of it in each turn; it wraps around."""
    known = tf.get_static_value(b)
    if known is not None and known.size == 1 and known.item() > 0:
        return _known_power(a, known.item()) * tf.ones_like(b)
    two = tf.constant(2, a.dtype)
    halved = (lambda x: floor_quotient(x, two)) if a.dtype == tf.int64 else (lambda x: x // two)

    def step(rest: Any, square: Any, total: Any) -> tuple[Any, Any, Any]:
        bit = rest % two
        return halved(rest - bit), square * square, tf.where(bit == 1, total * square, total)

    one = tf.ones_like(a + b)
    return tf.while_loop(lambda rest, *_: tf.reduce_any(rest > 0), step, (b * one, a * one, one))[2]


def _known_power(a: Any, exponent: int) -> Any:
    half = _known_power(a, exponent // 2) if exponent > 1 else None
    square = None if half is None else half * half
    return a if square is None else square * a if exponent % 2 else square


def _relu6(x: Any) -> Any:
    return tf.cast(tf.minimum(tf.maximum(tf.cast(x, _WIDER.get(x.dtype, x.dtype)), 0), 6), x.dtype)


_OF_64_BITS: Mapping[str, Rule] = {
    "FloorDiv": computing(floor_quotient),
    "TruncateDiv": computing(truncated_quotient),
    "Abs": computing(_absolute),
    "Sign": computing(_sign),
    "Unpack": _unpacked,
    "Split": _split,
    "SplitV": _split_at,
    "Pow": computing(_power),
}
_OF_16_BITS = frozenset(("ConcatV2", "GatherV2", "Reshape", "Slice", "StridedSlice", "Transpose", "ZerosLike"))
_OF_TRUTH: Mapping[str, Rule] = {
    "Split": _split,
    "SplitV": _split_at,
    "ZerosLike": computing(lambda x: x & ~x),
}


def _matrix_product(operation: tf.Operation, a: Any, b: Any) -> list[Any]:
    """Sums of products, which TFLite has for floats only."""
    names = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    a, b = (
        tf.linalg.matrix_transpose(x) if operation.get_attr(name) else x for x, name in zip((a, b), names, strict=True)
    )
    return [tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], -2)]


_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")


def _short_power(operation: tf.Operation, a: Any, b: Any) -> list[Any]:
    return [tf.cast(_power(*(tf.cast(x, _WIDER[x.dtype]) for x in (a, b))), operation.outputs[0].dtype)]


def _in_more_bits(operation: tf.Operation, *inputs: Any) -> list[Any]:
    wide = [tf.cast(x, _WIDER.get(x.dtype, x.dtype)) for x in inputs]
    build = _matrix_product if operation.type in _PRODUCTS else _recreated_wider
    results = build(operation, *wide)
    return [tf.cast(y, t.dtype) for y, t in zip(results, operation.outputs)]


def _recreated_wider(operation: tf.Operation, *inputs: Any) -> list[Any]:
    return recreated(operation, inputs, lambda dtype: _WIDER.get(dtype, dtype))


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation on integers or truth values, where TFLite has none."""
    kinds = {tensor.dtype for tensor in operation.inputs}
    if operation.type in ("Split", "SplitV"):
        kinds = {operation.outputs[0].dtype}
    if operation.type == "Relu6" and operation.outputs[0].dtype.is_integer:
        return computing(_relu6)
    if operation.type in _PRODUCTS and kinds <= {tf.int32, tf.int64}:
        return _matrix_product
    if operation.type == "Pow" and kinds <= {tf.int32, *_WIDER}:  # TFLite's own powers go through floats
        return _short_power if kinds <= _WIDER.keys() else computing(_power)
    if operation.type in ("FloorMod", "TruncateMod") and kinds <= {tf.int32, tf.int64}:
        return _of_other_divisors if _may_be_minus_one(operation.inputs[1]) else None
    if kinds == {tf.int64}:
        return _OF_64_BITS.get(operation.type)
    if kinds == {tf.bool}:
        return _OF_TRUTH.get(operation.type)
    is_short = not kinds.isdisjoint((tf.int16, tf.uint16)) and operation.type in _OF_16_BITS
    return _in_more_bits if is_short or (operation.type in _ARITHMETIC and not kinds.isdisjoint(_WIDER)) else None
