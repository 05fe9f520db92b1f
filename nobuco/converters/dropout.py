"""Dropout: nothing at rest; a model that was traced in training mode goes on dropping."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.support import axis, elementwise, rank, sizes
from nobuco.ops.names import F, torch

# Where SELU saturates: what `alpha_dropout` puts in place of a dropped element.
SATURATION = -1.7580993408473766


def _channel_mask_shape(input: tf.Tensor) -> list[Any]:
    """A size for each sample and channel; the other dimensions share their fate."""
    kept = {axis(input, 0), axis(input, 1)} if rank(input) > 1 else {0}
    return [size if a in kept else 1 for a, size in enumerate(sizes(input))]


def _alpha_dropped(input: tf.Tensor, p: float, mask_shape: list[Any]) -> tf.Tensor:
    keep = tf.random.uniform(mask_shape, dtype=input.dtype) >= p
    scale = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5 if p < 1 else 0.0
    return scale * (tf.where(keep, input, SATURATION) - p * SATURATION)


@elementwise(torch.dropout, F.dropout)
def dropout(input: tf.Tensor, p: float = 0.5, train: bool = True, inplace: bool = False) -> tf.Tensor:
    """dropout(Tensor input, float p, bool train) -> Tensor"""
    if not train or p == 0:
        return input
    return tf.nn.dropout(input, p) if p < 1 else tf.zeros_like(input)


@elementwise(torch.native_dropout)
def native_dropout(input: tf.Tensor, p: float, train: bool | None) -> tuple[tf.Tensor, tf.Tensor]:
    """native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)"""
    if train is False or p == 0:
        return input, tf.ones(sizes(input), tf.bool)
    keep = tf.random.uniform(sizes(input)) >= p
    return tf.where(keep, input / (1 - p) if p < 1 else input, tf.zeros([], input.dtype)), keep


@elementwise(torch.feature_dropout, F.dropout1d, F.dropout2d, F.dropout3d)
def feature_dropout(input: tf.Tensor, p: float = 0.5, train: bool = True, inplace: bool = False) -> tf.Tensor:
    """feature_dropout(Tensor input, float p, bool train) -> Tensor"""
    if not train or p == 0:
        return input
    return tf.nn.dropout(input, p, noise_shape=_channel_mask_shape(input)) if p < 1 else tf.zeros_like(input)


@elementwise(torch.alpha_dropout, F.alpha_dropout)
def alpha_dropout(input: tf.Tensor, p: float = 0.5, train: bool = False, inplace: bool = False) -> tf.Tensor:
    """alpha_dropout(Tensor input, float p, bool train) -> Tensor"""
    return _alpha_dropped(input, p, sizes(input)) if train else input


@elementwise(torch.feature_alpha_dropout, F.feature_alpha_dropout)
def feature_alpha_dropout(input: tf.Tensor, p: float = 0.5, train: bool = False, inplace: bool = False) -> tf.Tensor:
    """feature_alpha_dropout(Tensor input, float p, bool train) -> Tensor"""
    return _alpha_dropped(input, p, _channel_mask_shape(input)) if train else input
