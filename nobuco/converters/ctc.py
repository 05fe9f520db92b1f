"""The CTC loss: the sum over all alignments, in logarithms, step by step.

TensorFlow's own normalizes its input, takes other lengths, and is beyond TFLite.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.support import cast, rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import F, aten, torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER

# In place of minus infinity, which would make NaN of differences.
NEVER = -1e30
REDUCTIONS = "none", "mean", "sum"


@expression(torch.ctc_loss, strategy=FORCE_PYTORCH_ORDER)
def ctc_loss_by_number(
    log_probs: tf.Tensor,
    targets: tf.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> tf.Tensor:
    """ctc_loss.Tensor(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0,
    int reduction=1, bool zero_infinity=False) -> Tensor

    Called from Python it reduces nothing by default, whatever the schema says.
    """
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, REDUCTIONS[reduction], zero_infinity)


@expression(aten.ctc_loss.Tensor, aten.ctc_loss.IntList, strategy=FORCE_PYTORCH_ORDER)
def ctc_loss_by_schema(
    log_probs: tf.Tensor,
    targets: tf.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> tf.Tensor:
    """ctc_loss.Tensor(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0,
    int reduction=1, bool zero_infinity=False) -> Tensor
    """
    return ctc_loss_by_number(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)


@expression(F.ctc_loss, strategy=FORCE_PYTORCH_ORDER)
def ctc_loss(
    log_probs: tf.Tensor,
    targets: tf.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> tf.Tensor:
    """F.ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0,
    str reduction="mean", bool zero_infinity=False) -> Tensor
    """
    unbatched = rank(log_probs) == 2
    x = tf.maximum(log_probs[:, tf.newaxis] if unbatched else log_probs, NEVER)
    given, wanted = (tf.reshape(tf.cast(n, tf.int32), [-1]) for n in (input_lengths, target_lengths))
    labels = _padded(tf.cast(targets, tf.int32), wanted)
    loss = -_likelihood(x, labels, given, wanted, blank)
    never = tf.zeros([], loss.dtype) if zero_infinity else tf.constant(float("inf"), loss.dtype)
    loss = tf.where(loss > -NEVER / 10, never, loss)
    if reduction == "mean":
        return tf.reduce_mean(loss / cast(tf.maximum(wanted, 1), loss.dtype))
    if reduction == "sum":
        return tf.reduce_sum(loss)
    return loss[0] if unbatched else loss


def _padded(targets: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """(batch, longest); those of all sequences may come one behind the other."""
    if rank(targets) == 2:
        return targets
    starts = tf.cumsum(lengths, exclusive=True)
    count = sizes(targets)[0]
    places = starts[:, tf.newaxis] + tf.range(count)
    return tf.gather(tf.pad(targets, [[0, 1]]), tf.minimum(places, count))


def _likelihood(x: tf.Tensor, labels: tf.Tensor, given: tf.Tensor, wanted: tf.Tensor, blank: int) -> tf.Tensor:
    """(batch,): the logarithm of how likely the labels are, of log-probabilities (steps, batch, classes)."""
    steps, batch, _ = sizes(x)
    width = 2 * sizes(labels)[1] + 1
    # A blank before each label, and one at the end.
    states = tf.reshape(tf.stack([tf.fill(tf.shape(labels), blank), labels], -1), [batch, width - 1])
    states = tf.pad(states, [[0, 0], [0, 1]], constant_values=blank)
    may_skip = states != tf.pad(states, [[0, 0], [2, 0]])[:, :width]  # as in PyTorch, which takes blanks for labels
    of_states = tf.gather(x, tf.tile(states[tf.newaxis], [steps, 1, 1]), axis=2, batch_dims=2)
    nowhere = tf.fill([batch, width], tf.constant(NEVER, x.dtype))
    start = tf.concat([tf.zeros([batch, 1], x.dtype), nowhere[:, 1:]], 1)

    def step(t: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shifted = tf.pad(at, [[0, 0], [2, 0]], constant_values=NEVER)
        skipped = tf.where(may_skip, shifted[:, :width], nowhere)
        now = of_states[t] + _log_sum(tf.stack([at, shifted[:, 1 : width + 1], skipped]))
        return t + 1, tf.where(t < given[:, tf.newaxis], now, at)

    _, last = tf.while_loop(lambda t, _: t < steps, step, (tf.constant(0), start))
    places = tf.range(width)
    ends = (places == 2 * wanted[:, tf.newaxis]) | (places == 2 * wanted[:, tf.newaxis] - 1)
    return _log_sum(tf.transpose(tf.where(ends, last, nowhere)))


def _log_sum(x: tf.Tensor) -> tf.Tensor:
    """Over the first axis. TensorFlow's own asks for what is finite, which TFLite cannot."""
    highest = tf.reduce_max(x, 0)
    return highest + tf.math.log(tf.reduce_sum(tf.exp(x - highest), 0))
