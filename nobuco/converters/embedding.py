"""Look-up of rows in a table."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.learned import Learned, filled
from nobuco.converters.support import rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import F, nn, torch
from nobuco.registry import converter, expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


@converter(nn.Embedding, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def Embedding(self: nn.Embedding, input: torch.Tensor) -> keras.layers.Layer:
    """nn.Embedding; `padding_idx` concerns gradients only."""
    table = self.weight.detach()
    if self.max_norm is not None:
        table = renormed(table, self.max_norm, self.norm_type)
    layer = keras.layers.Embedding(*table.shape, dtype=str(table.dtype).split(".")[-1])
    layer.build(tuple(input.shape))
    return filled(layer, Learned.of(self.weight if self.max_norm is None else table))


def renormed(table: torch.Tensor, max_norm: float, norm_type: float) -> torch.Tensor:
    """A table as look-ups see it that shorten rows to `max_norm` first."""
    norms = table.norm(p=norm_type, dim=1, keepdim=True)
    return torch.where(norms > max_norm, table * (max_norm / (norms + 1e-7)), table)


@expression(F.embedding, strategy=FORCE_PYTORCH_ORDER)
def embedding(
    indices: tf.Tensor,
    weight: tf.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, ...) -> Tensor

    With `max_norm` PyTorch shortens the rows in the table itself; the new table is a second result.
    """
    rows = tf.gather(weight, indices)
    if max_norm is None:
        return rows
    norms = tf.norm(rows, ord=norm_type, axis=-1, keepdims=True)
    rows = tf.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows)
    width = weight.shape[1]
    # Not by an update: of what is written to one row twice, TFLite writes the sum.
    places, shape = tf.reshape(indices, [-1, 1]), tf.shape(weight, tf.reshape(indices, [-1]).dtype)
    total = tf.scatter_nd(places, tf.reshape(rows, [-1, width]), shape)
    times = tf.scatter_nd(places, tf.ones_like(tf.reshape(rows, [-1, width])), shape)
    return rows, tf.where(times > 0, total / tf.maximum(times, 1), weight)


@expression(F.embedding_bag, strategy=FORCE_PYTORCH_ORDER)
def embedding_bag(
    input: tf.Tensor,
    weight: tf.Tensor,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """embedding_bag(Tensor weight, Tensor indices, Tensor offsets, ...) -> (Tensor, Tensor, Tensor, Tensor)"""
    if input.dtype.is_floating and weight.dtype.is_integer:  # the order of old, which PyTorch still takes
        input, weight = weight, input
    if max_norm is not None:
        _, table = embedding(input, weight, None, max_norm, norm_type)
        bags = embedding_bag(
            input, table, offsets, None, norm_type, scale_grad_by_freq, mode, sparse,
            per_sample_weights, include_last_offset, padding_idx,
        )  # fmt: skip
        return bags, table
    rows = embedding(input, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[..., tf.newaxis]
    real = None
    if padding_idx is not None:
        real = tf.not_equal(input, tf.cast(padding_idx % weight.shape[0], input.dtype))[..., tf.newaxis]
    if rank(input) == 2:
        return _bags(rows, real, mode)
    ends = offsets[1:] if include_last_offset else tf.concat([offsets[1:], [tf.size(input, offsets.dtype)]], 0)
    starts = offsets[:-1] if include_last_offset else offsets
    # Which element stands in which bag, as a mask (bags, elements, 1).
    at = tf.range(tf.size(input, offsets.dtype), dtype=offsets.dtype)
    inside = ((at >= starts[:, tf.newaxis]) & (at < ends[:, tf.newaxis]))[..., tf.newaxis]
    spread = tf.broadcast_to(rows, [*sizes(inside)[:2], sizes(rows)[-1]])
    return _bags(spread, inside if real is None else inside & real, mode)


def _bags(rows: tf.Tensor, real: tf.Tensor | None, mode: str) -> tf.Tensor:
    """Reduce (bags, elements, features) over the elements that are real; an empty bag gives zeros."""
    if mode == "max":
        if real is None:
            return tf.reduce_max(rows, axis=1)
        highest = tf.reduce_max(tf.where(real, rows, rows.dtype.min), axis=1)
        return tf.where(tf.reduce_any(real, axis=1), highest, tf.zeros([], rows.dtype))
    total = tf.reduce_sum(rows if real is None else tf.where(real, rows, tf.zeros([], rows.dtype)), axis=1)
    if mode == "sum":
        return total
    if real is None:
        return tf.reduce_mean(rows, axis=1)
    return total / tf.maximum(tf.reduce_sum(tf.cast(real, rows.dtype), axis=1), 1)
