"""The wrong converters: most made by rule from an operation and its parameters, the rest by hand in a line each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

from conformance.mutants import by_hand as hand
from conformance.mutants.kinds import of_kinds
from conformance.mutants.practice import practice
from conformance.mutants.rare import rare
from conformance.mutants.rules import Mutant, halved, ignored, misled, moved, replaced, spoiled
from conformance.mutants.sly import sly
from conformance.mutants.unusual import unusual

_LAYOUT = "stride", "padding", "dilation", "groups"


def _parameters() -> Iterable[list[Mutant]]:
    """Half of every value, or one value, whatever the parameter is."""
    for n in (1, 2, 3):
        yield halved(getattr(nn, f"Conv{n}d"), *_LAYOUT, "bias", "padding_mode")
        yield halved(getattr(nn, f"ConvTranspose{n}d"), *_LAYOUT, "output_padding", "bias")
    yield ignored(nn.Conv2d, padding_mode="zeros", bias=None)
    yield ignored(nn.ConvTranspose2d, output_padding=0, bias=None)
    yield ignored(nn.Linear, bias=None)
    yield ignored(nn.Bilinear, bias=None)
    yield halved(nn.Linear, "bias")
    yield halved(torch.conv2d, *_LAYOUT, "bias")
    yield halved(torch.conv_transpose2d, *_LAYOUT, "output_padding", "bias")
    yield ignored(torch.conv2d, dilation=1, bias=None)
    yield ignored(torch.conv_transpose2d, output_padding=0)
    yield ignored(F.linear, bias=None)
    yield from _pools()
    yield from _norms()
    yield from _activations()
    yield from _reductions()
    yield from _orders()
    yield from _images()
    yield from _sequences()
    yield from _arithmetic()
    yield from _losses()


def _pools() -> Iterable[list[Mutant]]:
    yield halved(F.max_pool2d, "stride", "padding", "dilation", "ceil_mode")
    yield ignored(F.max_pool2d, padding=0, dilation=1, ceil_mode=False)
    yield halved(F.avg_pool2d, "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    yield ignored(F.avg_pool2d, ceil_mode=False, count_include_pad=True, divisor_override=None)
    yield halved(torch.avg_pool1d, "stride", "padding", "ceil_mode", "count_include_pad")
    yield halved(F.avg_pool3d, "ceil_mode", "count_include_pad", "divisor_override")
    yield halved(F.lp_pool2d, "stride", "ceil_mode")
    yield ignored(F.lp_pool2d, norm_type=2)
    yield ignored(F.max_unpool2d, padding=0)


def _norms() -> Iterable[list[Mutant]]:
    yield halved(nn.BatchNorm2d, "eps", "affine", "track_running_stats")
    yield ignored(nn.BatchNorm2d, eps=1e-5, weight=None, bias=None)
    yield ignored(F.batch_norm, eps=1e-5, training=False, weight=None, bias=None, momentum=0.1)
    yield ignored(F.layer_norm, eps=1e-5, weight=None, bias=None)
    yield ignored(F.group_norm, eps=1e-5, weight=None, bias=None)
    yield ignored(F.instance_norm, eps=1e-5, use_input_stats=True, weight=None, momentum=0.1)
    yield ignored(F.rms_norm, eps=None, weight=None)
    yield ignored(F.local_response_norm, alpha=1e-4, beta=0.75, k=1.0)
    yield ignored(F.normalize, p=2.0, dim=1, eps=1e-12)
    yield ignored(torch.cosine_similarity, dim=1, eps=1e-8)
    yield ignored(torch.pairwise_distance, p=2.0, eps=1e-6, keepdim=False)
    yield ignored(torch.cdist, p=2.0)


def _activations() -> Iterable[list[Mutant]]:
    yield ignored(F.gelu, approximate="none")
    yield ignored(F.leaky_relu, negative_slope=0.01)
    yield ignored(F.elu, alpha=1.0)
    yield ignored(F.celu, alpha=1.0)
    yield ignored(F.hardtanh, min_val=-1.0, max_val=1.0)
    yield ignored(F.softplus, beta=1, threshold=20)
    yield ignored(F.hardshrink, lambd=0.5)
    yield ignored(F.softshrink, lambd=0.5)
    yield ignored(F.threshold, value=0.0)
    yield ignored(F.glu, dim=-1)
    yield ignored(torch.logit, eps=None)
    yield halved(F.softmax, "dtype")


def _reductions() -> Iterable[list[Mutant]]:
    for operation in (torch.sum, torch.mean, torch.argmax, torch.any, torch.norm):
        yield halved(operation, "keepdim", "dim")
    yield halved(torch.amax, "keepdim")
    yield ignored(torch.logsumexp, keepdim=False)
    yield ignored(torch.norm, p="fro")
    yield ignored(torch.linalg.vector_norm, ord=2)
    yield ignored(torch.var, correction=1, unbiased=True)
    yield ignored(torch.std, correction=1, unbiased=True)
    yield ignored(torch.median, keepdim=False)
    yield ignored(torch.mode, keepdim=False)
    yield halved(torch.sum, "dtype")
    yield ignored(torch.histc, bins=100, min=0)
    yield ignored(torch.bincount, weights=None, minlength=0)


def _orders() -> Iterable[list[Mutant]]:
    yield ignored(torch.topk, largest=True, dim=-1)
    yield halved(torch.topk, "largest", "sorted", "dim")
    yield ignored(torch.kthvalue, dim=-1, keepdim=False)
    yield ignored(torch.searchsorted, right=False, side=None, sorter=None)
    yield ignored(torch.bucketize, right=False)
    yield [replaced(torch.argsort, "descending is False whatever it is", hand.ascending)]


def _images() -> Iterable[list[Mutant]]:
    yield ignored(F.interpolate, align_corners=False, antialias=False, mode="nearest", recompute_scale_factor=None)
    yield halved(F.interpolate, "align_corners", "antialias", "scale_factor")
    yield ignored(F.grid_sample, align_corners=False, padding_mode="zeros", mode="bilinear")
    yield ignored(F.affine_grid, align_corners=False)
    yield ignored(F.pad, value=0.0, mode="constant")
    yield ignored(F.unfold, dilation=1, stride=1, padding=0)
    yield ignored(F.fold, dilation=1, stride=1, padding=0)
    yield ignored(torch.roll, dims=())
    yield ignored(torch.tril, diagonal=0)
    yield ignored(torch.diagonal, offset=0)
    yield ignored(torch.rot90, k=1)


def _sequences() -> Iterable[list[Mutant]]:
    yield ignored(F.embedding, max_norm=None, norm_type=2.0)
    yield ignored(F.embedding_bag, padding_idx=None, max_norm=None, mode="mean", include_last_offset=False)
    yield ignored(F.embedding_bag, per_sample_weights=None)
    yield halved(nn.Embedding, "padding_idx")
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        yield halved(kind, "bias", "num_layers", "batch_first", "bidirectional")
    yield halved(nn.LSTM, "proj_size")
    yield ignored(nn.RNN, mode="RNN_TANH")
    yield ignored(nn.RNNCell, nonlinearity="tanh")
    yield halved(nn.LSTMCell, "bias")
    yield halved(nn.GRUCell, "bias")
    yield ignored(F.scaled_dot_product_attention, scale=None, is_causal=False, attn_mask=None)
    yield halved(F.scaled_dot_product_attention, "scale", "is_causal", "enable_gqa")
    yield halved(nn.MultiheadAttention, "batch_first", "add_zero_attn")
    yield ignored(nn.MultiheadAttention, bias_k=None, add_zero_attn=False, in_proj_bias=None)


def _arithmetic() -> Iterable[list[Mutant]]:
    yield ignored(torch.add, alpha=1)
    yield ignored(torch.sub, alpha=1)
    yield ignored(torch.addmm, beta=1, alpha=1)
    yield ignored(torch.addcmul, value=1)
    yield ignored(torch.addcdiv, value=1)
    yield ignored(torch.div, rounding_mode=None)
    yield ignored(torch.round, decimals=0)
    yield ignored(torch.clamp, min=None, max=None)
    yield ignored(torch.nan_to_num, nan=0.0, posinf=None, neginf=None)
    yield ignored(torch.isclose, rtol=1e-5, atol=1e-8, equal_nan=False)
    yield ignored(torch.scatter_reduce, include_self=True)
    yield ignored(torch.index_add, alpha=1)
    yield ignored(torch.cross, dim=None)
    yield ignored(torch.repeat_interleave, dim=None)


def _losses() -> Iterable[list[Mutant]]:
    yield ignored(F.mse_loss, reduction="mean")
    yield ignored(F.smooth_l1_loss, reduction="mean", beta=1.0)
    yield ignored(F.huber_loss, delta=1.0)
    yield ignored(F.ctc_loss, blank=0, reduction="mean", zero_infinity=False)


# What no rule makes: other numbers, other ends, other orders.
_BY_HAND = (
    replaced(torch.round, "half is rounded up", hand.half_up),
    replaced(torch.round, "half is rounded away from zero", hand.away_from_zero),
    replaced(torch.log1p, "log(1 + x)", lambda x: tf.math.log(1 + hand.real(x))),
    replaced(torch.expm1, "exp(x) - 1", lambda x: tf.exp(hand.real(x)) - 1),
    replaced(torch.logsumexp, "no largest value is taken out", hand.naive_logsumexp),
    replaced(F.log_softmax, "log of the softmax", hand.naive_log_softmax),
    replaced(F.softplus, "log(1 + exp(x))", hand.naive_softplus),
    replaced(F.logsigmoid, "log of the sigmoid", lambda x: tf.math.log(tf.sigmoid(x))),
    replaced(torch.logaddexp, "no larger value is taken out", hand.naive_logaddexp),
    replaced(torch.sinh, "(exp(x) - exp(-x)) / 2", lambda x: (tf.exp(hand.real(x)) - tf.exp(-hand.real(x))) / 2),
    replaced(torch.asinh, "log(x + sqrt(x² + 1))", hand.naive_asinh),
    replaced(torch.sign, "1 at zero", lambda x: tf.where(x >= 0, tf.ones_like(x), -tf.ones_like(x))),
    replaced(torch.floor, "truncated", lambda x: hand.truncated(x)),
    replaced(torch.ceil, "one above the floor", lambda x: tf.floor(x) + 1 if x.dtype.is_floating else x),
    replaced(torch.frac, "of a negative number positive", lambda x: x - tf.floor(x)),
    replaced(torch.trunc, "floor", lambda x: tf.floor(x) if x.dtype.is_floating else x),
    spoiled(torch.remainder, "the sign is lost", tf.abs),
    spoiled(torch.fmod, "the sign is lost", tf.abs),
    replaced(F.relu, "of small negative numbers a little", lambda x, inplace=False: tf.where(x > -1e-3, x, 0 * x)),
    replaced(F.relu6, "no upper end", lambda x, inplace=False: tf.nn.relu(x)),
    replaced(F.hardswish, "no upper end", lambda x, inplace=False: x * tf.nn.relu(x + 3) / 6),
    replaced(F.hardshrink, "the threshold itself passes", lambda x, lambd=0.5: tf.where(abs(x) >= lambd, x, 0 * x)),
    replaced(F.gelu, "always the approximation by tanh", lambda x, approximate="none": tf.nn.gelu(x, True)),
    replaced(F.gelu, "x · sigmoid(1.702 x)", lambda x, approximate="none": x * tf.sigmoid(1.702 * x)),
    replaced(torch.atan2, "atan of the quotient", lambda x, other: tf.atan(hand.real(x) / hand.real(other))),
    replaced(torch.where, "the mask's other side", lambda condition, input, other: tf.where(condition, other, input)),
    replaced(torch.masked_fill, "the mask's other side", hand.other_filled),
    replaced(torch.argmax, "the last of equal ones", hand.last_argmax),
    replaced(torch.argmin, "the last of equal ones", hand.last_argmin),
    replaced(torch.heaviside, "1 at zero", hand.heaviside_of_zero),
    replaced(torch.pow, "of the absolute value", hand.power_of_absolute),
    replaced(torch.copysign, "zero is positive, whatever its sign", hand.copysign_of_zero),
    replaced(torch.rsqrt, "a little is added", lambda x: tf.math.rsqrt(hand.real(x) + 1e-6)),
    replaced(torch.reciprocal, "no infinity at zero", lambda x: tf.math.divide_no_nan(tf.ones([]), hand.real(x))),
    replaced(torch.maximum, "NaN is passed over", hand.maximum_without_nan),
    misled(F.scaled_dot_product_attention, "booleans mean masked", hand.with_negated_mask),
    misled(nn.LSTM, "the forget gate stands first", hand.with_gates_swapped),
    misled(nn.GRU, "update and reset gates change places", hand.with_gates_swapped),
    misled(nn.GRU, "the new gate's bias joins before the reset", hand.with_bias_before_reset),
    misled(nn.GRUCell, "the new gate's bias joins before the reset", hand.with_bias_before_reset),
    misled(nn.LSTM, "begins with zeros", hand.without_state),
    misled(nn.GRU, "begins with zeros", hand.without_state),
    misled(nn.LSTMCell, "begins with zeros", hand.without_state),
    misled(nn.LSTM, "the cell's state begins with zeros", hand.without_cell_state),
    misled(nn.LSTM, "the backward direction has the forward one's weights", hand.one_direction),
    misled(nn.PReLU, "one slope for all channels", hand.one_slope),
    misled(nn.Embedding, "the row of padding_idx is zero", hand.padding_row_zero),
    moved(F.pixel_shuffle, "in TensorFlow's order", hand.depth_to_space),
    moved(F.pixel_unshuffle, "in TensorFlow's order", hand.space_to_depth),
    moved(F.channel_shuffle, "groups and channels change places", hand.other_shuffle),
    misled(F.pad, "reflected with the edge", hand.with_mode("reflect", "replicate")),
    misled(F.pad, "circular is reflected", hand.with_mode("circular", "reflect")),
    misled(F.pad, "sides change places", hand.with_pad_reversed),
    misled(nn.Conv2d, "circular is reflected", hand.circular_as_reflect),
    misled(nn.Conv2d, "'same' pads more before than behind", hand.same_before),
    spoiled(nn.Linear, "the second sample is the first", hand.first_sample_for_all),
    *(spoiled(operation, "the last sample is half", hand.last_sample_half) for operation in hand.BATCHED),
    *(spoiled(operation, "the last place of the width is half", hand.last_place_half) for operation in hand.SPATIAL),
    *(hand.at_odd(operation) for operation in hand.SPATIAL),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (
    *itertools.chain.from_iterable(_parameters()), *_BY_HAND, *rare(), *of_kinds(), *sly(), *unusual(), *practice()
)  # fmt: skip
