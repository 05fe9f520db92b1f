"""Activations: what `torch.nn.functional` calls an activation, softmax, and dropout.

Forms are chosen so that TFLite's converter finds its own operation in them (HARD_SWISH, GELU, PRELU, ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.assemble.learned import Learned, filled
from nobuco.bridge import tf_dtype, to_numpy
from nobuco.converters.arithmetic import bounded
from nobuco.converters.rules import along_last, in_one_order
from nobuco.converters.support import axis, cast, elementwise, promoted, rank, scalar_as_vector, sizes
from nobuco.ir import Node
from nobuco.layout.channels import Order
from nobuco.layout.movement import Freed
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.ops.names import F, aten, nn, torch
from nobuco.registry import ChannelUse, Folding, converter, expression

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


@elementwise(torch.relu)
def relu(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """relu(Tensor self) -> Tensor"""
    return tf.nn.relu(input)


@elementwise(F.relu6)
def relu6(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """relu6(Tensor self) -> Tensor"""
    return tf.nn.relu6(input)


@elementwise(F.hardtanh)
def hardtanh(input: tf.Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> tf.Tensor:
    """hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor"""
    return bounded(input, min_val, max_val)


@elementwise(F.leaky_relu)
def leaky_relu(input: tf.Tensor, negative_slope: float = 0.01, inplace: bool = False) -> tf.Tensor:
    """leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor"""
    return tf.nn.leaky_relu(input, negative_slope)


@elementwise(torch.rrelu)
def rrelu(
    input: tf.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> tf.Tensor:
    """rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.33333333333333331, bool training=False, ...) -> Tensor"""
    if training:
        slope = tf.random.uniform(sizes(input), lower, upper, input.dtype)
        return tf.where(input >= 0, input, input * slope)
    return tf.nn.leaky_relu(input, (lower + upper) / 2)


def _slope_per_channel(node: Node) -> list[Signature]:
    """Any order for the first tensor, and the same for what comes out; the slopes are a vector."""
    orders = (TENSORFLOW, PYTORCH) if node.inputs[0].rank >= 3 else (PYTORCH,)
    return [Signature((order, *[PYTORCH] * (len(node.inputs) - 1)), (order,)) for order in orders]


def _slope_layer(node: Node) -> list[Signature]:
    """A layer's slopes have a fixed place, so one with a slope per channel is made for channels last."""
    any_order = _slope_per_channel(node)
    return any_order if node.module.weight.numel() == 1 else any_order[:1]


@expression(torch.prelu, strategy=_slope_per_channel)
def prelu(input: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """prelu(Tensor self, Tensor weight) -> Tensor"""
    # TFLite's PRELU is found in this sum where the slope has every dimension but the batch's.
    shape = [1] * max(rank(input) - 1, 0)
    if rank(input) > 1:
        shape[axis(input, 1) - 1] = -1
    slope = tf.reshape(weight, shape)
    if rank(input) > 4:  # which that PRELU does not take
        return tf.where(input > 0, input, slope * input)
    return tf.nn.relu(input) + -slope * tf.nn.relu(-input)


def ordered_prelu(self: nn.PReLU, input: torch.Tensor, taken: Freed, given: Freed) -> Any:
    """The module on channels that have an order of their own."""
    return _prelu(self, input, given.order)


@converter(
    nn.PReLU,
    channel_ordering_strategy=_slope_layer,
    folding=Folding(in_one_order, ordered_prelu),
    channels=lambda node: ChannelUse.EACH if 2 <= node.inputs[0].rank <= 4 else None,
)
def prelu_layer(self: nn.PReLU, input: torch.Tensor) -> Any:
    """PReLU(num_parameters=1, init=0.25)(Tensor input) -> Tensor"""
    return _prelu(self, input)


def _prelu(self: nn.PReLU, input: torch.Tensor, lies: Order | None = None) -> Any:
    slopes = to_numpy(self.weight)
    if input.ndim < 2 or input.ndim > 4:  # no batch: Keras has no layer for it; and TFLite's PRELU has four axes
        return lambda input: prelu(input, tf.constant(slopes))
    single = slopes.size == 1
    order = PYTORCH if single else TENSORFLOW
    shared = [a for a in range(1, input.ndim) if single or a != order.axis(1, input.ndim)]
    layer = keras.layers.PReLU(shared_axes=shared, dtype=slopes.dtype.name)
    layer.build(tuple(order.to_physical(input.shape)))
    weight = Learned.of(self.weight).ordered(0, None if single else lies)
    return filled(layer, weight.reshape(*layer.alpha.shape))


def _elu(x: tf.Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> tf.Tensor:
    """ELU with its negative side's height and slope set apart, and the whole scaled."""
    if alpha == input_scale == scale == 1:
        return tf.nn.elu(x)
    negative = tf.nn.elu(x if input_scale == 1 else x * input_scale)
    return tf.where(x > 0, x if scale == 1 else scale * x, scale * alpha * negative)


@elementwise(F.elu)
def elu(
    input: tf.Tensor, alpha: float = 1.0, inplace: bool = False, *, scale: float = 1.0, input_scale: float = 1.0
) -> tf.Tensor:
    """elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor"""
    return _elu(input, alpha, scale, input_scale)


@elementwise(torch.celu)
def celu(input: tf.Tensor, alpha: float = 1.0, inplace: bool = False) -> tf.Tensor:
    """celu(Tensor self, Scalar alpha=1.0) -> Tensor"""
    return _elu(input, alpha, input_scale=1 / alpha)


@elementwise(torch.selu)
def selu(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """selu(Tensor self) -> Tensor"""
    return _elu(input, alpha=1.6732632423543772, scale=1.0507009873554805)


@elementwise(F.gelu)
def gelu(input: tf.Tensor, *, approximate: str = "none") -> tf.Tensor:
    """gelu(Tensor self, *, str approximate='none') -> Tensor"""
    if approximate == "none" and input.dtype == tf.float32:
        # TensorFlow's own form has Erfc, which TF.js lacks; PyTorch has this one, and in 32 bits both are as exact.
        return 0.5 * input * (1 + tf.math.erf(input / math.sqrt(2)))
    return tf.nn.gelu(input, approximate=approximate == "tanh")


@elementwise(F.silu)
def silu(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """silu(Tensor self) -> Tensor"""
    return input * tf.sigmoid(input)


@elementwise(F.mish)
def mish(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """mish(Tensor self) -> Tensor"""
    return input * tf.tanh(tf.nn.softplus(input))


@elementwise(F.hardswish)
def hardswish(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """hardswish(Tensor self) -> Tensor"""
    # In another order oneDNN fuses it with a convolution into an operation that TF.js does not have.
    return tf.nn.relu6(input + 3) * (1 / 6) * input


@elementwise(F.hardsigmoid)
def hardsigmoid(input: tf.Tensor, inplace: bool = False) -> tf.Tensor:
    """hardsigmoid(Tensor self) -> Tensor"""
    return tf.nn.relu6(input + 3) * (1 / 6)


@elementwise(torch.hardshrink)
def hardshrink(input: tf.Tensor, lambd: float = 0.5) -> tf.Tensor:
    """hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor"""
    return tf.where(tf.abs(input) <= lambd, tf.zeros([], input.dtype), input)


@elementwise(F.softshrink)
def softshrink(input: tf.Tensor, lambd: float = 0.5) -> tf.Tensor:
    """softshrink(Tensor self, Scalar lambd=0.5) -> Tensor"""
    return input - bounded(input, -lambd, lambd)


@elementwise(F.tanhshrink, to_float=True)
def tanhshrink(input: tf.Tensor) -> tf.Tensor:
    """tanhshrink(Tensor input) -> Tensor"""
    return input - tf.tanh(input)


@elementwise(F.softplus)
def softplus(input: tf.Tensor, beta: float = 1, threshold: float = 20) -> tf.Tensor:
    """softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor"""
    scaled = input if beta == 1 else input * beta
    curved = tf.nn.softplus(scaled)
    return tf.where(scaled > threshold, input, curved if beta == 1 else curved / beta)


@elementwise(F.softsign)
def softsign(input: tf.Tensor) -> tf.Tensor:
    """softsign(Tensor input) -> Tensor, of integers that wrap around before they are divided"""
    x, y = promoted(input, 1 + (input if input.dtype.is_unsigned else tf.abs(input)), to_float=True)
    return x / y


@elementwise(F.logsigmoid, aten.log_sigmoid.default)
def logsigmoid(input: tf.Tensor) -> tf.Tensor:
    """log_sigmoid(Tensor self) -> Tensor"""
    # -softplus(-x) in the form that TFLite, which writes softplus as log(exp(x) + 1), cannot overflow.
    return tf.minimum(input, 0) - tf.math.log1p(tf.exp(-tf.abs(input)))


@elementwise(torch.threshold)
def threshold(input: tf.Tensor, threshold: float, value: float, inplace: bool = False) -> tf.Tensor:
    """threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor"""
    return tf.where(input <= cast(threshold, input.dtype), cast(value, input.dtype), input)


@elementwise(torch.sigmoid, torch.special.expit, to_float=True)
def sigmoid(input: tf.Tensor) -> tf.Tensor:
    """sigmoid(Tensor self) -> Tensor"""
    return tf.sigmoid(input)


@elementwise(torch.tanh, to_float=True)
def tanh(input: tf.Tensor) -> tf.Tensor:
    """tanh(Tensor self) -> Tensor"""
    return tf.tanh(input)


@expression(F.glu)
def glu(input: tf.Tensor, dim: int = -1) -> tf.Tensor:
    """glu(Tensor self, int dim=-1) -> Tensor"""
    value, gate = tf.split(input, 2, axis(input, dim))
    return value * tf.sigmoid(gate)


def _softmax_dim(input: Any, dim: int | None = None, *_: Any, **__: Any) -> int:
    """The dimension that PyTorch takes where none is given."""
    if dim is None:
        return 0 if rank(input) in (0, 1, 3) else 1
    return dim


def _along(input: tf.Tensor, dim: int | None, dtype: torch.dtype | None) -> tuple[tf.Tensor, int]:
    return cast(input, tf_dtype(dtype) if dtype else input.dtype), axis(input, _softmax_dim(input, dim))


def _normalised(function: Callable[..., tf.Tensor], input: tf.Tensor, place: int) -> tf.Tensor:
    """A softmax along an axis; TensorFlow's take five: where there are more, those before and behind become one each."""
    if rank(input) <= 5:
        return function(input, place)
    size = sizes(input)
    three = tf.reshape(input, [math.prod(size[:place]), size[place], math.prod(size[place + 1 :])])
    return tf.reshape(function(three, 1), size)


@expression(torch.softmax, torch.special.softmax, strategy=along_last(_softmax_dim))
@scalar_as_vector
def softmax(
    input: tf.Tensor, dim: int | None = None, dtype: torch.dtype | None = None, _stacklevel: int = 3
) -> tf.Tensor:
    """softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor"""
    return _normalised(tf.nn.softmax, *_along(input, dim, dtype))


@expression(F.softmin, strategy=along_last(_softmax_dim))
@scalar_as_vector
def softmin(
    input: tf.Tensor, dim: int | None = None, dtype: torch.dtype | None = None, _stacklevel: int = 3
) -> tf.Tensor:
    """softmin(Tensor input, int dim, ScalarType? dtype=None) -> Tensor"""
    # PyTorch negates before it casts, which bytes without a sign show.
    opposite, last = tf.zeros([], input.dtype) - input, axis(input, _softmax_dim(input, dim))
    return _normalised(tf.nn.softmax, cast(opposite, tf_dtype(dtype) if dtype else input.dtype), last)


@expression(torch.log_softmax, torch.special.log_softmax, strategy=along_last(_softmax_dim))
@scalar_as_vector
def log_softmax(
    input: tf.Tensor, dim: int | None = None, dtype: torch.dtype | None = None, _stacklevel: int = 3
) -> tf.Tensor:
    """log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor"""
    return _normalised(tf.nn.log_softmax, *_along(input, dim, dtype))


@expression(F.gumbel_softmax, strategy=along_last(lambda logits, tau=1, hard=False, eps=1e-10, dim=-1: dim))
@scalar_as_vector
def gumbel_softmax(logits: tf.Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """gumbel_softmax(Tensor logits, float tau=1, bool hard=False, float eps=1e-10, int dim=-1) -> Tensor"""
    uniform = tf.random.uniform(sizes(logits), np.finfo(np.float32).tiny, 1, logits.dtype)
    place = axis(logits, dim)
    soft = _normalised(tf.nn.softmax, (logits - tf.math.log(-tf.math.log(uniform))) / tau, place)
    if not hard:
        return soft
    return tf.one_hot(tf.argmax(soft, place), sizes(soft)[place], axis=place, dtype=soft.dtype)
