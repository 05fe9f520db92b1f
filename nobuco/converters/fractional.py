"""Fractional max pooling: windows of one size, each at a place of its own that random numbers shift."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorflow as tf
import torch

from nobuco.converters.support import pair, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.registry import Operation, expression

aten = torch.ops.aten


def _register(n: int, *operations: Operation) -> None:
    """For `n` dimensions; `random_samples` (batch, channels, n) holds numbers from 0 to 1."""

    @expression(*operations, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def fractional_max_pool(
        self: tf.Tensor, kernel_size: Any, output_size: Any, random_samples: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """fractional_max_pool2d(Tensor self, int[2] kernel_size, int[2] output_size, Tensor random_samples)
        -> (Tensor, Tensor)
        """
        *planes, spatial_sizes = [*sizes(self)[:-n], sizes(self)[-n:]]
        count, flat = prod(planes), tf.zeros([1, 1, 1], tf.int32)
        shifts = tf.reshape(random_samples, [-1, n])[:count]
        shifts = (
            tf.reverse(shifts, [1]) if n == 2 else shifts
        )  # PyTorch's first is the column's there, here the depth's
        for axis, (size, kernel, wanted) in enumerate(zip(spatial_sizes, pair(kernel_size, n), pair(output_size, n))):
            starts = _starts(shifts[:, axis : axis + 1], size, kernel, wanted)
            places = starts[:, :, tf.newaxis] + tf.range(kernel)
            flat = flat[:, :, tf.newaxis, :, tf.newaxis] * size + places[:, tf.newaxis, :, tf.newaxis, :]
            _, windows, _, taps, _ = sizes(flat)
            flat = tf.reshape(flat, [count, windows * wanted, taps * kernel])
        elements = tf.gather(tf.reshape(self, [count, prod(spatial_sizes)]), flat, axis=1, batch_dims=1)
        chosen = tf.one_hot(tf.argmax(elements, -1), sizes(flat)[-1], dtype=tf.int32)
        shape = [*planes, *pair(output_size, n)]
        where = tf.cast(tf.reduce_sum(chosen * flat, -1), tf.int64)
        return tf.reshape(tf.reduce_max(elements, -1), shape), tf.reshape(where, shape)


def _starts(shift: tf.Tensor, size: Any, kernel: int, wanted: int) -> tf.Tensor:
    """(planes, wanted): where the windows along one axis start; the last ends with the input."""
    places = tf.cast(tf.range(wanted), shift.dtype)
    step = tf.cast(size - kernel, shift.dtype) / max(wanted - 1, 1)
    starts = tf.cast((places + shift) * step, tf.int32) - tf.cast(shift * step, tf.int32)
    return tf.where(tf.range(wanted) == wanted - 1, size - kernel, starts)


_register(2, torch._C._nn.fractional_max_pool2d, aten.fractional_max_pool2d.default)
_register(3, torch._C._nn.fractional_max_pool3d, aten.fractional_max_pool3d.default)
