"""Padding; a negative amount crops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.support import axis, rank
from nobuco.ir import Node
from nobuco.layers.padding import pad
from nobuco.ops.names import F, torch
from nobuco.registry import ChannelUse, expression


def _channels(node: Node) -> ChannelUse | None:
    """Each by itself where only dimensions behind them are padded."""
    input, amounts = node.args[:2]
    return ChannelUse.EACH if isinstance(amounts, (list, tuple)) and len(amounts) <= 2 * (input.rank - 2) else None


@expression(F.pad, channels=_channels)
def pad_by_dims(input: tf.Tensor, pad: Any, mode: str = "constant", value: Any = None) -> tf.Tensor:
    """pad(Tensor self, SymInt[] pad, str mode="constant", float? value=None) -> Tensor"""
    return padded(input, pad, mode, value)


@expression(torch.constant_pad_nd, channels=_channels)
def constant_pad_nd(input: tf.Tensor, pad: Any, value: Any = 0) -> tf.Tensor:
    """constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor"""
    return padded(input, pad, "constant", value)


def padded(x: tf.Tensor, amounts: Any, mode: str, value: Any) -> tf.Tensor:
    """Pad by PyTorch's flat list: (before, after) of the last dimension, of the one before it, and so on."""
    per_axis: list[Any] = [(0, 0)] * rank(x)
    for i in range(len(amounts) // 2):
        per_axis[axis(x, -1 - i)] = (amounts[2 * i], amounts[2 * i + 1])
    return pad(x, per_axis, mode, 0 if value is None else value)
