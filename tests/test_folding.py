"""Moves of channels that become part of the weights beside them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layout.movement import Permute, Reshape, freed
from tests.lite import tflite_ops
from tests.parity import convert
from tests.sizes import check_dynamic

TENSORFLOW = ChannelOrder.TENSORFLOW
X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def converted(module, x=X, **options):
    """The Keras model, and the operations of its TFLite file, which gives what PyTorch gives."""
    model, report = convert(module.eval(), x, return_report=True, order=TENSORFLOW, **options)
    assert report.ok
    data = to_tflite(model)
    agree(run_tflite(data, [nobuco.t_pytorch2keras(x, TENSORFLOW).numpy()])[0], module(x))
    return model, tflite_ops(data)


def agree(ours, theirs):
    peak = theirs.abs().max().item()
    assert (nobuco.t_keras2pytorch(ours, TENSORFLOW) - theirs.detach()).abs().max().item() <= 1e-5 * peak


class ByHand(nn.Module):
    """A shuffle of channels as it is mostly written."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, x):
        b, c, h, w = x.shape
        return x.view(b, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(b, c, h, w)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.PixelUnshuffle(2), nn.Conv2d(16, 12, 1), nn.PixelShuffle(2)], ["CONV_2D", "DEPTH_TO_SPACE"]),
        ([nn.PixelUnshuffle(4), nn.Conv2d(64, 5, 1, stride=2)], ["CONV_2D"]),
        ([nn.PixelUnshuffle(2), nn.Conv2d(16, 5, 3, padding=1)], ["CONV_2D"]),
        ([nn.Conv2d(4, 18, 3, padding=(0, 1)), nn.PixelShuffle(3)], ["PAD", "CONV_2D", "DEPTH_TO_SPACE"]),
        ([nn.Conv2d(4, 12, 1, bias=False), nn.ChannelShuffle(3)], ["CONV_2D"]),
        ([nn.Conv2d(4, 6, 1), ByHand(2), nn.Conv2d(6, 8, 1), ByHand(4)], ["CONV_2D", "CONV_2D"]),
    ],
)
def test_no_move_is_left_beside_a_convolution(layers, expected):
    assert converted(nn.Sequential(*layers))[1] == expected


@pytest.mark.parametrize("n", [1, 3])
def test_other_ranks(check, n):
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[n - 1]
    module = nn.Sequential(conv(4, 6, 3), nn.ChannelShuffle(2), conv(6, 4, 1))
    check(module, torch.randn(2, 4, *[5] * n), tflite=True)
    assert "TRANSPOSE" not in converted(module, torch.randn(2, 4, *[5] * n))[1]


class Twice(nn.Module):
    """One convolution called in two places."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return nn.PixelShuffle(2)(self.conv(self.conv(x)))


class ReadTwice(nn.Module):
    """What the convolution gives is read as it is, too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return nn.PixelShuffle(2)(x), x.mean((2, 3))


@pytest.mark.parametrize(
    "module",
    [
        Twice(),
        nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.PixelShuffle(2)),
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 3, padding=2, dilation=2)),
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 3, padding=1, padding_mode="reflect")),
    ],
)
def test_weights_that_have_one_order_keep_it(module):
    assert "TRANSPOSE" in converted(module)[1]


def test_a_tensor_that_others_read_keeps_its_order(check):
    check(ReadTwice(), X, tflite=True)


def test_checkpoints_and_training():
    """The weights lie otherwise; another checkpoint comes to the same places, and training moves them."""

    def made():
        return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2))

    torch.manual_seed(1)
    model, other = converted(made())[0], made()
    nobuco.load_state_dict(model, other.state_dict())
    agree(model(nobuco.t_pytorch2keras(X, TENSORFLOW)), other(X))
    assert model.get_layer("1").kernel.shape == (6, 6, 4, 12)
    model.compile("sgd", "mse")
    before = model.get_layer("1").kernel.numpy()
    model.fit(X.permute(0, 2, 3, 1).numpy(), np.zeros((2, 8, 8, 3), np.float32), verbose=0)
    assert (before != model.get_layer("1").kernel.numpy()).all()


def test_saved_without_pytorch(tmp_path):
    import keras

    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.PixelShuffle(2))
    converted(module)[0].save(tmp_path / "net.keras")
    agree(keras.models.load_model(tmp_path / "net.keras")(nobuco.t_pytorch2keras(X, TENSORFLOW)), module(X))


def test_bisection_finds_the_layers():
    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ChannelShuffle(2), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.PixelShuffle(2))
    found = nobuco.bisect(module, converted(module)[0], [X])
    assert found.first is None
    assert [point.layer for point in found.points] == ["0", "2.relu", "4.pixel_shuffle"]
    assert not found.unmatched


def test_dynamic_sizes():
    shuffled = nn.Sequential(nn.Conv2d(4, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 4, 1), ByHand(2))
    check_dynamic(shuffled, X, torch.randn(1, 4, 6, 9), free=(0, 2, 3))
    unshuffled = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 1))
    check_dynamic(unshuffled, X, torch.randn(3, 4, 8, 8))
    check_dynamic(unshuffled, X, torch.randn(3, 4, 6, 10), free=(0, 2, 3))


@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed):
    """Convolutions and moves of channels in any order, some read twice."""
    rng = random.Random(seed)
    torch.manual_seed(seed)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts, channels, size = nn.ModuleList(), 4, 8
            self.read_again = [rng.random() < 0.2 for _ in range(7)]
            for _ in range(7):
                kind = rng.choice(["conv", "conv", "shuffle", "up", "down", "by hand", "relu"])
                if kind == "down" and size > 2:
                    self.parts.append(nn.PixelUnshuffle(2))
                    channels, size = channels * 4, size // 2
                elif kind == "up" and size < 16:
                    self.parts.append(nn.Sequential(nn.Conv2d(channels, 8, 1), nn.PixelShuffle(2)))
                    channels, size = 2, size * 2
                elif kind == "conv":
                    width = rng.choice([4, 8, 12])
                    self.parts.append(nn.Conv2d(channels, width, 3, padding=1, stride=1))
                    channels = width
                elif kind in ("shuffle", "by hand"):
                    self.parts.append((nn.ChannelShuffle if kind == "shuffle" else ByHand)(2))
                else:
                    self.parts.append(nn.ReLU())

        def forward(self, x):
            sums = []
            for part, again in zip(self.parts, self.read_again):
                x = part(x)
                if again:
                    sums.append(x.sum((1, 2, 3)))
            return x, *sums

    module = Net().eval()
    model, report = nobuco.pytorch_to_keras(module, [X], return_report=True, verbose=False)
    assert report.ok
    for ours, theirs in zip(run_tflite(to_tflite(model), [X.permute(0, 2, 3, 1).numpy()]), module(X)):
        agree(ours, theirs)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("split", [(2, 3), (3, 2, 2)])
def test_what_is_left_is_what_the_move_does(before, split):
    """In NumPy, for each order of groups of channels."""
    for perm in itertools.permutations(range(len(split))):
        shape = (2, 5, int(np.prod(split)))
        x = np.arange(np.prod(shape)).reshape(shape)
        steps = [Reshape((2, 5, *split)), Permute((0, 1, *(2 + p for p in perm))), Reshape(shape)]
        left = freed(shape, steps, before)
        assert left.block == 1
        there = apply(x, steps)
        assert (x[..., left.order] == there if before else there[..., left.order] == x).all()


def apply(x, steps):
    for step in steps:
        x = x.reshape(step.shape) if isinstance(step, Reshape) else x.transpose(step.perm)
    return x
