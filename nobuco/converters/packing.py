"""Packed sequences: rows of sequences of unequal length without their padding, and how many there are at each step.

A packed sequence is as long in the converted model as it is in PyTorch, so whatever is done with its rows is right.
Where the lengths are known before the model runs, all places are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import cast, rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


@dataclass(frozen=True)
class Packing:
    """Where the rows of a packed sequence stand in the padded one, (steps, batch); longest sequences first.

    real: which places are no padding, as an array where it is known.
    """

    real: Any

    @classmethod
    def of_sizes(cls, batch_sizes: Any, batch: Any, steps: Any = None) -> Packing:
        """From the number of sequences that reach each step; with further `steps`, which none reaches."""
        known = tf.get_static_value(batch_sizes)
        if known is not None and all(isinstance(n, (int, type(None))) for n in (batch, steps)):
            known = np.pad(known, (0, (steps or len(known)) - len(known)))
            return cls(np.arange(batch) < known[:, np.newaxis])
        if steps is not None:
            batch_sizes = tf.pad(batch_sizes, [[0, steps - tf.shape(batch_sizes)[0]]])
        return cls(tf.range(batch) < tf.cast(batch_sizes, tf.int32)[:, tf.newaxis])

    @classmethod
    def of_lengths(cls, lengths: Any, steps: Any) -> Packing:
        """From the length of each sequence."""
        known = tf.get_static_value(lengths)
        if known is not None and isinstance(steps, int):
            return cls(np.arange(steps)[:, np.newaxis] < known)
        return cls(tf.range(steps)[:, tf.newaxis] < tf.cast(lengths, tf.int32))

    @property
    def batch_sizes(self) -> tf.Tensor:
        """How many sequences reach each step that one reaches."""
        counts = tf.reduce_sum(tf.cast(self.real, tf.int64), axis=1)
        longest = tf.reduce_sum(tf.cast(counts > 0, tf.int32))
        known = tf.get_static_value(longest)
        return counts[: longest if known is None else int(known)]

    @property
    def lengths(self) -> tf.Tensor:
        """How long each sequence is."""
        return tf.reduce_sum(tf.cast(self.real, tf.int64), axis=0)

    def packed(self, padded: tf.Tensor) -> tf.Tensor:
        """The rows of (steps, batch, ...) that are no padding, step by step."""
        steps, batch, *rest = sizes(padded)
        flat = tf.reshape(padded, [steps * batch, *rest])
        if isinstance(self.real, np.ndarray):
            return tf.gather(flat, np.flatnonzero(self.real).astype(np.int32))
        return tf.gather(flat, tf.where(tf.reshape(self.real, [-1]))[:, 0])

    def padded(self, rows: tf.Tensor, value: Any = 0.0) -> tf.Tensor:
        """These rows at their places in (steps, batch, ...), and a value at all others."""
        real = tf.constant(self.real) if isinstance(self.real, np.ndarray) else self.real
        nth = tf.cumsum(tf.reshape(tf.cast(real, tf.int32), [-1])) - 1
        steps, batch = sizes(real)
        spread = tf.gather(rows, tf.reshape(tf.maximum(nth, 0), [steps, batch]))
        everywhere = tf.reshape(real, [steps, batch, *[1] * (rank(rows) - 1)])
        return tf.where(everywhere, spread, cast(value, rows.dtype))


def _exchanged(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [1, 0, *range(2, rank(x))])


@expression(torch._pack_padded_sequence, strategy=FORCE_PYTORCH_ORDER)
def pack_padded_sequence(input: tf.Tensor, lengths: tf.Tensor, batch_first: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """_pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first) -> (Tensor, Tensor)"""
    steps_first = _exchanged(input) if batch_first else input
    packing = Packing.of_lengths(lengths, sizes(steps_first)[0])
    return packing.packed(steps_first), packing.batch_sizes


@expression(torch._pad_packed_sequence, strategy=FORCE_PYTORCH_ORDER)
def pad_packed_sequence(
    data: tf.Tensor, batch_sizes: tf.Tensor, batch_first: bool, padding_value: float, total_length: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """_pad_packed_sequence(Tensor data, Tensor batch_sizes, bool batch_first, Scalar padding_value,
    int total_length) -> (Tensor, Tensor)
    """
    known = tf.get_static_value(batch_sizes)
    batch = tf.cast(batch_sizes[0], tf.int32) if known is None else int(known[0])
    whole = isinstance(total_length, int) and total_length <= 0
    packing = Packing.of_sizes(batch_sizes, batch, None if whole else total_length)
    padded = packing.padded(data, padding_value)
    return _exchanged(padded) if batch_first else padded, packing.lengths


@expression(torch._C._nn.pad_sequence, strategy=FORCE_PYTORCH_ORDER)
def pad_sequence(
    sequences: Sequence[tf.Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> tf.Tensor:
    """pad_sequence(Tensor[] sequences, bool batch_first=False, float padding_value=0.0, str padding_side="right")
    -> Tensor
    """
    lengths = [sizes(x)[0] for x in sequences]
    longest = max(lengths) if all(isinstance(n, int) for n in lengths) else tf.reduce_max(lengths)
    padded = []
    for x, length in zip(sequences, lengths):
        ends = (0, longest - length) if padding_side == "right" else (longest - length, 0)
        rest = [(0, 0)] * (rank(x) - 1)
        padded.append(tf.pad(x, [ends, *rest], constant_values=cast(padding_value, x.dtype)))
    return tf.stack(padded, 0 if batch_first else 1)
