"""Moves between channels and space, and the modules that have TensorFlow's order of channels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.addons.torch.depth_to_space import DepthToSpace
from nobuco.addons.torch.space_to_depth import SpaceToDepth
from tests.lite import ops_of


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_shuffle(check, factor):
    deep, wide = torch.randn(2, 3 * factor**2, 4, 5), torch.randn(2, 3, 4 * factor, 5 * factor)
    check(nn.PixelShuffle(factor), deep)
    check(nn.PixelUnshuffle(factor), wide)
    check(lambda x: F.pixel_shuffle(x, factor), deep[0])
    check(lambda x: torch.pixel_unshuffle(x, downscale_factor=factor), wide[0])
    check(lambda x: F.pixel_shuffle(x, factor), deep[None])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_channel_shuffle(check, n):
    check(nn.ChannelShuffle(3), torch.randn(2, 6, *range(3, 3 + n)))
    check(lambda x: torch.channel_shuffle(x, 2), torch.randn(2, 6, *range(3, 3 + n)))


class TFOptimized(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 4
        self.conv = nn.Conv2d(3 * self.factor**2, 3 * self.factor**2, kernel_size=1)

    def forward(self, x):
        x = SpaceToDepth(self.factor)(x)
        x = self.conv(x)
        return DepthToSpace(self.factor)(x)


def test_addons(check):
    check(SpaceToDepth(2), torch.randn(2, 3, 4, 6))
    check(DepthToSpace(2), torch.randn(2, 12, 4, 6))
    check(TFOptimized(), torch.randn(1, 3, 8, 8), tflite=True)
    assert ops_of(TFOptimized(), torch.randn(1, 3, 8, 8)) == [
        "SPACE_TO_DEPTH",
        "CONV_2D",
        "DEPTH_TO_SPACE",
    ]
