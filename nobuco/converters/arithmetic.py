"""Arithmetic of two and more operands: sums, products, quotients, powers, bounds, mixtures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import aligned, alike, cast, elementwise, promoted, squared
from nobuco.ops.names import torch


def scaled(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """`x * factor` in the dtype of `x`, without the product where the factor is one."""
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    factor = cast(factor, x.dtype)
    return tf.logical_and(x, factor) if x.dtype == tf.bool else x * factor


def bounded(x: tf.Tensor, low: Any = None, high: Any = None) -> tf.Tensor:
    """`x` within bounds of its own dtype; the upper one wins where they cross, as in PyTorch.

    TFLite's converter finds RELU, RELU6 and RELU_N1_TO_1 in this form.
    """
    if x.dtype == tf.bool:
        x = x if low is None else tf.logical_or(x, cast(low, tf.bool))
        return x if high is None else tf.logical_and(x, cast(high, tf.bool))
    x = x if low is None else _larger(x, cast(low, x.dtype))
    return x if high is None else _smaller(x, cast(high, x.dtype))


def _larger(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The larger one of two, NaN where one is; TFLite's MAXIMUM passes over it, but beside a number that is known."""
    if not a.dtype.is_floating or _is_a_number(b):
        return tf.maximum(a, b)
    return tf.where(_beats(b, b > a), b, a)


def _smaller(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The smaller one of two, as `_larger`."""
    if not a.dtype.is_floating or _is_a_number(b):
        return tf.minimum(a, b)
    return tf.where(_beats(b, b < a), b, a)


def _is_a_number(x: tf.Tensor) -> bool:
    known = tf.get_static_value(x)
    return known is not None and known.size == 1 and not np.isnan(known).any()


def _beats(x: tf.Tensor, beyond: tf.Tensor) -> tf.Tensor:
    """Where `x` is beyond its counterpart, or NaN."""
    known = tf.get_static_value(x)
    has_no_nan = known is not None and not np.isnan(known).any()
    return beyond if has_no_nan else tf.logical_or(beyond, tf.math.is_nan(x))


@elementwise(torch.add, operands=2)
def add(input: tf.Tensor, other: tf.Tensor, *, alpha: Any = 1) -> tf.Tensor:
    """add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"""
    return tf.logical_or(input, scaled(other, alpha)) if input.dtype == tf.bool else input + scaled(other, alpha)


@elementwise(torch.sub, torch.subtract, operands=2)
def sub(input: tf.Tensor, other: tf.Tensor, *, alpha: Any = 1) -> tf.Tensor:
    """sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"""
    return input - scaled(other, alpha)


@elementwise(torch.mul, torch.multiply, operands=2)
def mul(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """mul.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_and(input, other) if input.dtype == tf.bool else input * other


def floored_quotient(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Python's `a // b`: by way of the remainder, since a / b may round up to the next whole number."""
    if not a.dtype.is_floating:
        return tf.math.floordiv(a, b)
    known = tf.get_static_value(b)
    if known is not None and np.all(np.isfinite(known.astype(np.float64)) & (known != 0)):
        return tf.round((a - tf.math.floormod(a, b)) / b)
    # An infinite divisor leaves the dividend; Python's remainder would be infinite itself.
    rest = tf.sign(a) * tf.math.floormod(tf.abs(a), tf.abs(b))
    whole = tf.round((a - rest) / b)
    return tf.where(b == 0, a / b, tf.where(rest * tf.sign(b) < 0, whole - 1, whole))


def truncated_quotient(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The quotient rounded towards zero."""
    return truncated(a / b) if a.dtype.is_floating else tf.truncatediv(a, b)


def truncated(x: tf.Tensor) -> tf.Tensor:
    """A floating tensor rounded towards zero."""
    return tf.sign(x) * tf.floor(tf.abs(x))


@elementwise(torch.div, torch.divide, operands=2, promote=False)
def div(input: tf.Tensor, other: tf.Tensor, *, rounding_mode: str | None = None) -> tf.Tensor:
    """div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor"""
    input, other = aligned(*promoted(input, other, to_float=rounding_mode is None))
    if rounding_mode == "floor":
        return floored_quotient(input, other)
    if rounding_mode == "trunc":
        return truncated_quotient(input, other)
    return input / other


@elementwise(torch.true_divide, operands=2, to_float=True)
def true_divide(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """true_divide.Tensor(Tensor self, Tensor other) -> Tensor"""
    return input / other


@elementwise(torch.floor_divide, operands=2)
def floor_divide(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """floor_divide(Tensor self, Tensor other) -> Tensor"""
    return floored_quotient(input, other)


@elementwise(torch.remainder, operands=2)
def remainder(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """remainder.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.math.floormod(input, other)


@elementwise(torch.fmod, operands=2)
def fmod(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """fmod.Tensor(Tensor self, Tensor other) -> Tensor"""
    if input.dtype.is_unsigned:
        return tf.math.floormod(input, other)
    if input.dtype.is_integer:
        found = tf.math.floormod(input, other)
        return tf.where((found != 0) & ((found < 0) != (input < 0)), found - other, found)
    # The sign of the dividend; TFLite has FLOOR_MOD only, which is C's remainder where both are positive.
    return tf.sign(input) * tf.math.floormod(tf.abs(input), tf.abs(other))


_POWERS = {
    0.5: tf.sqrt,
    -0.5: tf.math.rsqrt,
    -1: tf.math.reciprocal,
    1: tf.identity,
    2: squared,
    3: lambda x: x * squared(x),
}


@elementwise(torch.pow, operands=2, promote=False)
def pow(input: Any, exponent: Any) -> tf.Tensor:
    """pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor"""
    base, power = promoted(input, exponent)
    if isinstance(exponent, (int, float)) and exponent in _POWERS:
        return _POWERS[exponent](base)
    if isinstance(exponent, (int, float)) and exponent >= 0 and base.dtype != tf.uint8:
        return tf.pow(base, power)
    return _power(base, power)


def _power(base: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """TensorFlow refuses negative powers of integers; in PyTorch they are 0, but for those of 1 and -1."""
    if not base.dtype.is_integer:
        return tf.pow(base, exponent)
    if base.dtype == tf.uint8:  # which TensorFlow has no powers of
        return cast(tf.pow(cast(base, tf.int32), cast(exponent, tf.int32)), tf.uint8)
    power = tf.pow(base, tf.maximum(tf.abs(exponent), 0))  # of the least of all, which has no positive
    return tf.where(tf.logical_or(exponent >= 0, tf.abs(base) == 1), power, tf.zeros([], base.dtype))


@elementwise(torch.float_power, operands=2, promote=False)
def float_power(input: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor"""
    dtype = tf.complex128 if input.dtype.is_complex else tf.float64
    return tf.pow(cast(input, dtype), cast(exponent, dtype))


@elementwise(torch.clamp, torch.clip, operands=3, promote=False)
def clamp(input: tf.Tensor, min: Any = None, max: Any = None) -> tf.Tensor:
    """clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor"""
    input, *_ = promoted(input, *(bound for bound in (min, max) if bound is not None))
    return bounded(input, min, max)


@elementwise(torch.clamp_min, operands=2)
def clamp_min(input: tf.Tensor, min: tf.Tensor) -> tf.Tensor:
    """clamp_min(Tensor self, Scalar min) -> Tensor"""
    return bounded(input, low=min)


@elementwise(torch.clamp_max, operands=2)
def clamp_max(input: tf.Tensor, max: tf.Tensor) -> tf.Tensor:
    """clamp_max(Tensor self, Scalar max) -> Tensor"""
    return bounded(input, high=max)


@elementwise(torch.maximum, operands=2)
def maximum(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """maximum(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_or(input, other) if input.dtype == tf.bool else _larger(input, other)


@elementwise(torch.minimum, operands=2)
def minimum(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """minimum(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_and(input, other) if input.dtype == tf.bool else _smaller(input, other)


def _where_number(a: tf.Tensor, b: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """`chosen`, but where one of the two is NaN, the other."""
    if not a.dtype.is_floating:
        return chosen
    return tf.where(tf.math.is_nan(a), b, tf.where(tf.math.is_nan(b), a, chosen))


@elementwise(torch.fmax, operands=2)
def fmax(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """fmax(Tensor self, Tensor other) -> Tensor"""
    return _where_number(input, other, tf.maximum(input, other))


@elementwise(torch.fmin, operands=2)
def fmin(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """fmin(Tensor self, Tensor other) -> Tensor"""
    return _where_number(input, other, tf.minimum(input, other))


@elementwise(torch.lerp, operands=3)
def lerp(input: tf.Tensor, end: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor, from the end that is nearer, as PyTorch goes"""
    way, near = end - input, tf.abs(weight) < 0.5
    known = tf.get_static_value(near)
    if known is None or len(np.unique(known)) != 1:
        return tf.where(near, input + weight * way, end - (1 - weight) * way)
    return input + weight * way if np.all(known) else end - (1 - weight) * way


@elementwise(torch.addcmul, operands=3)
def addcmul(input: tf.Tensor, tensor1: tf.Tensor, tensor2: tf.Tensor, *, value: Any = 1) -> tf.Tensor:
    """addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor"""
    return input + scaled(tensor1 * tensor2, value)


@elementwise(torch.addcdiv, operands=3)
def addcdiv(input: tf.Tensor, tensor1: tf.Tensor, tensor2: tf.Tensor, *, value: Any = 1) -> tf.Tensor:
    """addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor"""
    return input + scaled(tensor1 / tensor2, value)


@elementwise(torch.logaddexp, operands=2)
def logaddexp(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """logaddexp(Tensor self, Tensor other) -> Tensor"""
    if input.dtype.is_complex:
        return _logaddexp_complex(*alike(input, other))
    # Equal operands apart: the difference of two infinities is no number.
    apart = tf.where(input == other, tf.zeros([], input.dtype), input - other)
    return maximum(input, other) + tf.math.log1p(tf.exp(-tf.abs(apart)))


def _logaddexp_complex(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    left = tf.math.real(a) > tf.math.real(b)
    larger, smaller = tf.where(left, a, b), tf.where(left, b, a)
    apart = tf.where(smaller == larger, tf.zeros([], a.dtype), smaller - larger)
    return larger + tf.math.log1p(tf.exp(apart))


@elementwise(torch.logaddexp2, operands=2)
def logaddexp2(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """logaddexp2(Tensor self, Tensor other) -> Tensor"""
    return logaddexp(input * math.log(2), other * math.log(2)) / math.log(2)


@elementwise(torch.hypot, operands=2)
def hypot(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """hypot(Tensor self, Tensor other) -> Tensor"""
    largest = tf.maximum(tf.abs(input), tf.abs(other))  # whose square may be too large a number
    scale = tf.where((largest > 0) & (largest < np.inf), largest, tf.ones([], largest.dtype))
    length = tf.sqrt(tf.square(input / scale) + tf.square(other / scale)) * scale
    return tf.where(tf.math.is_inf(input) | tf.math.is_inf(other), tf.constant(np.inf, length.dtype), length)


@elementwise(torch.atan2, torch.arctan2, operands=2, to_float=True)
def atan2(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """atan2(Tensor self, Tensor other) -> Tensor"""
    return tf.atan2(*alike(input, other))  # TFLite's does not broadcast


@elementwise(torch.ldexp, operands=2, to_float=True)
def ldexp(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """ldexp.Tensor(Tensor self, Tensor other) -> Tensor"""
    return input * tf.pow(tf.constant(2, other.dtype), other)


@elementwise(torch.copysign, operands=2, to_float=True)
def copysign(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """copysign.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.where(negative(other), -tf.abs(input), tf.abs(input))


def negative(x: tf.Tensor) -> tf.Tensor:
    """Where the sign bit is set, that of minus zero too, whose inverse is minus infinity."""
    return tf.where(x == 0, 1 / x, x) < 0 if x.dtype.is_floating else x < 0


def _weighted_log(weight: tf.Tensor, argument: tf.Tensor, logarithm: tf.Tensor) -> tf.Tensor:
    """A weighted logarithm, which is zero where the weight is, unless the argument is NaN."""
    vanishes = tf.logical_and(weight == 0, tf.logical_not(tf.math.is_nan(argument)))
    return tf.where(vanishes, tf.zeros([], weight.dtype), weight * logarithm)


@elementwise(torch.xlogy, torch.special.xlogy, operands=2, to_float=True)
def xlogy(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """xlogy.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _weighted_log(input, other, tf.math.log(other))


@elementwise(torch.special.xlog1py, operands=2, to_float=True)
def xlog1py(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """special_xlog1py(Tensor self, Tensor other) -> Tensor"""
    return _weighted_log(input, other, tf.math.log1p(other))
