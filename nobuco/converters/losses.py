"""Losses that PyTorch opens into calls that give something else; it opens all others right."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.support import cast, rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
NONE, MEAN = 0, 1


@expression(aten.multilabel_margin_loss_forward.default, strategy=FORCE_PYTORCH_ORDER)
def multilabel_margin_loss_forward(input: tf.Tensor, target: tf.Tensor, reduction: int) -> Any:
    """multilabel_margin_loss_forward(Tensor self, Tensor target, int reduction) -> (Tensor output, Tensor is_target)

    The labels of a row end at the first -1; PyTorch's decomposition takes what follows for the first class.
    """
    count = sizes(input)[-1] if rank(input) else 1
    x, labels = (tf.reshape(t, [-1, count]) for t in (input, target))
    is_label = tf.cumsum(cast(labels < 0, tf.int32), 1) == 0
    labels = tf.where(is_label, labels, tf.zeros([], labels.dtype))
    chosen = tf.gather(x, labels, axis=1, batch_dims=1)
    stands_for = tf.logical_and(is_label[:, :, None], labels[:, :, None] == tf.range(count, dtype=labels.dtype))
    is_target = tf.reduce_any(stands_for, 1)
    missing = tf.nn.relu(1 - chosen[:, :, None] + x[:, None, :])  # (rows, labels, classes)
    counts = tf.logical_and(is_label[:, :, None], tf.logical_not(is_target)[:, None, :])
    loss = tf.reduce_sum(tf.where(counts, missing, tf.zeros([], x.dtype)), [1, 2]) / cast(count, x.dtype)
    if reduction == MEAN:
        loss = tf.reduce_mean(loss)
    elif reduction != NONE or rank(input) < 2:
        loss = tf.reduce_sum(loss)
    return loss, tf.reshape(cast(is_target, x.dtype), sizes(target))
