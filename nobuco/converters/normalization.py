"""Normalizations, in either channel order. Half precision takes its statistics in float32, as in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import keras
import tensorflow as tf
import torch as pytorch

from nobuco.assemble.learned import filled, learned
from nobuco.bridge import to_numpy
from nobuco.converters.rules import in_one_order
from nobuco.converters.support import aligned, axes, axis, cast, promoted, rank, size, sizes
from nobuco.ir import Node
from nobuco.layout.channels import Order
from nobuco.layout.movement import Freed
from nobuco.layout.strategy import ChannelOrderingStrategy, broadcasting
from nobuco.ops.names import F, Tensor, nn, torch
from nobuco.registry import ChannelUse, Folding, converter, expression

HALF = (tf.float16, tf.bfloat16)


def per_channel(v: Any, x: tf.Tensor, dtype: tf.DType) -> Any:
    """A vector with one entry per channel, in the shape in which it broadcasts along `x`."""
    if v is None:
        return None
    place = axis(x, 1)
    v = tf.cast(v, dtype)
    return v if place == rank(x) - 1 else tf.reshape(v, [-1] + [1] * (rank(x) - 1 - place))


def widened(x: tf.Tensor) -> tf.Tensor:
    """`x`, in float32 if it is of half precision."""
    return cast(x, tf.float32) if x.dtype in HALF else x


def scaled(x: tf.Tensor, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> tf.Tensor:
    """Normalize by statistics that are small against `x`: one multiplication, one addition of its size."""
    scale = tf.math.rsqrt(variance + cast(eps, variance.dtype))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return x * scale + shift


# -- batch --------------------------------------------------------------------------------------------


def _channels(node: Node) -> ChannelUse | None:
    """Its own statistics and weights are in the order of the channels; those of a batch are in a function."""
    return None if node.module.training or node.module.running_mean is None else ChannelUse.EACH


def ordered_batch_norm(self: nn.BatchNorm2d, input: Tensor, taken: Freed, given: Freed) -> Any:
    """The module on channels that have an order of their own."""
    return _batch_norm(self, input, given.order)


@converter(
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    folding=Folding(in_one_order, ordered_batch_norm), channels=_channels,
)  # fmt: skip
def batch_norm_module(self: nn.BatchNorm2d, input: Tensor) -> Any:
    """`keras.layers.BatchNormalization`, which TFLite folds into the convolution before it."""
    if self.training or self.running_mean is None:
        weight, bias = (None if p is None else to_numpy(p) for p in (self.weight, self.bias))
        return lambda input: normalized_by_batch(input, weight, bias, self.eps)
    return _batch_norm(self, input)


def _batch_norm(self: nn.BatchNorm2d, input: Tensor, order: Order | None = None) -> Any:
    layer = keras.layers.BatchNormalization(
        momentum=1 - (0.01 if self.momentum is None else self.momentum),
        epsilon=self.eps,
        center=self.bias is not None,
        scale=self.weight is not None,
        dtype=str(input.dtype).removeprefix("torch."),
    )
    layer.build((None, *(None,) * (input.dim() - 2), input.shape[1]))
    weights = map(learned, (self.weight, self.bias, self.running_mean, self.running_var))
    return filled(layer, *(weight and weight.ordered(0, order) for weight in weights))


@expression(F.batch_norm, strategy=broadcasting, autocast=False)
def batch_norm(
    input: tf.Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None,
    Tensor? bias=None, bool training=False, float momentum=0.1, float eps=1e-5) -> Tensor
    """
    if training:
        y = normalized_by_batch(input, weight, bias, eps)
        if running_mean is None or 0 in input.shape.as_list():  # without statistics
            return y
        others = [i for i in range(rank(input)) if i != axis(input, 1)]
        return (y, *updated_statistics(input, running_mean, running_var, others, momentum))
    x = widened(input)
    mean, variance, weight, bias = (per_channel(v, input, x.dtype) for v in (running_mean, running_var, weight, bias))
    return tf.cast(scaled(x, mean, variance, weight, bias, eps), input.dtype)


@expression(torch.batch_norm, strategy=broadcasting, autocast=False)
def batch_norm_builtin(
    input: tf.Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    """batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var,
    bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor
    """
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def updated_statistics(
    input: tf.Tensor, running_mean: Any, running_var: Any, over: Sequence[int], momentum: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The running mean and (unbiased) variance after a batch, which PyTorch writes in training.

    Statistics are taken over the axes `over`, and averaged over what is left beside the channels.
    """
    x = widened(input)
    lies = sizes(input)
    count = tf.cast(tf.reduce_prod(tf.stack([lies[i] for i in over])), x.dtype)
    mean = tf.reduce_mean(x, over, keepdims=True)
    variance = tf.reduce_sum(tf.math.squared_difference(x, mean), over, keepdims=True) / (count - 1)
    others = [i for i in range(rank(input)) if i != axis(input, 1)]
    new = (tf.cast(tf.reduce_mean(v, others), running_mean.dtype) for v in (mean, variance))
    kept_mean, kept_variance = ((1 - momentum) * old + momentum * v for old, v in zip((running_mean, running_var), new))
    return kept_mean, kept_variance


def normalized_by_batch(input: tf.Tensor, weight: Any, bias: Any, eps: float) -> tf.Tensor:
    """Normalize each channel by the statistics of the batch."""
    others = [i for i in range(rank(input)) if i != axis(input, 1)]
    return normalized_by_channel(input, others, 1, weight, bias, eps)


# -- layer, RMS ---------------------------------------------------------------------------------------


@expression(torch.layer_norm, strategy=broadcasting, autocast=False)
def layer_norm(
    input: tf.Tensor,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> tf.Tensor:
    """layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None,
    float eps=1e-05, bool cudnn_enable=True) -> Tensor
    """
    x = widened(input)
    over = axes(input, range(-len(normalized_shape), 0))
    deviation = x - tf.reduce_mean(x, over, keepdims=True)
    variance = tf.reduce_mean(tf.square(deviation), over, keepdims=True)
    y = deviation * tf.math.rsqrt(variance + cast(eps, x.dtype))
    return affine(y, input, weight, bias)


@expression(torch.rms_norm, strategy=broadcasting, autocast=False)
def rms_norm(input: tf.Tensor, normalized_shape: Sequence[int], weight: Any = None, eps: Any = None) -> tf.Tensor:
    """rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor"""
    x = widened(input)
    over = axes(input, range(-len(normalized_shape), 0))
    square = tf.reduce_mean(tf.square(x), over, keepdims=True)
    eps = torch.finfo(getattr(torch, x.dtype.name)).eps if eps is None else eps
    return affine(x * tf.math.rsqrt(square + cast(eps, x.dtype)), input, weight, None)


def affine(y: tf.Tensor, input: tf.Tensor, weight: Any, bias: Any) -> tf.Tensor:
    """`y * weight + bias` in the dtype of `input`, the two aligned to its last dimensions."""
    _, weight, bias = aligned(input, weight, bias)
    y = y if weight is None else y * tf.cast(weight, y.dtype)
    y = y if bias is None else y + tf.cast(bias, y.dtype)
    return tf.cast(y, input.dtype)


# -- group, instance ----------------------------------------------------------------------------------


@expression(F.group_norm, strategy=broadcasting, autocast=False)
def group_norm(
    input: tf.Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> tf.Tensor:
    """group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05,
    bool cudnn_enabled=True) -> Tensor
    """
    channels = size(input, 1)
    over = axes(input, range(2, rank(input))) if rank(input) > 2 else []
    if isinstance(num_groups, int) and num_groups == 1:  # no channel is told from another
        return normalized_by_channel(input, [axis(input, 1), *over], 1, weight, bias, eps)
    return normalized_by_channel(input, over, channels // num_groups, weight, bias, eps)


@functools.cache
def _writes_statistics_back() -> bool:
    """Whether this PyTorch writes the running statistics as they were, where it only reads them (2.9 does)."""
    mean, one = pytorch.zeros(1), pytorch.ones(1)
    pytorch.instance_norm(pytorch.zeros(1, 1, 2), None, None, mean, one, False, 0.1, 1e-5, False)
    return mean._version > 0


@expression(F.instance_norm, strategy=broadcasting, autocast=False)
def instance_norm(
    input: tf.Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None,
    Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-5) -> Tensor
    """
    if not use_input_stats:
        y = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return (y, running_mean, running_var) if _writes_statistics_back() else y
    over = axes(input, range(2, rank(input)))
    y = normalized_by_channel(input, over, 1, weight, bias, eps)
    return y if running_mean is None else (y, *updated_statistics(input, running_mean, running_var, over, momentum))


@expression(torch.instance_norm, strategy=broadcasting, autocast=False)
def instance_norm_builtin(
    input: tf.Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    """instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var,
    bool use_input_stats, float momentum, float eps, bool cudnn_enabled) -> Tensor
    """
    return instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def normalized_by_channel(
    input: tf.Tensor, over: Sequence[int], group: Any, weight: Any, bias: Any, eps: float
) -> tf.Tensor:
    """Normalize by statistics over the axes `over`, pooled among each `group` neighbouring channels.

    Groups are pooled on the means per channel: `x` itself is never reshaped, and a group's scale joins with
    the channel's weight before it meets `x`.
    """
    x = widened(input)
    mean = _pooled(tf.reduce_mean(x, over, keepdims=True), group)
    variance = _pooled(tf.reduce_mean(tf.math.squared_difference(x, mean), over, keepdims=True), group)
    weight, bias = (per_channel(v, input, x.dtype) for v in (weight, bias))
    return tf.cast(scaled(x, mean, variance, weight, bias, eps), input.dtype)


def _pooled(means: tf.Tensor, group: Any) -> tf.Tensor:
    """Means per channel (axes but the batch's are of size one), each replaced by that of its group."""
    if isinstance(group, int) and group == 1:
        return means
    shape = sizes(means)
    grouped = tf.reshape(means, (shape[0], prod(shape[1:]) // group, group))
    average = tf.reduce_mean(grouped, 2, keepdims=True)
    return tf.reshape(tf.tile(average, (1, 1, group)), shape)


@converter(F.local_response_norm)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """local_response_norm(Tensor input, int size, float alpha=1e-4, float beta=0.75, float k=1) -> Tensor"""

    def func(input: Any, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Any:
        if size % 2 and rank(input) == 4 and input.dtype == tf.float32:
            return tf.nn.local_response_normalization(input, size // 2, k, alpha / size, beta)
        lead = [[0, 0]] * (rank(input) - 1)
        squares = tf.pad(tf.square(input), [*lead, [size // 2, (size - 1) // 2]])
        channels = sizes(input)[-1]
        window = tf.add_n([squares[..., i : i + channels] for i in range(size)])
        # The average of integers is one, in PyTorch.
        share, factor = (window // size, alpha) if window.dtype.is_integer else (window, alpha / size)
        x, share = promoted(input, share, to_float=True)
        return x / tf.pow(share * factor + k, beta)

    return func


@expression(torch._weight_norm, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def weight_norm(v: tf.Tensor, g: tf.Tensor, dim: int = 0) -> tf.Tensor:
    """_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor"""
    others = [i for i in range(rank(v)) if i != dim]  # -1: one norm for all
    return v * (g / tf.sqrt(tf.reduce_sum(tf.square(v), others, keepdims=True)))
