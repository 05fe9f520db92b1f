"""Discrete Fourier transforms along the last axis, of pairs of real tensors.

TFLite has one of real numbers, where the length is a power of two. Other short ones are products with a matrix of
cosines and sines, and other long ones are made of those that TFLite has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.export.lowering.operation import Pair, multiplied

_LONGEST_MATRIX = 512


def real_transform(x: Any, length: int | None) -> Pair:
    """Of real numbers, frequencies from 0 to half the length (`torch.fft.rfft`)."""
    if length is not None and _is_native(length):
        y = tf.signal.rfft(x, [length])
        return Pair(tf.math.real(y), tf.math.imag(y))
    count = None if length is None else length // 2 + 1
    if length is None or length <= _LONGEST_MATRIX:
        return _product(Pair(x, None), _matrix(x, length, count))
    return Pair(*(part[..., :count] for part in transform(Pair(x, tf.zeros_like(x)), length)))


def transform(x: Pair, length: int | None) -> Pair:
    """Of complex numbers, all frequencies (`torch.fft.fft`)."""
    if length is not None and _is_native(length):
        (a, b), (c, d) = (_mirrored(real_transform(part, length), length) for part in x)
        return Pair(a - d, b + c)
    if length is None or length <= _LONGEST_MATRIX:
        return _product(x, _matrix(x.real, length, length))
    return _by_chirp(x, length)


def inverse_transform(x: Pair, length: int | None) -> Pair:
    """Back, divided by the length (`torch.fft.ifft`)."""
    real, imag = transform(Pair(x.imag, x.real), length)  # parts exchanged before and after: the other direction
    count = tf.cast(tf.shape(real)[-1] if length is None else length, real.dtype)
    return Pair(imag / count, real / count)


def inverse_real_transform(x: Pair, length: int) -> Any:
    """Back to real numbers (`torch.fft.irfft`) from half the frequencies, or from more or fewer."""
    count = length // 2 + 1
    given = x.real.shape[-1]
    if given is None or given < count:
        missing = count - tf.shape(x.real)[-1]
        x = Pair(*(tf.pad(part, [[0, 0]] * (len(part.shape) - 1) + [[0, tf.maximum(missing, 0)]]) for part in x))
    half = Pair(*(tf.ensure_shape(p[..., :count], [*p.shape[:-1], count]) for p in x))
    weights = np.full(count, 2.0)
    weights[0] = 1.0
    if length % 2 == 0:
        weights[-1] = 1.0
    if length <= _LONGEST_MATRIX and not _is_native(length):
        cos, sin = _waves(count, length, length)
        scaled = [tf.constant((weights[:, None] * wave / length).astype(np.float32)) for wave in (cos, sin)]
        back = sum(tf.matmul(_with_rows(part), wave) for part, wave in zip(half, scaled))
        return _without_rows(back, half.real)
    # What stands for the mean, and for every other element, is real.
    mask = tf.constant((weights > 1).astype(np.float32))
    return inverse_transform(_mirrored(Pair(half.real, half.imag * mask), length), length).real


def _is_native(length: int) -> bool:
    """Whether TFLite's own transform is exact and no slower than a small product."""
    return length >= 64 and length & (length - 1) == 0


def _mirrored(half: Pair, length: int) -> Pair:
    """All frequencies of a real signal from the first half of them."""
    rest = [part[..., 1 : (length + 1) // 2] for part in half]
    return Pair(
        tf.concat([half.real, tf.reverse(rest[0], [-1])], -1), tf.concat([half.imag, -tf.reverse(rest[1], [-1])], -1)
    )


def _waves(rows: int, columns: int, length: int) -> tuple[Any, Any]:
    """Cosines and negative sines of the products of two indices, in fractions of a turn; exact, since reduced first."""
    angle = np.outer(np.arange(rows), np.arange(columns)) % length * (2 * math.pi / length)
    return np.cos(angle), -np.sin(angle)


def _matrix(x: Any, length: int | None, count: int | None) -> Pair:
    if length is not None and count is not None:
        return Pair(*(tf.constant(wave.astype(np.float32)) for wave in _waves(length, count, length)))
    n = tf.shape(x)[-1]
    index = tf.range(n)
    angle = tf.cast(index[:, None] * index[None] % n, tf.float32) * (2 * math.pi / tf.cast(n, tf.float32))
    return Pair(tf.cos(angle), -tf.sin(angle))


def _product(x: Pair, matrix: Pair) -> Pair:
    real, imag = (tf.matmul(_with_rows(x.real), part) for part in matrix)
    if x.imag is not None:
        more, less = (tf.matmul(_with_rows(x.imag), part) for part in matrix)
        real, imag = real - less, imag + more
    return Pair(_without_rows(real, x.real), _without_rows(imag, x.real))


def _with_rows(x: Any) -> Any:
    return x[None] if len(x.shape) == 1 else x


def _without_rows(y: Any, x: Any) -> Any:
    return y[0] if len(x.shape) == 1 else y


def _by_chirp(x: Pair, length: int) -> Pair:
    """A transform as a convolution with a chirp, by longer ones whose length is a power of two (L. Bluestein, 1970)."""
    size = 1 << (2 * length - 2).bit_length()
    chirp = np.exp(-1j * math.pi / length * (np.arange(length) ** 2 % (2 * length)))
    kernel = np.zeros(size, complex)
    kernel[:length] = chirp.conj()
    kernel[size - length + 1 :] = chirp[:0:-1].conj()
    turned = multiplied(x, _constant(chirp))
    padding = [[0, 0]] * (len(x.real.shape) - 1) + [[0, size - length]]
    spectrum = transform(Pair(*(tf.pad(part, padding) for part in turned)), size)
    convolved = inverse_transform(multiplied(spectrum, _constant(np.fft.fft(kernel))), size)
    return multiplied(Pair(*(part[..., :length] for part in convolved)), _constant(chirp))


def _constant(numbers: Any) -> Pair:
    return Pair(*(tf.constant(part.astype(np.float32)) for part in (numbers.real, numbers.imag)))
