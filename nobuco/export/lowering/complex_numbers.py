"""TensorFlow's operations on complex numbers, as operations on their two parts.

The formulas are those of the C99 standard's annex G where they do not overflow before the result does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.export.lowering.fourier import inverse_real_transform, inverse_transform, real_transform, transform
from nobuco.export.lowering.functions import cosh, sinh, tan
from nobuco.export.lowering.operation import Pair, Rule, joined, multiplied, recreated, split

_TINY = float(np.finfo(np.float32).tiny)


def _parts(x: Any) -> Pair:
    """A value as a pair; of real numbers the imaginary part is zero."""
    return x if isinstance(x, Pair) else Pair(x, tf.zeros_like(x))


def _of_parts(dtype: tf.DType) -> tf.DType:
    return dtype.real_dtype if dtype.is_complex else dtype


def _by_part(operation: tf.Operation, *inputs: Any) -> list[Any]:
    """What moves or adds up numbers does so with each part."""
    first, second = (
        recreated(operation, [value[i] if isinstance(value, Pair) else value for value in inputs], _of_parts)
        for i in range(2)
    )
    return [Pair(a, b) if t.dtype.is_complex else a for a, b, t in zip(first, second, operation.outputs)]


def _of_real_part(operation: tf.Operation, *inputs: Any) -> list[Any]:
    """What asks for a shape has it of either part."""
    return recreated(operation, [value.real if isinstance(value, Pair) else value for value in inputs], _of_parts)


def _constant(operation: tf.Operation) -> list[Any]:
    value = tf.make_ndarray(operation.get_attr("value"))
    return [Pair(tf.constant(value.real.copy()), tf.constant(value.imag.copy()))]


def _cast(operation: tf.Operation, x: Any) -> list[Any]:
    dtype = operation.outputs[0].dtype
    if not dtype.is_complex:
        return [tf.cast(_parts(x).real, dtype)]
    return [Pair(*(tf.cast(part, dtype.real_dtype) for part in _parts(x)))]


def _complex(operation: tf.Operation, real: Any, imag: Any) -> list[Any]:
    shape = tf.broadcast_dynamic_shape(tf.shape(real), tf.shape(imag))
    if real.shape == imag.shape:
        return [Pair(real, imag)]
    return [Pair(tf.broadcast_to(real, shape), tf.broadcast_to(imag, shape))]


def _function(compute: Callable[..., Any]) -> Rule:
    """A rule of a function of pairs alone."""
    return lambda operation, *inputs: [compute(*map(_parts, inputs))]


def _scaled(x: Pair, factor: Any) -> Pair:
    return Pair(x.real * factor, x.imag * factor)


def _conjugate(x: Pair) -> Pair:
    return Pair(x.real, -x.imag)


def _absolute(x: Pair) -> Any:
    """The root of the sum of squares, of parts divided by the larger one, whose square may be no float.

    NaN beside infinity gives NaN, which C and PyTorch take for infinity.
    """
    a, b = tf.abs(x.real), tf.abs(x.imag)
    large = tf.clip_by_value(tf.maximum(a, b), _TINY, a.dtype.max)
    return large * tf.sqrt(tf.square(a / large) + tf.square(b / large))


def _angle(x: Pair) -> Any:
    return tf.atan2(x.imag, x.real)


def _reciprocal(x: Pair) -> Pair:
    """The conjugate over the square, of parts divided by the larger one (R. L. Smith, 1962)."""
    large = tf.maximum(tf.abs(x.real), tf.abs(x.imag))
    a, b = x.real / large, x.imag / large
    square = (a * a + b * b) * large
    return Pair(a / square, -b / square)


def _divided(x: Pair, y: Pair) -> Pair:
    large = tf.maximum(tf.abs(y.real), tf.abs(y.imag))
    a, b = y.real / large, y.imag / large
    square = (a * a + b * b) * large
    real, imag = multiplied(x, Pair(a, -b))
    return Pair(real / square, imag / square)


def _exp(x: Pair) -> Pair:
    size = tf.exp(x.real)
    return Pair(size * tf.cos(x.imag), size * tf.sin(x.imag))


def _log(x: Pair) -> Pair:
    return Pair(tf.math.log(_absolute(x)), _angle(x))


def _sqrt(x: Pair) -> Pair:
    """The root whose real part is not negative, from the part that does not cancel."""
    size = _absolute(x)
    half = tf.sqrt((size + tf.abs(x.real)) / 2)
    other = tf.abs(x.imag) / tf.where(half > 0, 2 * half, tf.ones_like(half))
    is_right = x.real >= 0
    imag = tf.where(is_right, other, half)
    return Pair(tf.where(is_right, half, other), tf.where(x.imag < 0, -imag, imag))


def _pow(x: Pair, y: Pair) -> Pair:
    is_zero = tf.logical_and(tf.equal(x.real, 0), tf.equal(x.imag, 0))
    safe = Pair(tf.where(is_zero, tf.ones_like(x.real), x.real), x.imag)
    real, imag = _exp(multiplied(_log(safe), y))
    to_nothing = tf.logical_and(tf.equal(y.real, 0), tf.equal(y.imag, 0))
    at_zero = tf.where(to_nothing, tf.ones_like(real), tf.zeros_like(real))
    return Pair(tf.where(is_zero, at_zero, real), tf.where(is_zero, tf.zeros_like(imag), imag))


def _sinh(x: Pair) -> Pair:
    return Pair(sinh(x.real) * tf.cos(x.imag), cosh(x.real) * tf.sin(x.imag))


def _cosh(x: Pair) -> Pair:
    return Pair(cosh(x.real) * tf.cos(x.imag), sinh(x.real) * tf.sin(x.imag))


def _tanh(x: Pair) -> Pair:
    """W. Kahan's formula (1987), which does not overflow."""
    t, s = tan(x.imag), sinh(x.real)
    beta = 1 + t * t
    rho = tf.sqrt(1 + s * s)
    below = 1 + beta * s * s
    is_large = tf.abs(x.real) > 20.0
    real = tf.where(is_large, tf.sign(x.real), beta * rho * s / below)
    return Pair(real, tf.where(is_large, 4 * t / beta * tf.exp(-2 * tf.abs(x.real)), t / below))


def _turned(x: Pair) -> Pair:
    return Pair(-x.imag, x.real)


def _turned_back(x: Pair) -> Pair:
    return Pair(x.imag, -x.real)


def _divided_or_zero(x: Pair, y: Pair) -> Pair:
    is_zero = tf.logical_and(tf.equal(y.real, 0), tf.equal(y.imag, 0))
    real, imag = _divided(x, Pair(tf.where(is_zero, tf.ones_like(y.real), y.real), y.imag))
    return Pair(tf.where(is_zero, tf.zeros_like(real), real), tf.where(is_zero, tf.zeros_like(imag), imag))


def _sign(x: Pair) -> Pair:
    size = _absolute(x)
    return _scaled(x, 1 / tf.where(size > 0, size, tf.ones_like(size)))


def _sigmoid(x: Pair) -> Pair:
    real, imag = _exp(Pair(-x.real, -x.imag))
    return _reciprocal(Pair(1 + real, imag))


def _compared(operation: tf.Operation, x: Pair, y: Pair) -> list[Any]:
    is_same = tf.logical_and(tf.equal(x.real, y.real), tf.equal(x.imag, y.imag))
    return [is_same if operation.type == "Equal" else tf.logical_not(is_same)]


def _matrix_product(operation: tf.Operation, x: Any, y: Any) -> list[Any]:
    """Four products of real matrices; an adjoint one is conjugated, too."""
    x, y = _parts(x), _parts(y)
    names = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    left, right = (bool(operation.get_attr(name)) for name in names)
    if operation.type != "MatMul":
        x, y = (_conjugate(value) if flag else value for value, flag in ((x, left), (y, right)))

    def product(a: Any, b: Any) -> Any:
        return tf.matmul(a, b, transpose_a=left, transpose_b=right)

    real = product(x.real, y.real) - product(x.imag, y.imag)
    return [Pair(real, product(x.real, y.imag) + product(x.imag, y.real))]


def _einsum(operation: tf.Operation, *inputs: Any) -> list[Any]:
    equation = operation.get_attr("equation").decode()
    if len(inputs) == 1:
        return [Pair(*(tf.einsum(equation, part) for part in _parts(inputs[0])))]
    x, y = map(_parts, inputs)
    real = tf.einsum(equation, x.real, y.real) - tf.einsum(equation, x.imag, y.imag)
    return [Pair(real, tf.einsum(equation, x.real, y.imag) + tf.einsum(equation, x.imag, y.real))]


def _conjugate_transpose(operation: tf.Operation, x: Pair, perm: Any) -> list[Any]:
    return [Pair(tf.transpose(x.real, perm), -tf.transpose(x.imag, perm))]


def _product_along(operation: tf.Operation, x: Pair, axis: Any) -> list[Any]:
    """The product of elements along axes: one after the other, of a static number of them."""
    axes, keep = tf.get_static_value(axis), bool(operation.get_attr("keep_dims"))
    if axes is None or any(x.real.shape[int(a)] is None for a in axes.ravel()):
        return _as_it_is(operation, x, axis)
    for a in sorted({int(a) % len(x.real.shape) for a in axes.ravel()}, reverse=True):
        count = x.real.shape[a]
        rows = [Pair(*(tf.gather(part, [i], axis=a) for part in x)) for i in range(count)]
        one = tf.ones_like(tf.reduce_sum(x.real, a, keepdims=True))
        x = rows[0] if rows else Pair(one, tf.zeros_like(one))
        for row in rows[1:]:
            x = multiplied(x, row)
        x = x if keep else Pair(*(tf.squeeze(part, [a]) for part in x))
    return [x]


def _fourier(operation: tf.Operation, x: Any, *lengths: Any) -> list[Any]:
    """Transforms along the last axis; a given length cuts or pads with zeros."""
    if operation.type in ("FFT", "IFFT"):
        compute = transform if operation.type == "FFT" else inverse_transform
        return [compute(_parts(x), x.real.shape[-1])]
    length = tf.get_static_value(lengths[0])
    if operation.type == "IRFFT":
        if length is None:
            return _as_it_is(operation, x, *lengths)
        return [inverse_real_transform(_parts(x), int(length[0]))]
    if length is not None and x.shape[-1] == int(length[0]):
        return [real_transform(x, int(length[0]))]
    wanted = lengths[0][0]
    padded = tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, tf.maximum(wanted - tf.shape(x)[-1], 0)]])
    cut = padded[..., :wanted]
    if length is not None:
        return [real_transform(tf.ensure_shape(cut, [*x.shape[:-1], int(length[0])]), int(length[0]))]
    half = real_transform(cut, None)
    return [Pair(*(part[..., : wanted // 2 + 1] for part in half))]


_MOVEMENT = (
    "AddN", "AddV2", "Add", "BroadcastTo", "ConcatV2", "Concat", "Cumsum", "EnsureShape", "ExpandDims", "Fill",
    "GatherNd", "GatherV2", "Gather", "Identity", "IdentityN", "MatrixBandPart", "MatrixDiag", "MatrixDiagPart",
    "MatrixDiagPartV2", "MatrixDiagPartV3", "MatrixDiagV2", "MatrixDiagV3", "MatrixSetDiag", "MatrixSetDiagV2",
    "MatrixSetDiagV3", "Mean", "MirrorPad", "Neg", "Pack", "Pad", "PadV2", "ReverseV2", "Roll", "ScatterNd", "Select",
    "SelectV2", "Slice", "Split", "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Sub", "Sum",
    "TensorScatterAdd", "TensorScatterUpdate", "TensorStridedSliceUpdate", "Tile", "Transpose", "Unpack", "Reshape",
    "UnsortedSegmentSum", "ZerosLike",
)  # fmt: skip

_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_MOVEMENT, _by_part),
    **dict.fromkeys(("Rank", "Shape", "ShapeN", "Size"), _of_real_part),
    "Const": _constant,
    "Cast": _cast,
    "Complex": _complex,
    "Real": _function(lambda x: x.real),
    "Imag": _function(lambda x: x.imag),
    "Conj": _function(_conjugate),
    "ConjugateTranspose": _conjugate_transpose,
    "ComplexAbs": _function(_absolute),
    "Abs": _function(_absolute),
    "Angle": _function(_angle),
    "OnesLike": _function(lambda x: Pair(tf.ones_like(x.real), tf.zeros_like(x.imag))),
    "Mul": _function(multiplied),
    "Square": _function(lambda x: multiplied(x, x)),
    "Inv": _function(_reciprocal),
    "Reciprocal": _function(_reciprocal),
    "Div": _function(_divided),
    "RealDiv": _function(_divided),
    "DivNoNan": _function(_divided_or_zero),
    "Exp": _function(_exp),
    "Expm1": _function(lambda x: Pair(_exp(x).real - 1, _exp(x).imag)),
    "Log": _function(_log),
    "Log1p": _function(lambda x: _log(Pair(1 + x.real, x.imag))),
    "Sqrt": _function(_sqrt),
    "Rsqrt": _function(lambda x: _reciprocal(_sqrt(x))),
    "Pow": _function(_pow),
    "Sinh": _function(_sinh),
    "Cosh": _function(_cosh),
    "Tanh": _function(_tanh),
    "Sin": _function(lambda x: _turned_back(_sinh(_turned(x)))),
    "Cos": _function(lambda x: _cosh(_turned(x))),
    "Tan": _function(lambda x: _turned_back(_tanh(_turned(x)))),
    "Sigmoid": _function(_sigmoid),
    "Sign": _function(_sign),
    "Equal": lambda operation, x, y: _compared(operation, _parts(x), _parts(y)),
    "NotEqual": lambda operation, x, y: _compared(operation, _parts(x), _parts(y)),
    "MatMul": _matrix_product,
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "BatchMatMulV3": _matrix_product,
    "Einsum": _einsum,
    "Prod": _product_along,
    "FFT": _fourier,
    "IFFT": _fourier,
    "RFFT": _fourier,
    "IRFFT": _fourier,
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation that takes or gives complex numbers."""
    is_complex = any(tensor.dtype.is_complex for tensor in (*operation.inputs, *operation.outputs))
    return _RULES.get(operation.type, _as_it_is) if is_complex else None


def _as_it_is(operation: tf.Operation, *inputs: Any) -> list[Any]:
    """What has no formula here: TFLite refuses it by its name."""
    return [split(result) for result in recreated(operation, [joined(value) for value in inputs])]
