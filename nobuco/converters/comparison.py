"""Comparison, logic, bits, and choice by a mask."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from nobuco.converters.support import cast, elementwise, promoted, rank
from nobuco.ops.names import torch


def _ordered(x: tf.Tensor) -> tf.Tensor:
    """A truth value as a number: TensorFlow finds no order among truth values."""
    return tf.cast(x, tf.int32) if x.dtype == tf.bool else x


@elementwise(torch.eq, operands=2)
def eq(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """eq.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.equal(input, other)


@elementwise(torch.ne, torch.not_equal, operands=2)
def ne(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """ne.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.not_equal(input, other)


@elementwise(torch.lt, torch.less, operands=2)
def lt(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """lt.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _ordered(input) < _ordered(other)


@elementwise(torch.le, torch.less_equal, operands=2)
def le(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """le.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _ordered(input) <= _ordered(other)


@elementwise(torch.gt, torch.greater, operands=2)
def gt(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """gt.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _ordered(input) > _ordered(other)


@elementwise(torch.ge, torch.greater_equal, operands=2)
def ge(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """ge.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _ordered(input) >= _ordered(other)


@elementwise(torch.isclose, operands=2)
def isclose(
    input: tf.Tensor, other: tf.Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> tf.Tensor:
    """isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)"""
    a, b = promoted(_ordered(input), _ordered(other), to_float=True)
    # Infinities are close where they are equal, and only there.
    near = tf.logical_and(tf.abs(a - b) <= atol + rtol * tf.abs(b), tf.abs(b) < math.inf)
    near = tf.logical_or(a == b, near)
    return tf.logical_or(near, tf.logical_and(a != a, b != b)) if equal_nan else near


@elementwise(torch.logical_and, operands=2, promote=False)
def logical_and(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """logical_and(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_and(tf.cast(input, tf.bool), tf.cast(other, tf.bool))


@elementwise(torch.logical_or, operands=2, promote=False)
def logical_or(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """logical_or(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_or(tf.cast(input, tf.bool), tf.cast(other, tf.bool))


@elementwise(torch.logical_xor, operands=2, promote=False)
def logical_xor(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """logical_xor(Tensor self, Tensor other) -> Tensor"""
    return tf.not_equal(tf.cast(input, tf.bool), tf.cast(other, tf.bool))


@elementwise(torch.logical_not)
def logical_not(input: tf.Tensor) -> tf.Tensor:
    """logical_not(Tensor self) -> Tensor"""
    return tf.logical_not(tf.cast(input, tf.bool))


@elementwise(torch.bitwise_and, operands=2)
def bitwise_and(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_and(input, other) if input.dtype == tf.bool else tf.bitwise.bitwise_and(input, other)


@elementwise(torch.bitwise_or, operands=2)
def bitwise_or(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.logical_or(input, other) if input.dtype == tf.bool else tf.bitwise.bitwise_or(input, other)


@elementwise(torch.bitwise_xor, operands=2)
def bitwise_xor(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.not_equal(input, other) if input.dtype == tf.bool else tf.bitwise.bitwise_xor(input, other)


@elementwise(torch.bitwise_not)
def bitwise_not(input: tf.Tensor) -> tf.Tensor:
    """bitwise_not(Tensor self) -> Tensor"""
    if input.dtype == tf.bool:
        return tf.logical_not(input)
    # Two's complement: TF.js has no bitwise inversion.
    return tf.bitwise.invert(input) if input.dtype.is_unsigned else -1 - input


def _too_far(x: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    """Where a shift goes beyond all bits; TensorFlow does what the processor does."""
    beyond = by >= x.dtype.size * 8
    return beyond if x.dtype.is_unsigned else tf.logical_or(by < 0, beyond)


@elementwise(torch.bitwise_left_shift, operands=2)
def bitwise_left_shift(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor"""
    return tf.where(_too_far(input, other), tf.zeros([], input.dtype), tf.bitwise.left_shift(input, other))


@elementwise(torch.bitwise_right_shift, operands=2)
def bitwise_right_shift(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor"""
    last = tf.constant(input.dtype.size * 8 - 1, input.dtype)
    if input.dtype.is_unsigned:
        shifted = tf.bitwise.right_shift(input, tf.minimum(other, last))
        return tf.where(_too_far(input, other), tf.zeros([], input.dtype), shifted)
    return tf.bitwise.right_shift(input, tf.where(_too_far(input, other), last, other))


def _nowhere(x: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(x, tf.bool)


@elementwise(torch.isnan)
def isnan(input: tf.Tensor) -> tf.Tensor:
    """isnan(Tensor self) -> Tensor"""
    return tf.math.is_nan(input) if input.dtype.is_floating else _nowhere(input)


@elementwise(torch.isinf)
def isinf(input: tf.Tensor) -> tf.Tensor:
    """isinf(Tensor self) -> Tensor"""
    return tf.math.is_inf(input) if input.dtype.is_floating else _nowhere(input)


@elementwise(torch.isposinf)
def isposinf(input: tf.Tensor) -> tf.Tensor:
    """isposinf(Tensor self) -> Tensor"""
    return input == math.inf if input.dtype.is_floating else _nowhere(input)


@elementwise(torch.isneginf)
def isneginf(input: tf.Tensor) -> tf.Tensor:
    """isneginf(Tensor self) -> Tensor"""
    return input == -math.inf if input.dtype.is_floating else _nowhere(input)


@elementwise(torch.isfinite)
def isfinite(input: tf.Tensor) -> tf.Tensor:
    """isfinite(Tensor self) -> Tensor"""
    return tf.math.is_finite(input) if input.dtype.is_floating else tf.ones_like(input, tf.bool)


@elementwise(torch.heaviside, operands=2)
def heaviside(input: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """heaviside(Tensor self, Tensor values) -> Tensor"""
    step = cast(_ordered(input) > 0, input.dtype)
    return tf.where(input == tf.zeros([], input.dtype), values, step)


@elementwise(torch.where, operands=3, promote=False)
def where(condition: tf.Tensor, input: Any = None, other: Any = None) -> Any:
    """where.self(Tensor condition, Tensor self, Tensor other) -> Tensor"""
    condition = tf.cast(condition, tf.bool)
    if input is None:
        # A tensor without dimensions passes for a vector, as in PyTorch.
        return tuple(tf.unstack(tf.where(condition if rank(condition) else condition[tf.newaxis]), axis=1))
    return tf.where(condition, *promoted(input, other))


@elementwise(torch.masked_fill, operands=2, promote=False)
def masked_fill(input: tf.Tensor, mask: tf.Tensor, value: Any) -> tf.Tensor:
    """masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor"""
    return tf.where(mask, cast(value, input.dtype), input)
