"""Short-time Fourier transforms, on windows of any signal's length."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.fourier import fft_c2c, fft_c2r, fft_r2c
from nobuco.converters.joining import part
from nobuco.converters.memory import view_as_real
from nobuco.converters.repeating import unfold
from nobuco.converters.support import promoted, rank, sizes
from nobuco.layers.padding import pad
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten, torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
_BY_ROOT = 1  # ATen's number for 'divided by the root of the number of elements'


@expression(torch.stft, strategy=FORCE_PYTORCH_ORDER)
def stft(
    input: tf.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: tf.Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> tf.Tensor:
    """stft.center(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None,
    bool center=True, str pad_mode="reflect", bool normalized=False, bool? onesided=None, bool? return_complex=None,
    bool? align_to_window=None) -> Tensor
    """
    signal = _padded(input, n_fft // 2, pad_mode) if center else input
    return stft_as_it_is(
        signal, n_fft, hop_length, win_length, window, normalized, onesided, return_complex, align_to_window
    )


@expression(aten.stft.default, strategy=FORCE_PYTORCH_ORDER)
def stft_as_it_is(
    self: tf.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: tf.Tensor | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> tf.Tensor:
    """stft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None,
    bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Tensor
    """
    length = win_length or n_fft
    if align_to_window:  # the first window begins with the signal, not the first transform
        self = _padded(self, (n_fft - length) // 2, "constant")
    frames = unfold(self, -1, n_fft, hop_length or n_fft // 4)
    if window is not None or length != n_fft:
        frames = tf.multiply(*promoted(frames, _window(window, length, n_fft, frames.dtype.real_dtype)))
    last, scale = rank(frames) - 1, _BY_ROOT if normalized else 0
    if frames.dtype.is_complex:
        spectrum = fft_c2c(frames, [last], scale, True)
    else:
        spectrum = fft_r2c(frames, [last], scale, onesided is None or onesided)
    spectrum = tf.linalg.matrix_transpose(spectrum)
    gives_complex = frames.dtype.is_complex if return_complex is None else return_complex
    return spectrum if gives_complex else view_as_real(spectrum)


@expression(torch.istft, strategy=FORCE_PYTORCH_ORDER)
def istft(
    input: tf.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: tf.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: Any = None,
    return_complex: bool = False,
) -> tf.Tensor:
    """istft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True,
    bool normalized=False, bool? onesided=None, int? length=None, bool return_complex=False) -> Tensor
    """
    hop, span = hop_length or n_fft // 4, win_length or n_fft
    spectrum = tf.linalg.matrix_transpose(input)
    last, scale = rank(spectrum) - 1, _BY_ROOT if normalized else 2
    if return_complex:
        frames = fft_c2c(spectrum, [last], scale, False)
    else:
        frames = fft_c2r(part(spectrum, last, 0, n_fft // 2 + 1), [last], scale, n_fft)
    weights = _window(window, span, n_fft, frames.dtype.real_dtype)
    count = sizes(frames)[-2]
    signal = _added_up(frames * tf.cast(weights, frames.dtype), hop)
    envelope = _added_up(tf.tile(weights[tf.newaxis] ** 2, [count, 1]), hop)
    start, whole = n_fft // 2 if center else 0, n_fft + hop * (count - 1)
    stop = whole - start if length is None else start + length
    reached = stop if length is None else _smaller(stop, whole)
    signal = part(signal, rank(signal) - 1, start, reached) / tf.cast(part(envelope, 0, start, reached), signal.dtype)
    return signal if length is None else pad(signal, [*[(0, 0)] * (rank(signal) - 1), (0, stop - reached)])


def _padded(signal: tf.Tensor, amount: int, mode: str) -> tf.Tensor:
    return pad(signal, [*[(0, 0)] * (rank(signal) - 1), (amount, amount)], mode)


def _window(window: tf.Tensor | None, length: int, n_fft: int, dtype: tf.DType) -> tf.Tensor:
    """The window in the middle of the transform's length; ones where there is none."""
    values = tf.ones([length], dtype) if window is None else window
    before = (n_fft - length) // 2
    return values if length == n_fft else pad(values, [(before, n_fft - length - before)])


def _added_up(frames: tf.Tensor, hop: int) -> tf.Tensor:
    """The signal of (..., frames, length) that begin `hop` apart: where frames overlap, their sum.

    Each frame is cut into blocks of `hop`; its first block begins where the frame does, the next one block later.
    """
    *batch, count, length = sizes(frames)
    n = -(-length // hop)
    none = [(0, 0)] * len(batch)
    blocks = tf.reshape(pad(frames, [*none, (0, 0), (0, n * hop - length)]), [*batch, count, n, hop])
    shifted = [pad(blocks[..., i, :], [*none, (i, n - 1 - i), (0, 0)]) for i in range(n)]
    signal = tf.reshape(tf.add_n(shifted), [*batch, (count + n - 1) * hop])
    return part(signal, len(batch), 0, length + hop * (count - 1))


def _smaller(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tf.minimum(a, b)
