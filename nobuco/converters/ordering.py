"""`nobuco.force_tensorflow_order` and `nobuco.force_pytorch_order`."""

from __future__ import annotations

import tensorflow as tf

from nobuco.functions import force_pytorch_order, force_tensorflow_order
from nobuco.layout import ChannelOrderingStrategy
from nobuco.registry import expression


@expression(force_tensorflow_order, strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER)
def in_tensorflow_order(inputs: tf.Tensor) -> tf.Tensor:
    """force_tensorflow_order(Tensor inputs) -> Tensor"""
    return inputs


@expression(force_pytorch_order, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def in_pytorch_order(inputs: tf.Tensor) -> tf.Tensor:
    """force_pytorch_order(Tensor inputs) -> Tensor"""
    return inputs
