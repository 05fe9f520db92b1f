"""Window functions of a signal, and the frequencies of a Fourier transform, of a length known only at run time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters import bessel
from nobuco.converters.support import cast
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten, torch
from nobuco.registry import expression

PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def _precise(dtype: torch.dtype | None) -> tuple[tf.DType, tf.DType]:
    """The type that is asked for, and the one to compute in."""
    wanted = tf_dtype(dtype or torch.get_default_dtype())
    return wanted, tf.float64 if wanted == tf.float64 else tf.float32


def _window(length: Any, periodic: bool, dtype: Any, height: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The height at each place, from 0 to 1 along the window; that of one place alone is 1, as PyTorch has it."""
    wanted, precise = _precise(dtype)
    gaps = tf.maximum(cast(length, precise) - (0 if periodic else 1), 1)
    heights = height(tf.cast(tf.range(length), precise) / gaps)
    return cast(tf.where(tf.equal(length, 1), tf.ones_like(heights), heights), wanted)


def _cosines(place: tf.Tensor, *weights: float) -> tf.Tensor:
    return tf.add_n([weight * tf.cos(2 * math.pi * k * place) for k, weight in enumerate(weights)])


@expression(torch.hann_window, strategy=PYTORCH_ORDER)
def hann_window(window_length: Any, periodic: bool = True, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """hann_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _window(window_length, periodic, dtype, lambda place: _cosines(place, 0.5, -0.5))


@expression(torch.hamming_window, strategy=PYTORCH_ORDER)
def hamming_window(
    window_length: Any,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: torch.dtype | None = None,
    **_: Any,
) -> tf.Tensor:
    """hamming_window.periodic_alpha_beta(int window_length, bool periodic, float alpha, float beta, *,
    ScalarType? dtype=None, ...) -> Tensor
    """
    return _window(window_length, periodic, dtype, lambda place: _cosines(place, alpha, -beta))


@expression(torch.blackman_window, strategy=PYTORCH_ORDER)
def blackman_window(
    window_length: Any, periodic: bool = True, *, dtype: torch.dtype | None = None, **_: Any
) -> tf.Tensor:
    """blackman_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _window(window_length, periodic, dtype, lambda place: _cosines(place, 0.42, -0.5, 0.08))


@expression(torch.bartlett_window, strategy=PYTORCH_ORDER)
def bartlett_window(
    window_length: Any, periodic: bool = True, *, dtype: torch.dtype | None = None, **_: Any
) -> tf.Tensor:
    """bartlett_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _window(window_length, periodic, dtype, lambda place: 1 - tf.abs(2 * place - 1))


@expression(torch.kaiser_window, strategy=PYTORCH_ORDER)
def kaiser_window(
    window_length: Any, periodic: bool = True, beta: float = 12.0, *, dtype: torch.dtype | None = None, **_: Any
) -> tf.Tensor:
    """kaiser_window.beta(int window_length, bool periodic, float beta, *, ScalarType? dtype=None, ...) -> Tensor"""

    def height(place: tf.Tensor) -> tf.Tensor:
        depth = tf.sqrt(tf.maximum(1 - tf.square(2 * place - 1), 0))
        # Scaled by e to the minus x, or a large beta would be infinity over infinity.
        scale = tf.exp(beta * (depth - 1))
        return bessel.i0e(beta * depth) / bessel.i0e(tf.constant(beta, place.dtype)) * scale

    return _window(window_length, periodic, dtype, height)


@expression(torch.fft.fftfreq, aten.fft_fftfreq.default, strategy=PYTORCH_ORDER)
def fftfreq(n: Any, d: Any = 1.0, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """fft_fftfreq(int n, float d=1.0, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _frequencies(tf.concat([tf.range((n + 1) // 2), tf.range(-(n // 2), 0)], 0), n, d, dtype)


@expression(torch.fft.rfftfreq, aten.fft_rfftfreq.default, strategy=PYTORCH_ORDER)
def rfftfreq(n: Any, d: Any = 1.0, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """fft_rfftfreq(int n, float d=1.0, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _frequencies(tf.range(n // 2 + 1), n, d, dtype)


def _frequencies(numbers: tf.Tensor, n: Any, d: Any, dtype: torch.dtype | None) -> tf.Tensor:
    wanted, precise = _precise(dtype)
    return cast(tf.cast(numbers, precise) / (cast(n, precise) * cast(d, precise)), wanted)
