"""Mathematical functions of one tensor.

Where TFLite lacks an operation that a short formula gives as exactly, the formula is used.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from nobuco.converters import bessel
from nobuco.converters.arithmetic import bounded, negative, truncated
from nobuco.converters.support import elementwise, promoted, squared, wide
from nobuco.ops.names import aten, special, torch


@elementwise(torch.neg, torch.negative, aten._neg_view.default)
def neg(input: tf.Tensor) -> tf.Tensor:
    """neg(Tensor self) -> Tensor"""
    return tf.zeros([], input.dtype) - input if input.dtype.is_unsigned else -input


@elementwise(torch.abs, torch.absolute)
def abs(input: tf.Tensor) -> tf.Tensor:
    """abs(Tensor self) -> Tensor"""
    if input.dtype.is_unsigned:
        return input
    return tf.abs(input)


@elementwise(torch.sign, torch.sgn)
def sign(input: tf.Tensor) -> tf.Tensor:
    """sign(Tensor self) -> Tensor"""
    if input.dtype == tf.bool:
        return input
    if input.dtype.is_unsigned:
        return tf.cast(input > 0, input.dtype)
    signs = tf.sign(input)
    return tf.where(tf.math.is_nan(input), tf.zeros([], input.dtype), signs) if input.dtype.is_floating else signs


@elementwise(torch.signbit)
def signbit(input: tf.Tensor) -> tf.Tensor:
    """signbit(Tensor self) -> Tensor"""
    return tf.zeros_like(input) if input.dtype == tf.bool else negative(input)


@elementwise(torch.exp, to_float=True)
def exp(input: tf.Tensor) -> tf.Tensor:
    """exp(Tensor self) -> Tensor"""
    return tf.exp(input)


@elementwise(torch.exp2, special.exp2, to_float=True)
def exp2(input: tf.Tensor) -> tf.Tensor:
    """exp2(Tensor self) -> Tensor"""
    return tf.pow(tf.constant(2, input.dtype), input)


@elementwise(torch.expm1, special.expm1, to_float=True)
def expm1(input: tf.Tensor) -> tf.Tensor:
    """expm1(Tensor self) -> Tensor"""
    return tf.math.expm1(input)


@elementwise(torch.log, to_float=True)
def log(input: tf.Tensor) -> tf.Tensor:
    """log(Tensor self) -> Tensor"""
    return tf.math.log(input)


@elementwise(torch.log2, to_float=True)
def log2(input: tf.Tensor) -> tf.Tensor:
    """log2(Tensor self) -> Tensor"""
    return tf.math.log(input) / math.log(2)


@elementwise(torch.log10, to_float=True)
def log10(input: tf.Tensor) -> tf.Tensor:
    """log10(Tensor self) -> Tensor"""
    return tf.math.log(input) / math.log(10)


@elementwise(torch.log1p, special.log1p, to_float=True)
def log1p(input: tf.Tensor) -> tf.Tensor:
    """log1p(Tensor self) -> Tensor"""
    return tf.math.log1p(input)


@elementwise(torch.logit, special.logit, to_float=True)
def logit(input: tf.Tensor, eps: float | None = None) -> tf.Tensor:
    """logit(Tensor self, float? eps=None) -> Tensor"""
    p = input if eps is None else bounded(input, eps, 1 - eps)
    return tf.math.log(p / (1 - p))


@elementwise(special.entr, to_float=True)
def entr(input: tf.Tensor) -> tf.Tensor:
    """special_entr(Tensor self) -> Tensor"""
    entropy = -input * tf.math.log(input)
    # The logarithm of zero, since TFLite's converter makes the lowest finite number of an infinite constant.
    limit = tf.where(input == 0, tf.zeros([], input.dtype), tf.math.log(tf.nn.relu(input)))
    return tf.where(input > 0, entropy, tf.where(tf.math.is_nan(input), input, limit))


@elementwise(torch.sqrt, to_float=True)
def sqrt(input: tf.Tensor) -> tf.Tensor:
    """sqrt(Tensor self) -> Tensor"""
    return tf.sqrt(input)


@elementwise(torch.rsqrt, to_float=True)
def rsqrt(input: tf.Tensor) -> tf.Tensor:
    """rsqrt(Tensor self) -> Tensor"""
    return tf.math.rsqrt(input)


@elementwise(torch.square)
def square(input: tf.Tensor) -> tf.Tensor:
    """square(Tensor self) -> Tensor"""
    (x,) = promoted(input, 2)[:1]  # a truth value becomes a number
    return squared(x)


@elementwise(torch.reciprocal, to_float=True)
def reciprocal(input: tf.Tensor) -> tf.Tensor:
    """reciprocal(Tensor self) -> Tensor"""
    return tf.math.reciprocal(input)


@elementwise(torch.sin, to_float=True)
def sin(input: tf.Tensor) -> tf.Tensor:
    """sin(Tensor self) -> Tensor"""
    return tf.sin(input)


@elementwise(torch.cos, to_float=True)
def cos(input: tf.Tensor) -> tf.Tensor:
    """cos(Tensor self) -> Tensor"""
    return tf.cos(input)


@elementwise(torch.tan, to_float=True)
def tan(input: tf.Tensor) -> tf.Tensor:
    """tan(Tensor self) -> Tensor"""
    return tf.sin(input) / tf.cos(input)


@elementwise(torch.sinc, special.sinc, to_float=True)
def sinc(input: tf.Tensor) -> tf.Tensor:
    """sinc(Tensor self) -> Tensor"""
    angle = tf.where(input == 0, tf.ones([], input.dtype), input * math.pi)
    return tf.where(input == 0, tf.ones([], input.dtype), tf.sin(angle) / angle)


@elementwise(torch.asin, torch.arcsin, to_float=True)
def asin(input: tf.Tensor) -> tf.Tensor:
    """asin(Tensor self) -> Tensor"""
    if input.dtype.is_complex:
        return -1j * tf.math.log(1j * input + tf.sqrt(1 - input) * tf.sqrt(1 + input))
    return tf.atan2(input, tf.sqrt((1 - input) * (1 + input)))


@elementwise(torch.acos, torch.arccos, to_float=True)
def acos(input: tf.Tensor) -> tf.Tensor:
    """acos(Tensor self) -> Tensor"""
    if input.dtype.is_complex:
        return math.pi / 2 - asin(input)
    return tf.atan2(tf.sqrt((1 - input) * (1 + input)), input)


@elementwise(torch.atan, torch.arctan, to_float=True)
def atan(input: tf.Tensor) -> tf.Tensor:
    """atan(Tensor self) -> Tensor"""
    if input.dtype.is_complex:
        return 0.5j * (tf.math.log(1 - 1j * input) - tf.math.log(1 + 1j * input))
    return tf.atan2(input, tf.ones_like(input))


@elementwise(torch.sinh, to_float=True)
def sinh(input: tf.Tensor) -> tf.Tensor:
    """sinh(Tensor self) -> Tensor"""
    return (tf.math.expm1(input) - tf.math.expm1(-input)) / 2


@elementwise(torch.cosh, to_float=True)
def cosh(input: tf.Tensor) -> tf.Tensor:
    """cosh(Tensor self) -> Tensor"""
    return (tf.exp(input) + tf.exp(-input)) / 2


@elementwise(torch.asinh, torch.arcsinh, to_float=True)
def asinh(input: tf.Tensor) -> tf.Tensor:
    """asinh(Tensor self) -> Tensor"""
    if input.dtype.is_complex:
        return -1j * asin(1j * input)
    x, more = _scaled(tf.abs(input))
    return tf.sign(input) * (tf.math.log1p(x + x * x / (1 + tf.sqrt(x * x + 1))) + more)


def _scaled(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`x` where its square is finite, and what the logarithm of a larger one is more."""
    most = tf.constant(1e2 if x.dtype == tf.float16 else 1e10, x.dtype)
    return tf.where(x > most, most, x), tf.math.log(tf.where(x > most, x / most, tf.ones([], x.dtype)))


@elementwise(torch.acosh, torch.arccosh, to_float=True)
def acosh(input: tf.Tensor) -> tf.Tensor:
    """acosh(Tensor self) -> Tensor"""
    if input.dtype.is_complex:
        return tf.math.log(input + tf.sqrt(input - 1) * tf.sqrt(input + 1))
    x, more = _scaled(input)
    return tf.math.log(x + tf.sqrt(x - 1) * tf.sqrt(x + 1)) + more


@elementwise(torch.atanh, torch.arctanh, to_float=True)
def atanh(input: tf.Tensor) -> tf.Tensor:
    """atanh(Tensor self) -> Tensor"""
    return (tf.math.log1p(input) - tf.math.log1p(-input)) / 2


@elementwise(torch.deg2rad, to_float=True)
def deg2rad(input: tf.Tensor) -> tf.Tensor:
    """deg2rad(Tensor self) -> Tensor"""
    return input * (math.pi / 180)


@elementwise(torch.rad2deg, to_float=True)
def rad2deg(input: tf.Tensor) -> tf.Tensor:
    """rad2deg(Tensor self) -> Tensor"""
    return input * (180 / math.pi)


@elementwise(torch.erf, special.erf, to_float=True)
def erf(input: tf.Tensor) -> tf.Tensor:
    """erf(Tensor self) -> Tensor"""
    # TFLite has no ERF, but its converter finds GELU in 0.5 * x * (1 + erf(x / sqrt(2))).
    return tf.math.erf(input)


@elementwise(torch.erfc, special.erfc, to_float=True)
def erfc(input: tf.Tensor) -> tf.Tensor:
    """erfc(Tensor self) -> Tensor"""
    return tf.math.erfc(input)


# Below, the next term of the series of `erfinv` is less than float32 resolves.
_LINEAR = 2e-2


@elementwise(torch.erfinv, special.erfinv, to_float=True)
def erfinv(input: tf.Tensor) -> tf.Tensor:
    """erfinv(Tensor self) -> Tensor"""
    # TensorFlow's goes by the quantile of a probability about one half, which holds few digits of a small number.
    series = input * (math.sqrt(math.pi) / 2) * (1 + math.pi / 12 * tf.square(input))
    return tf.where(tf.abs(input) < _LINEAR, series, wide(tf.math.erfinv)(input))


@elementwise(special.ndtr, to_float=True)
def ndtr(input: tf.Tensor) -> tf.Tensor:
    """special_ndtr(Tensor self) -> Tensor"""
    return 0.5 * tf.math.erfc(-input / math.sqrt(2))


@elementwise(torch.lgamma, special.gammaln, to_float=True)
def lgamma(input: tf.Tensor) -> tf.Tensor:
    """lgamma(Tensor self) -> Tensor"""
    # Of a dynamic size, TFLite's converter would write TensorFlow's with constants of no elements.
    static = input.shape.is_fully_defined() or input.dtype == tf.float64
    return wide(tf.math.lgamma if static else _log_gamma)(input)


# Of Lanczos' approximation with g = 7 and nine terms, as computed by P. Godfrey.
_LANCZOS = (
    676.520368121885098567, -1259.13921672240287047, 771.323428777653078849, -176.615029162140599066,
    12.5073432786869048145, -0.138571095265720116896, 9.98436957801957085956e-6, 1.50563273514931155834e-7,
)  # fmt: skip


def _log_gamma(x: tf.Tensor) -> tf.Tensor:
    """The logarithm of the gamma function's size, by Lanczos; below a half by reflection."""
    is_below = x < 0.5
    z = tf.where(is_below, -x, x - 1)
    series = 0.99999999999980993227 + tf.add_n([c / (z + i) for i, c in enumerate(_LANCZOS, 1)])
    above = (z + 0.5) * tf.math.log(z + 7.5) - (z + 7.5) + tf.math.log(math.sqrt(2 * math.pi) * series)
    past = tf.abs(x) - tf.floor(tf.abs(x))
    sine = tf.sin(math.pi * tf.minimum(past, 1 - past))  # zero at the poles
    found = tf.where(is_below, math.log(math.pi) - tf.math.log(sine) - above, above)
    return tf.where(tf.math.is_inf(x), tf.abs(x), found)


@elementwise(torch.digamma, special.digamma, special.psi, to_float=True)
def digamma(input: tf.Tensor) -> tf.Tensor:
    """digamma(Tensor self) -> Tensor"""
    # At zero, where TensorFlow has no number, PyTorch has the limit from the side of its sign.
    return tf.where(input == 0, -1 / input, wide(tf.math.digamma)(input))


@elementwise(torch.i0, special.i0, to_float=True)
def i0(input: tf.Tensor) -> tf.Tensor:
    """i0(Tensor self) -> Tensor"""
    return bessel.i0(input)


@elementwise(torch.floor)
def floor(input: tf.Tensor) -> tf.Tensor:
    """floor(Tensor self) -> Tensor"""
    return tf.floor(input) if input.dtype.is_floating else input


@elementwise(torch.ceil)
def ceil(input: tf.Tensor) -> tf.Tensor:
    """ceil(Tensor self) -> Tensor"""
    return tf.math.ceil(input) if input.dtype.is_floating else input


@elementwise(torch.round, special.round)
def round(input: tf.Tensor, *, decimals: int = 0) -> tf.Tensor:
    """round.decimals(Tensor self, *, int decimals) -> Tensor"""
    if not input.dtype.is_floating:
        return input
    if decimals < 0:  # the power of ten is the whole number, on either side
        return tf.round(input / 10**-decimals) * 10**-decimals
    return tf.round(input * 10**decimals) / 10**decimals if decimals else tf.round(input)


@elementwise(torch.trunc, torch.fix)
def trunc(input: tf.Tensor) -> tf.Tensor:
    """trunc(Tensor self) -> Tensor"""
    return truncated(input) if input.dtype.is_floating else input


@elementwise(torch.frac)
def frac(input: tf.Tensor) -> tf.Tensor:
    """frac(Tensor self) -> Tensor"""
    return input - truncated(input)


@elementwise(torch.nan_to_num)
def nan_to_num(
    input: tf.Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> tf.Tensor:
    """nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor"""
    if not input.dtype.is_floating:
        return input

    def constant(value: float | None, default: Any) -> tf.Tensor:
        return tf.constant(default if value is None else value, input.dtype)

    finite = tf.where(tf.math.is_nan(input), constant(nan, 0), input)
    finite = tf.where(input == math.inf, constant(posinf, input.dtype.max), finite)
    return tf.where(input == -math.inf, constant(neginf, input.dtype.min), finite)
