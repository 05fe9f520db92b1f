"""Models that are saved and loaded again: layers of Keras's own and ours, converters by hand, control flow, state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.layers.weight import WeightLayer

TENSORFLOW = ChannelOrder.TENSORFLOW


class Cnn(nn.Module):
    """Padding, groups, a residual, a slice assignment, resizing: native layers and op layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.register_buffer("offset", torch.rand(1, 4, 16, 16))
        self.head = nn.Linear(4, 6)

    def forward(self, x):
        y = F.hardswish(self.norm(self.stem(x)))
        y = y + self.depthwise(y)
        y = self.up(y) * self.scale + self.offset
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
        y[:, 1:2, ::2] = 0
        parts = torch.cat([F.avg_pool2d(y, 2), F.max_pool2d(y, 2)], dim=1).chunk(2, dim=1)
        return self.head(parts[0].mean((2, 3))), {"map": parts[1], "top": parts[1].flatten(1).argmax(1)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.position = nn.Parameter(torch.rand(1, 5, 8))

    def forward(self, x):
        y = self.norm(x + self.position)
        return x + self.attention(y, y, y)[0]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(12, 3, batch_first=True)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return self.gru(y)[0], h, c


class AddByMask(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x, mask):
        return x + self.weight * mask


def convert_add_by_mask(self, x, mask):
    weight = WeightLayer.create(self.weight.detach().permute(1, 2, 0).numpy())
    return lambda x, mask: x + weight(x) * mask


class Custom(nn.Module):
    """Converted by a lambda that holds a native layer, a nested conversion and a variable of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.rand(()))

    def forward(self, x):
        return self.linear(self.conv(x).mean((2, 3))) * self.gain


def convert_custom(self, x):
    options = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
    conv = nobuco.pytorch_to_keras(self.conv, [x], **options)
    dense = keras.layers.Dense(4)
    dense.build((None, 4))
    dense.set_weights([self.linear.weight.detach().numpy().T, self.linear.bias.detach().numpy()])
    gain = keras.Variable(self.gain.item())
    return lambda x: dense(tf.reduce_mean(conv(x), (1, 2))) * gain


class Branches(nn.Module):
    """A branch and a loop, whose bodies hold weights that the model around them holds, too."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda x: self.left(x), lambda x: self.right(x) * 2, (x,))
        steps = torch.tensor(0)
        _, y = torch.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, torch.tanh(self.left(y))), (steps, self.left(y))
        )
        return y


class Running(nn.Module):
    """A sum that each call adds to, and a cache that grows along."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("total", torch.rand(2, 4))
        self.register_buffer("places", torch.zeros(8, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.total = self.total * 0.5 + self.linear(x)
        self.step += 1
        return self.total * 1.0, self.step * 2


class Shared(nn.Module):
    """One layer called three times, and a table that is also the last layer's kernel."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 6)
        self.linear = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)

    def forward(self, ids):
        y = self.table(ids)
        for _ in range(3):
            y = self.norm(y + self.linear(y))
        return F.linear(y, self.table.weight)


class Sized(nn.Module):
    """Its computation depends on sizes that are dynamic."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        y = self.conv(x)
        y = F.interpolate(y, size=x.shape[2:], mode="nearest") / x.shape[3]
        return y.reshape(x.shape[0], 4, -1).softmax(-1), y.mean((2, 3))


class Named(nn.Module):
    """Several inputs and outputs with names, one of them in a dict in a tuple."""

    def forward(self, image, scale, mask):
        y = image * scale[:, None, None, None]
        return y, {"sum": y.sum((1, 2, 3)), "any": (mask & (y.mean((2, 3)) > 0)).any(1)}


class Half(nn.Module):
    """Numbers of 16 bits, and integers."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.half()

    def forward(self, x):
        y = self.linear(x.half())
        return y, y.argmax(-1).int(), y.bfloat16()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return x * self.scale


def convert_twice(self, x):
    """Lambdas in lambdas, with a default, a partial and a Keras Lambda."""
    scale = keras.Variable(self.scale.detach().numpy())
    double = keras.layers.Lambda(lambda x: x * 2)
    return functools.partial(lambda factor, x, half=lambda x: x / 2: half(double(x)) * factor * scale, 1.0)


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    draw: Callable[[], list[torch.Tensor]]
    options: Callable[[list[torch.Tensor]], dict] = lambda inputs: {}


def images(*shapes):
    return lambda: [torch.rand(shape) for shape in shapes]


CASES = {
    "cnn": Case(Cnn, images((1, 3, 16, 16))),
    "attention": Case(Attention, images((2, 5, 8))),
    "recurrent": Case(Recurrent, images((2, 5, 4))),
    "recurrent in a loop": Case(Recurrent, images((2, 20, 4)), lambda x: {"input_shapes": {x[0]: (None, None, 4)}}),
    "weight_layer": Case(AddByMask, images((1, 3, 4, 5), (1, 3, 4, 5))),
    "custom": Case(Custom, images((1, 3, 4, 4))),
    "lambdas": Case(Twice, images((2, 3))),
    "control flow": Case(Branches, images((2, 4))),
    "state": Case(Running, images((2, 4))),
    "shared": Case(Shared, lambda: [torch.randint(0, 7, (2, 5))]),
    "dynamic": Case(Sized, images((2, 3, 8, 8)), lambda x: {"input_shapes": {x[0]: (None, 3, None, None)}}),
    "names": Case(
        Named,
        lambda: [torch.rand(2, 3, 4, 4), torch.rand(2), torch.rand(2, 3) > 0.5],
        lambda x: {"input_names": ["image", "scale", "mask"], "output_names": ["scaled", "above", "total"]},
    ),
    "half": Case(Half, images((2, 4))),
}
