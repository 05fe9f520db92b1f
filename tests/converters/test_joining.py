"""Joining, splitting, repeating and reversing against PyTorch."""

from __future__ import annotations

import pytest
import torch

from tests.lite import ops_of
from tests.older import fails_before
from tests.sizes import check_dynamic

X = torch.randn(2, 6, 4, 5)
Y = torch.randn(2, 6, 4, 5)
RANKS = [(6,), (4, 6), (2, 6, 4), (2, 6, 4, 5), (2, 6, 3, 4, 2)]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.cat((x, y, x), dim=-3),
        lambda x, y: torch.concat([x, y.int()], 2),
        lambda x, y: torch.concatenate([x], dim=-1),
        lambda x, y: torch.cat([torch.zeros(0), x, y], 1),
        lambda x, y: torch.stack([x, y]),
        lambda x, y: torch.stack((x, y), dim=1),
        lambda x, y: torch.stack((x, y), 2),
        lambda x, y: torch.stack(tensors=(x, y), dim=-1),
        lambda x, y: torch.stack([x[0, 0], y[0, 0]], 1),
        lambda x, y: torch.stack([x[0, 0, 0], y[0, 0, 0]], -2),
        lambda x, y: torch.hstack([x, y]),
        lambda x, y: torch.hstack([x[0, 0, 0], y[0, 0, 0]]),
        lambda x, y: torch.vstack([x, y]),
        lambda x, y: torch.vstack([x[0, 0, 0], y[0, 0]]),
        lambda x, y: torch.dstack([x, y]),
        lambda x, y: torch.dstack([x[0, 0], y[0, 0]]),
        lambda x, y: torch.column_stack([x[0, 0, :, 0], y[0, 0]]),
        lambda x, y: torch.atleast_1d(x.sum()),
        lambda x, y: torch.atleast_2d(x[0, 0, 0]),
        lambda x, y: torch.atleast_3d(x[0, 0], y),
        lambda x, y: torch.broadcast_tensors(x, y[0, :1]),
        lambda x, y: x[:, :1].expand_as(y),
    ],
)
def test_join(check, function):
    check(function, X, Y)


@pytest.mark.parametrize("shape", RANKS[2:])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_join_ranks(check, shape, dim):
    x = torch.randn(shape)
    check(lambda x: torch.stack([torch.cat([x, x * 2], dim), torch.cat([x, x], dim)], dim), x, tflite=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.split(2, 1),
        lambda x: torch.split(x, 4, dim=1),
        lambda x: torch.split(x, [1, 2, 3], dim=-3),
        lambda x: x.split(split_size=[3, 3], dim=1),
        lambda x: torch.split(tensor=x, split_size_or_sections=7, dim=1),
        lambda x: torch.split_with_sizes(x, [2, 4], 1),
        lambda x: x.chunk(3, 1),
        lambda x: torch.chunk(x, chunks=4, dim=1),
        lambda x: x.chunk(2, dim=-1),
        lambda x: x.tensor_split(4, 1),
        lambda x: torch.tensor_split(x, (1, 4), dim=1),
        lambda x: torch.tensor_split(x, indices=[2], dim=-1),
        lambda x: torch.hsplit(x, 2),
        lambda x: x.vsplit([1]),
        lambda x: x.dsplit(2),
        lambda x: x.unbind(),
        lambda x: x.unbind(1),
        lambda x: torch.unbind(x, dim=-1),
        lambda x: sum(list(x)),
        lambda x: x.narrow(1, 2, 3),
        lambda x: torch.narrow(x, -1, -2, 2),
        lambda x: x.select(1, 2),
        lambda x: torch.select(x, dim=-1, index=-2),
        lambda x: x.flip(1),
        lambda x: x.flip(0, 2),
        lambda x: torch.flip(x, dims=[-1, 1]),
        lambda x: x.flip([]),
        lambda x: x.fliplr(),
        lambda x: torch.flipud(x),
        lambda x: x.roll(1, 1),
        lambda x: torch.roll(x, shifts=(2, -1), dims=(2, -1)),
        lambda x: x.roll(7),
        lambda x: x.roll(-13, -1),
        lambda x: x.repeat(1, 2, 1, 3),
        lambda x: x.repeat((2, 1, 1, 1, 1)),
        lambda x: torch.tile(x, (2, 1)),
        lambda x: x.tile(2, 1, 3, 1),
        lambda x: torch.tile(x, dims=(2,)),
        lambda x: x.tile((2, 1, 1, 1)),
        lambda x: x.repeat_interleave(2, dim=1),
        lambda x: torch.repeat_interleave(x, 3, -1),
        lambda x: x.repeat_interleave(2),
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 3, 1, 1]), dim=1),
        lambda x: x[:, :1].expand(2, 6, 4, 5),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x.expand(3, 2, 6, -1, 5),
        lambda x: torch.broadcast_to(x[..., :1], (2, 6, 4, 7)),
        lambda x: x.rot90(1, (2, 3)),
        lambda x: torch.rot90(x, -1, [1, 3]),
        lambda x: torch.rot90(x, 2, [1, 2]),
        lambda x: x.diagonal(dim1=2, dim2=3),
        lambda x: torch.diagonal(x, offset=-1, dim1=1, dim2=-1),
        lambda x: torch.diagonal(x, 2, 0, 1),
        lambda x: x[0, 0, 0].diag(),
        lambda x: torch.diag(x[0, 0], 1),
        lambda x: torch.diag(x[0, 0, 0], -2),
        lambda x: torch.diag_embed(x[0]),
        lambda x: torch.diag_embed(x[0, 0], offset=1, dim1=0, dim2=2),
        lambda x: x[0].diag_embed(-2),
        lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2),
        lambda x: x.unfold(1, 3, 1),
        lambda x: x.unfold(-1, 2, 3),
    ],
)
def test_split_and_repeat(check, function):
    check(function, X)


@pytest.mark.parametrize("shape", RANKS)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.chunk(2, 0),
        lambda x: x.unbind(-1),
        lambda x: x.flip(-1),
        lambda x: x.roll(1, 0),
        lambda x: x.repeat(2, *[1] * x.dim()),
        lambda x: x.repeat_interleave(2, -1),
        lambda x: x.select(-1, 0),
    ],
)
def test_ranks(check, function, shape):
    check(function, torch.randn(shape))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.flip(1, 3), ["REVERSE_V2"] * 2),
        (lambda x: x.chunk(2, 1), ["SPLIT"]),
        (lambda x: x.split([1, 5], 1), ["SPLIT_V"]),
        (lambda x: x.repeat(1, 2, 1, 1), ["TILE"]),
        (lambda x: torch.cat([x, x], 1), ["CONCATENATION"]),
        (lambda x: x.roll(1, 1), ["STRIDED_SLICE", "STRIDED_SLICE", "CONCATENATION"]),
        pytest.param(
            lambda x: x[:, :1].expand(-1, 6, -1, -1),
            ["STRIDED_SLICE", "TILE"],
            marks=fails_before("tensorflow", "2.21", "its TFLite converter multiplies by ones in the place of TILE"),
        ),
        (lambda x: x.diagonal(dim1=2, dim2=3), ["RESHAPE", "STRIDED_SLICE"]),
    ],
)
def test_tflite_form(function, expected):
    assert ops_of(function, X, order="nchw") == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.diag_embed(x[0], -1),
        lambda x: x.roll((1, 2), (1, -1)),
        lambda x: x.repeat_interleave(2, 1),
        lambda x: x.unfold(1, 3, 1),
        lambda x: x.flip(1, 3),
        lambda x: x.rot90(1, (1, 2)),
    ],
)
def test_tflite(check, function):
    check(function, X, tflite=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cat([x, x * 2], 0),
        lambda x: torch.stack([x, x], 2),
        lambda x: x.chunk(2, 1),
        lambda x: x.split([2, 4], 1),
        lambda x: x.flip(0, 2),
        lambda x: x.roll((1, -1), (0, 2)),
        lambda x: x.repeat(2, 1, 1, 1),
        lambda x: x[:, :1].expand(-1, 6, -1, -1),
        lambda x: x.repeat_interleave(2, 2),
        lambda x: x.unfold(2, 2, 2),
        lambda x: x.unfold(2, 3, 1),
        lambda x: x.unfold(2, x.shape[2] - 1, 1),
        lambda x: x.unfold(2, x.shape[2] // 2, x.shape[2] // 2),
        lambda x: x.diagonal(dim1=1, dim2=3),
        lambda x: x.unbind(1),
    ],
)
def test_dynamic_sizes(function):
    check_dynamic(function, X, torch.randn(3, 6, 8, 5), free=(0, 2))


def test_fewer_chunks_than_asked_for():
    """Of 9 elements 4 chunks are 3, of 6 and of 3 elements, too."""
    check_dynamic(lambda x: x.chunk(4), torch.randn(9, 2), torch.randn(6, 2), free=(0,))
