"""Branches and loops that a converter by hand joins."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrderingStrategy
from tests.control import TENSORFLOW, ControlIf, Enclosing, check_ways


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


BY_HAND: dict[str, Any] = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
FORCE_TENSORFLOW = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER


class ByTraceables(nn.Module):
    """The branches and the loop's body as methods of their own, joined in a converter."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    @nobuco.traceable
    def positive(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.one(x))

    @nobuco.traceable
    def negative(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x) - 1

    @nobuco.traceable
    def body(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.three(y)) + x

    @nobuco.traceable
    def branch(self, x: torch.Tensor) -> torch.Tensor:
        return self.positive(x) if x.mean() > 0 else self.negative(x)

    @nobuco.traceable
    def repeat(self, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(int(count)):
            y = self.body(y, x)
        return y

    @nobuco.traceable
    def until(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        while y.abs().sum() < 100:
            y = self.body(y, x) + y * 2
        return y

    def forward(self, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        return self.until(torch.relu(self.repeat(self.branch(x), count)) + 1)


@nobuco.converter(ByTraceables.branch, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_branch(self: Any, x: torch.Tensor) -> Any:
    positive = nobuco.pytorch_to_keras(self.positive, [x], **BY_HAND)
    negative = nobuco.pytorch_to_keras(self.negative, [x], **BY_HAND)
    return lambda self, x: tf.cond(tf.reduce_mean(x) > 0, lambda: positive(x), lambda: negative(x))


@nobuco.converter(ByTraceables.repeat, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_repeat(self: Any, x: torch.Tensor, count: torch.Tensor) -> Any:
    body = nobuco.pytorch_to_keras(self.body, [x, x], **BY_HAND)

    def func(self: Any, x: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        count = tf.cast(count, tf.int32)
        return tf.while_loop(lambda i, y: i < count, lambda i, y: (i + 1, body([y, x])), (tf.constant(0), x))[1]

    return func


@nobuco.converter(ByTraceables.until, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_until(self: Any, x: torch.Tensor) -> Any:
    body = nobuco.pytorch_to_keras(self.body, [x, x], **BY_HAND)

    def func(self: Any, x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda y: tf.reduce_sum(tf.abs(y)) < 100, lambda y: (body([y, x]) + y * 2,), (x,))[0]

    return func


class Seed(ControlIf):
    """`ControlIf` with a converter of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class ControlIfKeras(tf.keras.layers.Layer):
    def __init__(self, conv_pre, conv_true, conv_false, conv_shared, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conv_pre = conv_pre
        self.conv_true = conv_true
        self.conv_false = conv_false
        self.conv_shared = conv_shared

    @tf.function
    def call(self, x):
        x = self.conv_pre(x)
        if tf.reduce_mean(x) > 0:
            x = self.conv_true(x)
            x = tf.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = tf.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


@nobuco.converter(Seed, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_seed(self: Any, x: torch.Tensor) -> Any:
    kwargs = {**BY_HAND, "return_outputs_pt": True}
    conv_pre, out_pre = nobuco.pytorch_to_keras(self.conv_pre, [x], **kwargs)
    conv_true, out_true = nobuco.pytorch_to_keras(self.conv_true, [out_pre], **kwargs)
    conv_false, _ = nobuco.pytorch_to_keras(self.conv_false, [out_pre], **kwargs)
    conv_shared, _ = nobuco.pytorch_to_keras(self.conv_shared, [out_true], **kwargs)
    return ControlIfKeras(conv_pre, conv_true, conv_false, conv_shared)


def test_a_keras_layer_with_autograph(image, tmp_path):
    torch.manual_seed(0)
    model = Seed()
    assert model(image).mean() * model(-image).mean() < 0
    check_ways(Enclosing(model), (image,), (-image,), folder=tmp_path)


def test_branches_and_loops_as_traceable_methods(image, tmp_path):
    two, five, none = (torch.tensor(n) for n in (2, 5, 0))
    check_ways(ByTraceables(), (image, two), (-image, five), (image * 2, none), folder=tmp_path)
