"""Samples of what looks at windows of a picture: pooling, folding, sampling at a grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nobuco.ops.names import F, torch
from nobuco.registry import Sample
from pytest_nobuco.converters.drawing import Make, image


def _grid_sampler() -> Sequence[Sample]:
    return [
        Sample((image(), 2.4 * torch.rand(2, 6, 7, 2) - 1.2, mode, padding, align))
        for mode, padding, align in ((0, 0, False), (1, 1, True), (0, 2, False), (2, 0, True))
    ]


def _grid_sample() -> Sequence[Sample]:
    """Each mode with each edge, in and beside the picture."""
    edges = itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (True, False))
    return [Sample((image(), 2.4 * torch.rand(2, 6, 7, 2) - 1.2, *way)) for way in edges]


def _affine_grid() -> Sequence[Sample]:
    flat, solid = image(2, 2, 3), image(2, 3, 4)
    return [
        Sample((flat, (2, 3, 4, 5), True)),
        Sample((flat, (2, 3, 4, 5), False)),
        Sample((flat, (2, 3, 1, 5), False)),
        Sample((solid, (2, 3, 4, 5, 6), False)),
    ]


def _fold() -> Sequence[Sample]:
    """Of what unfolding gives, so that the sizes go together whatever the options are."""
    options: list[dict[str, Any]] = [{}, {"stride": 2}, {"stride": (4, 3)}, {"padding": (1, 2)}, {"dilation": 2}]
    options += [{"padding": 1, "stride": (2, 1), "dilation": (1, 2)}]
    x = image(2, 3, 7, 9)
    made = [Sample((F.unfold(x, (3, 2), **one), (7, 9), (3, 2)), one) for one in options]
    return [*made, Sample((image(8, 12), (4, 5), 2))]


def _lp_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = torch.rand(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 2, 2)), Sample((x, 3, 3), {"stride": 2}), Sample((x, 2.5, 2), {"ceil_mode": True})]

    return make


def _max_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = image(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 2)), Sample((x, 3, 2, 1)), Sample((x, 2, 1, 0, 2)), Sample((x, 3), {"ceil_mode": True})]

    return make


def _max_unpool(rank: int) -> Make:
    """Of what pooling gives, so that places and sizes go together."""

    def make() -> Sequence[Sample]:
        x, pool = image(2, 3, *(7, 9, 5)[:rank]), getattr(F, f"max_pool{rank}d")
        options: list[dict[str, Any]] = [{"stride": 2}, {"stride": 2, "padding": 1}]
        return [Sample((*pool(x, 3, return_indices=True, **one), 3), one) for one in options]

    return make


def _adaptive_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = image(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 1)), Sample((x, (3, 2, 4)[:rank])), Sample((image(3, *(6, 7, 8)[:rank]), 3))]

    return make


def _fractional(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x, numbers = image(2, 3, *(8, 7, 6)[:rank]), torch.rand(2, 3, rank)
        return [Sample((x, [2] * rank, [4] * rank, numbers)), Sample((x, (2, 3, 2)[:rank], (5, 3, 4)[:rank], numbers))]

    return make


def _transposed(rank: int) -> Make:
    """With the size that is asked for."""

    def make() -> Sequence[Sample]:
        module = getattr(torch.nn, f"ConvTranspose{rank}d")(4, 3, 3, stride=2).eval()
        return [Sample((module, image(2, 4, *(4, 5, 3)[:rank]), [10, 11, 8][:rank]))]

    return make


SAMPLES: Mapping[Any, Make] = MappingProxyType(
    {
        torch.nn.ConvTranspose1d: _transposed(1),
        torch.nn.ConvTranspose2d: _transposed(2),
        torch.nn.ConvTranspose3d: _transposed(3),
        torch.grid_sampler: _grid_sampler,
        F.grid_sample: _grid_sample,
        F.max_pool2d: lambda: [
            Sample((-image(3, 7, 5).abs() - 1, 3, 2, 1)),
            Sample((-image().abs() - 1, (3, 2), 2, 1)),
        ],
        F.affine_grid: _affine_grid,
        F.fold: _fold,
        F.lp_pool1d: _lp_pool(1),
        F.lp_pool2d: _lp_pool(2),
        F.lp_pool3d: _lp_pool(3),
        F.max_unpool1d: _max_unpool(1),
        F.max_unpool2d: _max_unpool(2),
        F.max_unpool3d: _max_unpool(3),
        torch.max_pool1d: _max_pool(1),
        torch.max_pool2d: _max_pool(2),
        torch.max_pool3d: _max_pool(3),
        F.max_pool1d_with_indices: _max_pool(1),
        F.max_pool2d_with_indices: _max_pool(2),
        F.max_pool3d_with_indices: _max_pool(3),
        F.adaptive_max_pool1d_with_indices: _adaptive_pool(1),
        torch.adaptive_max_pool1d: _adaptive_pool(1),
        F.adaptive_max_pool2d_with_indices: _adaptive_pool(2),
        F.adaptive_max_pool3d_with_indices: _adaptive_pool(3),
        # Of several channels: with one, PyTorch's order is TensorFlow's.
        torch.pixel_shuffle: lambda: [Sample((image(2, 12, 3, 5), 2))],
        torch.pixel_unshuffle: lambda: [Sample((image(2, 3, 6, 10), 2))],
        torch._C._nn.fractional_max_pool2d: _fractional(2),
        torch._C._nn.fractional_max_pool3d: _fractional(3),
    }
)
