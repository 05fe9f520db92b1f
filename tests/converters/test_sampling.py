"""Sampling at given points, and sliding blocks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from tests.parity import convert


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_sample(check, mode, padding_mode, align_corners):
    x, grid = torch.randn(2, 3, 5, 6), torch.rand(2, 4, 7, 2) * 4 - 2
    check(lambda x, g: F.grid_sample(x, g, mode, padding_mode, align_corners), x, grid)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_grid_sample_volume(check, mode, padding_mode):
    x, grid = torch.randn(2, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 3) * 4 - 2
    check(lambda x, g: F.grid_sample(x, g, mode=mode, padding_mode=padding_mode, align_corners=False), x, grid)


def test_grid_sample_tflite(check):
    x, grid = torch.randn(1, 3, 5, 6), torch.rand(1, 4, 7, 2) * 2 - 1
    check(lambda x, g: F.grid_sample(x, g, align_corners=False), x, grid, tflite=True)
    check(lambda x, g: torch.grid_sampler(x, g, 0, 2, True), x, grid)
    check(lambda x: F.grid_sample(x, grid, align_corners=True), x)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_grid_sample_at_no_number(mode, padding_mode):
    """A place that is NaN, as of a picture one element wide, is the first."""
    x, grid = torch.arange(12.0).view(1, 1, 3, 4), torch.rand(1, 1, 3, 2)
    program = lambda x, grid: F.grid_sample(x, grid, mode, padding_mode, align_corners=True)  # noqa: E731
    order = nobuco.ChannelOrder.PYTORCH
    model = convert(program, x, grid, order=order)
    grid[0, 0, :, 0] = torch.tensor([float("nan"), 0.5, float("nan")])
    torch.testing.assert_close(nobuco.t_keras2pytorch(model([x.numpy(), grid.numpy()])), program(x, grid))


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 4, 5), (2, 1, 1, 6)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid(check, size, align_corners):
    n = len(size) - 2
    check(lambda theta: F.affine_grid(theta, size, align_corners=align_corners), torch.randn(2, n, n + 1))


def test_spatial_transformer(check):
    def program(x, theta):
        return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)

    check(program, torch.randn(2, 3, 5, 6), torch.randn(2, 2, 3))


BLOCKS = [
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 2},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": (2, 3), "padding": (1, 0), "stride": (1, 2), "dilation": (2, 1)},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 3, "stride": 3, "padding": 1},
    {"kernel_size": 1},
]


@pytest.mark.parametrize("arguments", BLOCKS, ids=str)
@pytest.mark.parametrize("batch", [True, False])
def test_unfold_and_fold(check, arguments, batch):
    x = torch.randn(2, 3, 8, 9)
    x = x if batch else x[0]
    check(nn.Unfold(**arguments), x)
    check(nn.Fold((8, 9), **arguments), F.unfold(x, **arguments))
