"""Moves between channels and space: pixel shuffle, its inverse, channel shuffle."""

from __future__ import annotations

from collections.abc import Sequence

from nobuco.layout.movement import Permute, Reshape, Step
from nobuco.ops.names import F, torch
from nobuco.registry import movement


@movement(*dict.fromkeys((torch.pixel_shuffle, F.pixel_shuffle)))
def pixel_shuffle(input: Sequence[int], upscale_factor: int) -> list[Step]:
    """pixel_shuffle(Tensor self, int upscale_factor) -> Tensor"""
    r, lead = upscale_factor, len(input) - 3
    *batch, c, h, w = input
    kept = range(lead)
    return [
        Reshape((*batch, c // r**2, r, r, h, w)),
        Permute((*kept, *(lead + i for i in (0, 3, 1, 4, 2)))),
        Reshape((*batch, c // r**2, h * r, w * r)),
    ]


@movement(*dict.fromkeys((torch.pixel_unshuffle, F.pixel_unshuffle)))
def pixel_unshuffle(input: Sequence[int], downscale_factor: int) -> list[Step]:
    """pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor"""
    r, lead = downscale_factor, len(input) - 3
    *batch, c, h, w = input
    kept = range(lead)
    return [
        Reshape((*batch, c, h // r, r, w // r, r)),
        Permute((*kept, *(lead + i for i in (0, 2, 4, 1, 3)))),
        Reshape((*batch, c * r**2, h // r, w // r)),
    ]


@movement(*dict.fromkeys((torch.channel_shuffle, F.channel_shuffle, torch.native_channel_shuffle)))
def channel_shuffle(input: Sequence[int], groups: int) -> list[Step]:
    """channel_shuffle(Tensor self, SymInt groups) -> Tensor"""
    b, c, *spatial = input
    return [
        Reshape((b, groups, c // groups, *spatial)),
        Permute((0, 2, 1, *range(3, len(spatial) + 3))),
        Reshape((b, c, *spatial)),
    ]
