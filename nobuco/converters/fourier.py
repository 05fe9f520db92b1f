"""Fourier transforms, along any dimensions, with PyTorch's three normalizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.converters.support import rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def _along(x: tf.Tensor, dim: int, transform: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """A transform of the last dimension, of another one."""
    last = rank(x) - 1
    perm = list(range(rank(x)))
    perm[dim % rank(x)], perm[last] = last, dim % rank(x)
    return transform(x) if dim % rank(x) == last else tf.transpose(transform(tf.transpose(x, perm)), perm)


def _transformed(x: tf.Tensor, dims: Sequence[int], forward: bool) -> tf.Tensor:
    """The transform of complex numbers; none is scaled, where TensorFlow scales the way back."""
    for dim in dims:
        n = sizes(x)[dim]
        x = _along(x, dim, tf.signal.fft) if forward else _along(x, dim, tf.signal.ifft) * tf.cast(n, x.dtype)
    return x


def _normalized(x: tf.Tensor, lengths: Sequence[Any], normalization: int) -> tf.Tensor:
    """0 leaves it as it is, 1 divides by the root of the number of elements, 2 by their number."""
    if normalization == 0:
        return x
    count = tf.cast(prod(lengths), x.dtype)
    return x / (tf.sqrt(count) if normalization == 1 else count)


def _lengths(x: tf.Tensor, dims: Sequence[int]) -> list[Any]:
    return [sizes(x)[dim] for dim in dims]


@expression(aten._fft_c2c.default, strategy=FORCE_PYTORCH_ORDER)
def fft_c2c(self: tf.Tensor, dim: Sequence[int], normalization: int, forward: bool) -> tf.Tensor:
    """_fft_c2c(Tensor self, SymInt[] dim, int normalization, bool forward) -> Tensor"""
    return _normalized(_transformed(self, dim, forward), _lengths(self, dim), normalization)


@expression(aten._fft_r2c.default, strategy=FORCE_PYTORCH_ORDER)
def fft_r2c(self: tf.Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> tf.Tensor:
    """_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Tensor"""
    *others, last = dim
    dtype = tf.complex128 if self.dtype == tf.float64 else tf.complex64
    half = _along(self, last, tf.signal.rfft) if onesided else _transformed(tf.cast(self, dtype), [last], True)
    return _normalized(_transformed(half, others, True), _lengths(self, dim), normalization)


@expression(aten._fft_c2r.default, strategy=FORCE_PYTORCH_ORDER)
def fft_c2r(self: tf.Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> tf.Tensor:
    """_fft_c2r(Tensor self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor"""
    *others, last = dim
    x = _transformed(self, others, forward=False)
    x = _along(x, last, lambda x: tf.signal.irfft(x, [last_dim_size]))
    lengths = [*_lengths(self, others), last_dim_size]
    return _normalized(x * tf.cast(last_dim_size, x.dtype), lengths, normalization)
