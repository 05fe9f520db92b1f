"""Fractional max pooling: windows of one size, each at a place of its own that random numbers shift."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.converters.support import pair, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten, torch
from nobuco.registry import Named, expression


def _register(n: int, *operations: Named) -> None:
    """For `n` dimensions; `random_samples` (batch, channels, n) holds numbers from 0 to 1."""

    @expression(*operations, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def fractional_max_pool(
        self: tf.Tensor, kernel_size: Any, output_size: Any, random_samples: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """fractional_max_pool2d(Tensor self, int[2] kernel_size, int[2] output_size, Tensor random_samples)
        -> (Tensor, Tensor)
        """
        *planes, spatial_sizes = [*sizes(self)[:-n], sizes(self)[-n:]]
        count, wanted = prod(planes), pair(output_size, n)
        shifts = tf.reshape(random_samples, [-1, n])[:count]
        # In two dimensions the first number is the last axis's, in three the first's.
        starts = [
            _starts(shifts[:, number : number + 1], *one_axis)
            for number, *one_axis in zip((1, 0) if n == 2 else range(n), spatial_sizes, pair(kernel_size, n), wanted)
        ]
        elements = _elements(starts, spatial_sizes, pair(kernel_size, n))
        values = tf.gather(tf.reshape(self, [count, prod(spatial_sizes)]), elements, axis=1, batch_dims=1)
        chosen = tf.one_hot(tf.argmax(values, -1), sizes(elements)[-1], dtype=tf.int32)
        where = tf.cast(tf.reduce_sum(chosen * elements, -1), tf.int64)
        return tf.reshape(tf.reduce_max(values, -1), [*planes, *wanted]), tf.reshape(where, [*planes, *wanted])


def _elements(starts: Sequence[tf.Tensor], spatial_sizes: Sequence[Any], kernel: Sequence[int]) -> tf.Tensor:
    """(planes, windows, taps): the elements of each window, counted through all spatial dimensions."""
    flat = tf.zeros([1, 1, 1], tf.int32)
    for start, size, taps in zip(starts, spatial_sizes, kernel):
        along_axis = start[:, :, tf.newaxis] + tf.range(taps)
        flat = flat[:, :, tf.newaxis, :, tf.newaxis] * size + along_axis[:, tf.newaxis, :, tf.newaxis, :]
        planes, outer, inner, outer_taps, inner_taps = sizes(flat)
        flat = tf.reshape(flat, [planes, outer * inner, outer_taps * inner_taps])
    return flat


def _starts(shift: tf.Tensor, size: Any, kernel: int, wanted: int) -> tf.Tensor:
    """(planes, wanted): where the windows along one axis start; the last ends with the input."""
    places = tf.cast(tf.range(wanted), shift.dtype)
    step = tf.cast(size - kernel, shift.dtype) / max(wanted - 1, 1)
    starts = tf.cast((places + shift) * step, tf.int32) - tf.cast(shift * step, tf.int32)
    return tf.where(tf.range(wanted) == wanted - 1, size - kernel, starts)


_register(2, torch._C._nn.fractional_max_pool2d, aten.fractional_max_pool2d.default)
_register(3, torch._C._nn.fractional_max_pool3d, aten.fractional_max_pool3d.default)
