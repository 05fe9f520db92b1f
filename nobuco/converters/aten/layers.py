"""What networks are made of, as the ATen calls that exported programs and TorchScript make by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.aten.spelling import Arguments, call, converter_of, spelled
from nobuco.converters.normalization import batch_norm, widened
from nobuco.converters.spatial import first_channels_last
from nobuco.converters.support import axis, cast, rank
from nobuco.ir import Node
from nobuco.layout.strategy import Signature, broadcasting
from nobuco.ops.names import Tensor, aten, torch
from nobuco.registry import Converter, expression, registry

# -- with other arguments -------------------------------------------------------------------------------------


@spelled(torch.einsum, aten.einsum.default)
def einsum(equation: str, tensors: Sequence[Any], *, path: Any = None) -> Arguments:
    """einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor"""
    return call(equation, *tensors)


# -- convolution, of every kind -------------------------------------------------------------------------------

_PLAIN = [converter_of(public) for public in (torch.conv1d, torch.conv2d, torch.conv3d)]
_TRANSPOSED = [converter_of(f) for f in (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)]


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: bool,
) -> Callable[..., Any]:
    """convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] dilation,
    bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor
    """
    shared = (_TRANSPOSED if transposed else _PLAIN)[weight.dim() - 3]
    rest = (output_padding, groups, dilation) if transposed else (dilation, groups)
    assert shared is not None
    assert shared.make is not None
    run = shared.make(input, weight, bias, stride, padding, *rest)
    return lambda input, weight, bias, *_: run(input, weight, bias)


def _convolved(node: Node) -> list[Signature]:
    return first_channels_last(node.args[1].rank - 2, node)


registry.add(Converter((aten.convolution.default, aten._convolution.default), convolution, convolution, _convolved))


# -- normalization, with the statistics that a backward pass wants ----------------------------------------------


@expression(aten._native_batch_norm_legit_no_training.default, strategy=broadcasting, autocast=False)
def native_batch_norm_at_rest(
    input: tf.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> tuple[tf.Tensor, ...]:
    """_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean,
    Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)
    """
    y = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return y, tf.zeros([0], running_mean.dtype), tf.zeros([0], running_mean.dtype)


@expression(aten.native_batch_norm.default, strategy=broadcasting, autocast=False)
def native_batch_norm(
    input: tf.Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[tf.Tensor, ...]:
    """native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var,
    bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)
    """
    if not training:
        return native_batch_norm_at_rest(input, weight, bias, running_mean, running_var, momentum, eps)
    given = batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
    y, *updated = given if isinstance(given, tuple) else (given,)
    mean, variance = tf.nn.moments(widened(input), [i for i in range(rank(input)) if i != axis(input, 1)])
    # What is kept of the batch has the dtype of the parameters, which may be wider than the input's.
    dtype = next((v.dtype for v in (weight, bias, running_mean, running_var) if v is not None), input.dtype)
    scale = tf.math.rsqrt(variance + tf.cast(eps, variance.dtype))
    return y, cast(mean, dtype), cast(scale, dtype), *updated
