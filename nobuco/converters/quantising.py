"""Numbers rounded to the steps of a quantised tensor, as a model that is prepared for quantisation rounds them."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import torch as pytorch

from nobuco.converters.normalization import widened
from nobuco.converters.support import axes, cast, elementwise, rank
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import Tensor, torch
from nobuco.registry import converter, expression

MINIMUM_TRANSPOSITIONS = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS
# PyTorch's kernel for channels makes 64-bit integers on the way; what these cannot hold becomes the smallest of them.
_BEYOND_INTEGERS = float(2**63 - 2**39)  # the last below that


@elementwise(torch.fake_quantize_per_tensor_affine, promote=False)
def fake_quantize_per_tensor_affine(
    input: tf.Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> tf.Tensor:
    """fake_quantize_per_tensor_affine.tensor_qparams(Tensor self, Tensor scale, Tensor zero_point, int quant_min,
    int quant_max) -> Tensor
    """
    return _stepped(input, cast(scale, tf.float32), cast(zero_point, tf.int32), quant_min, quant_max, math.inf)


@expression(torch.fake_quantize_per_channel_affine, strategy=MINIMUM_TRANSPOSITIONS, autocast=False)
def fake_quantize_per_channel_affine(
    input: tf.Tensor, scale: tf.Tensor, zero_point: tf.Tensor, axis: int, quant_min: int, quant_max: int
) -> tf.Tensor:
    """fake_quantize_per_channel_affine(Tensor self, Tensor scale, Tensor zero_point, int axis, int quant_min,
    int quant_max) -> Tensor
    """
    shape = [-1 if i in axes(input, axis) else 1 for i in range(rank(input))]
    steps, zeros = tf.reshape(scale, shape), tf.reshape(zero_point, shape)
    return _stepped(input, steps, zeros, quant_min, quant_max, _BEYOND_INTEGERS)


@converter(torch.fused_moving_avg_obs_fake_quant, channel_ordering_strategy=MINIMUM_TRANSPOSITIONS, autocast=False)
def fused_moving_avg_obs_fake_quant(
    x: Tensor,
    observer_on: Tensor,
    fake_quant_on: Tensor,
    running_min: Tensor,
    running_max: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    averaging_const: float,
    quant_min: int,
    quant_max: int,
    ch_axis: int,
    per_row_fake_quant: bool = False,
    symmetric_quant: bool = False,
) -> Any:
    """fused_moving_avg_obs_fake_quant(Tensor self, Tensor observer_on, Tensor fake_quant_on, Tensor running_min,
    Tensor running_max, Tensor scale, Tensor zero_point, float averaging_const, int quant_min, int quant_max,
    int ch_axis, bool per_row_fake_quant=False, bool symmetric_quant=False) -> Tensor
    """
    if observer_on.any():
        raise ValueError("the observer is on: call model.apply(torch.ao.quantization.disable_observer) before")
    is_rounded = bool(fake_quant_on.any())
    # PyTorch makes the steps anew of the observed limits, which an observer that is off leaves as they are.
    steps, zeros = scale.detach().clone(), zero_point.detach().clone()
    pytorch.fused_moving_avg_obs_fake_quant(
        x.detach(), observer_on, fake_quant_on, running_min.clone(), running_max.clone(), steps, zeros,
        averaging_const, quant_min, quant_max, ch_axis, per_row_fake_quant, symmetric_quant,
    )  # fmt: skip
    new_scale, new_zero = steps.numpy(), zeros.numpy()

    def rounded(x: Any, off: Any, on: Any, low: Any, high: Any, *_: Any, **__: Any) -> Any:
        scale, zero_point = tf.constant(new_scale), tf.constant(new_zero)
        kept = (low, high, scale, zero_point)
        if not is_rounded:
            return (x, *kept)
        if per_row_fake_quant:
            return (fake_quantize_per_channel_affine(x, scale, zero_point, ch_axis, quant_min, quant_max), *kept)
        return (fake_quantize_per_tensor_affine(x, scale, zero_point, quant_min, quant_max), *kept)

    return rounded


def _stepped(given: tf.Tensor, scale: tf.Tensor, zero_point: tf.Tensor, low: int, high: int, bound: float) -> tf.Tensor:
    """What is left of numbers that are rounded to steps and clamped; NaN, and what exceeds the bound, becomes `low`."""
    x = widened(given)
    steps, zero = x * cast(1 / scale, x.dtype), cast(zero_point, x.dtype)
    nearest = tf.round(steps + zero) if zero_point.dtype.is_floating else tf.round(steps) + zero
    kept = tf.where(tf.abs(nearest) <= bound, nearest, cast(low, x.dtype))
    stepped = (tf.clip_by_value(kept, cast(low, x.dtype), cast(high, x.dtype)) - zero) * cast(scale, x.dtype)
    return cast(stepped, given.dtype)
