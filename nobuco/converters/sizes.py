"""Sizes of dynamic axes and arithmetic on them: scalar int32 tensors, or float64, as Python's floats are.

In float32 `int(n * .29)` would be 29 where n is 100, and Python says 28. (In a TFLite file it is float32 all the same.)
"""

from __future__ import annotations

import math
import operator
from typing import Any

import tensorflow as tf

from nobuco.converters.arithmetic import floored_quotient
from nobuco.converters.support import cast, size
from nobuco.registry import expression
from nobuco.trace.sizes import size_of


@expression(size_of)
def dynamic_size(x: tf.Tensor, dim: int) -> tf.Tensor:
    """size_of(Tensor x, int dim) -> int"""
    return tf.convert_to_tensor(size(x, dim), tf.int32)


def _as_float(x: Any) -> tf.Tensor:
    return cast(x, tf.float64)


@expression(operator.add)
def add(a: Any, b: Any) -> tf.Tensor:
    """add(Scalar a, Scalar b) -> Scalar"""
    return operator.add(*_common(a, b))


@expression(operator.sub)
def sub(a: Any, b: Any) -> tf.Tensor:
    """sub(Scalar a, Scalar b) -> Scalar"""
    return operator.sub(*_common(a, b))


@expression(operator.mul)
def mul(a: Any, b: Any) -> tf.Tensor:
    """mul(Scalar a, Scalar b) -> Scalar"""
    return operator.mul(*_common(a, b))


@expression(operator.floordiv)
def floordiv(a: Any, b: Any) -> tf.Tensor:
    """floordiv(Scalar a, Scalar b) -> Scalar"""
    return floored_quotient(*_common(a, b))


@expression(operator.mod)
def mod(a: Any, b: Any) -> tf.Tensor:
    """mod(Scalar a, Scalar b) -> Scalar"""
    return operator.mod(*_common(a, b))


@expression(operator.truediv)
def truediv(a: Any, b: Any) -> tf.Tensor:
    """truediv(Scalar a, Scalar b) -> float"""
    return _as_float(a) / _as_float(b)


@expression(operator.pow)
def power(a: Any, b: Any) -> tf.Tensor:
    """pow(Scalar a, Scalar b) -> Scalar"""
    return operator.pow(*_common(a, b))


@expression(operator.or_)
def bitwise_or(a: Any, b: Any) -> tf.Tensor:
    """or_(int a, int b) -> int"""
    return tf.bitwise.bitwise_or(*_common(a, b))


@expression(operator.xor)
def bitwise_xor(a: Any, b: Any) -> tf.Tensor:
    """xor(int a, int b) -> int"""
    return tf.bitwise.bitwise_xor(*_common(a, b))


@expression(int.bit_length)
def bit_length(a: tf.Tensor) -> tf.Tensor:
    """bit_length(int a) -> int, exactly: how many powers of two are no larger"""
    powers = tf.constant([1 << bit for bit in range(31)], tf.int32)
    return tf.reduce_sum(tf.cast(powers <= tf.abs(a), tf.int32))


@expression(operator.neg)
def neg(a: tf.Tensor) -> tf.Tensor:
    """neg(Scalar a) -> Scalar"""
    return -a


@expression(abs)
def absolute(a: tf.Tensor) -> tf.Tensor:
    """abs(Scalar a) -> Scalar"""
    return tf.abs(a)


@expression(math.ceil)
def ceil(a: tf.Tensor) -> tf.Tensor:
    """ceil(float a) -> int"""
    return a if a.dtype.is_integer else tf.cast(tf.math.ceil(a), tf.int32)


@expression(math.floor)
def floor(a: tf.Tensor) -> tf.Tensor:
    """floor(float a) -> int"""
    return a if a.dtype.is_integer else tf.cast(tf.math.floor(a), tf.int32)


@expression(math.trunc, operator.index)
def trunc(a: tf.Tensor) -> tf.Tensor:
    """trunc(float a) -> int"""
    return a if a.dtype.is_integer else tf.cast(a, tf.int32)


@expression(round)
def rounded(a: tf.Tensor, ndigits: Any = None) -> tf.Tensor:
    """round(float a, int? ndigits=None) -> Scalar, halves to even"""
    if a.dtype.is_integer and (ndigits is None or ndigits >= 0):
        return a
    if ndigits is None:
        return tf.cast(tf.math.round(a), tf.int32)
    scale = 10.0**ndigits
    return tf.cast(tf.math.round(_as_float(a) * scale) / scale, a.dtype)


@expression(math.sqrt)
def square_root(a: tf.Tensor) -> tf.Tensor:
    """sqrt(Scalar a) -> float"""
    return tf.sqrt(_as_float(a))


@expression(math.log)
def logarithm(a: tf.Tensor) -> tf.Tensor:
    """log(Scalar a) -> float"""
    return tf.math.log(_as_float(a))


@expression(math.log2)
def binary_logarithm(a: tf.Tensor) -> tf.Tensor:
    """log2(Scalar a) -> float"""
    return _logarithm(_as_float(a), 2)


@expression(math.log10)
def decimal_logarithm(a: tf.Tensor) -> tf.Tensor:
    """log10(Scalar a) -> float"""
    return _logarithm(_as_float(a), 10)


@expression(max)
def larger(a: Any, b: Any) -> tf.Tensor:
    """max(Scalar a, Scalar b) -> Scalar"""
    return tf.maximum(*_common(a, b))


@expression(min)
def smaller(a: Any, b: Any) -> tf.Tensor:
    """min(Scalar a, Scalar b) -> Scalar"""
    return tf.minimum(*_common(a, b))


@expression(operator.eq)
def equal(a: Any, b: Any) -> tf.Tensor:
    """eq(Scalar a, Scalar b) -> int, as all comparisons: 1 where it holds"""
    return tf.cast(tf.equal(*_common(a, b)), tf.int32)


@expression(operator.ne)
def unequal(a: Any, b: Any) -> tf.Tensor:
    """ne(Scalar a, Scalar b) -> int"""
    return tf.cast(tf.not_equal(*_common(a, b)), tf.int32)


@expression(operator.lt)
def less(a: Any, b: Any) -> tf.Tensor:
    """lt(Scalar a, Scalar b) -> int"""
    return tf.cast(tf.less(*_common(a, b)), tf.int32)


@expression(operator.le)
def less_or_equal(a: Any, b: Any) -> tf.Tensor:
    """le(Scalar a, Scalar b) -> int"""
    return tf.cast(tf.less_equal(*_common(a, b)), tf.int32)


@expression(operator.gt)
def greater(a: Any, b: Any) -> tf.Tensor:
    """gt(Scalar a, Scalar b) -> int"""
    return tf.cast(tf.greater(*_common(a, b)), tf.int32)


@expression(operator.ge)
def greater_or_equal(a: Any, b: Any) -> tf.Tensor:
    """ge(Scalar a, Scalar b) -> int"""
    return tf.cast(tf.greater_equal(*_common(a, b)), tf.int32)


def _logarithm(a: tf.Tensor, base: int) -> tf.Tensor:
    """A logarithm that is whole where `a` is a power of the base: `ceil(log2(n))` rounds nothing up by chance."""
    whole = tf.round(tf.math.log(a) / math.log(base))
    return whole + tf.math.log(a / tf.pow(tf.constant(base, a.dtype), whole)) / math.log(base)


def _common(a: Any, b: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Both as int32, or as float64 where either is a float."""
    floating = any(isinstance(x, float) or (tf.is_tensor(x) and x.dtype.is_floating) for x in (a, b))
    dtype = tf.float64 if floating else tf.int32
    return cast(a, dtype), cast(b, dtype)
