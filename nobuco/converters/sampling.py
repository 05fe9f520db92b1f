"""Sampling at given points, and sliding blocks: grid_sample, affine_grid, unfold, fold."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.interpolation import cubic
from nobuco.converters.spatial import spatial
from nobuco.converters.support import pair, sizes, wide
from nobuco.converters.windows import Window, known
from nobuco.ir import Node
from nobuco.layers.convolution import zero_insertion
from nobuco.layers.padding import pad
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import ChannelOrderingStrategy, Signature
from nobuco.ops.names import F, Tensor, aten, torch
from nobuco.registry import expression

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
Taps = Sequence[tuple[tf.Tensor, tf.Tensor]]


def image_and_grid(node: Node) -> list[Signature]:
    """Layout rule: the image channels-last; the grid as in PyTorch, whose last dimension is no channel."""
    return [Signature((ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH), (ChannelOrder.TENSORFLOW,))]


@expression(F.grid_sample, strategy=image_and_grid)
@wide  # places between elements take more than 8 bits
def grid_sample(
    input: tf.Tensor,
    grid: tf.Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> tf.Tensor:
    """grid_sample(Tensor input, Tensor grid, str mode="bilinear", str padding_mode="zeros",
    bool? align_corners=None) -> Tensor
    """
    batch, *spatial_sizes, channels = sizes(input)
    taps = []
    for i, size in enumerate(spatial_sizes):
        # The grid's last dimension counts from the innermost axis: (x, y, z).
        at = grid[..., len(spatial_sizes) - 1 - i]
        taps.append(_taps(at, size, mode, padding_mode, bool(align_corners)))
    flat = tf.reshape(input, (batch, functools.reduce(operator.mul, spatial_sizes), channels))
    return tf.add_n([_corner(flat, corner, spatial_sizes) for corner in itertools.product(*taps)])


@expression(torch.grid_sampler, aten.grid_sampler_2d.default, aten.grid_sampler_3d.default, strategy=image_and_grid)
def grid_sampler(
    input: tf.Tensor, grid: tf.Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> tf.Tensor:
    """grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode,
    bool align_corners) -> Tensor
    """
    return grid_sample(input, grid, MODES[interpolation_mode], PADDINGS[padding_mode], align_corners)


def _corner(flat: tf.Tensor, corner: Taps, spatial_sizes: Sequence[Any]) -> tf.Tensor:
    place, weight = corner[0]
    for (next_place, next_weight), size in zip(corner[1:], spatial_sizes[1:]):
        place, weight = place * size + next_place, weight * next_weight
    return tf.gather(flat, place, batch_dims=1, axis=1) * tf.expand_dims(weight, -1)


def _taps(at: tf.Tensor, size: Any, mode: str, padding_mode: str, align: bool) -> Taps:
    """Along one axis, the elements that a sample takes and their weights; outside, the weight is zero."""
    extent = tf.cast(size, at.dtype)
    at = (at + 1) / 2 * (extent - 1) if align else ((at + 1) * extent - 1) / 2
    if mode == "bicubic":
        first = tf.floor(at)
        found = [
            (_inside(first + i, extent, padding_mode, align), cubic(at - (first + i), -0.75)) for i in (-1, 0, 1, 2)
        ]
    elif mode == "nearest":
        at = tf.round(_inside(at, extent, padding_mode, align))
        found = [(at, tf.ones_like(at))]
    else:
        at = _inside(at, extent, padding_mode, align)
        first = tf.floor(at)
        found = [(first, 1 - (at - first)), (first + 1, at - first)]
    return [_clipped(place, weight, extent, padding_mode) for place, weight in found]


def _inside(at: tf.Tensor, extent: tf.Tensor, padding_mode: str, align: bool) -> tf.Tensor:
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        low, span = (tf.zeros_like(extent), extent - 1) if align else (tf.zeros_like(extent) - 0.5, extent)
        span = tf.maximum(span, 1e-6)  # one element, corners aligned: everything reflects onto it
        at = low + span - tf.abs(tf.math.floormod(tf.abs(at - low), 2 * span) - span)
    return tf.clip_by_value(tf.where(tf.math.is_nan(at), tf.zeros_like(extent), at), 0, extent - 1)


def _clipped(place: tf.Tensor, weight: tf.Tensor, extent: tf.Tensor, padding_mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    if padding_mode == "zeros":
        weight = weight * tf.cast((place >= 0) & (place <= extent - 1), weight.dtype)
    return tf.maximum(tf.cast(tf.clip_by_value(place, 0, extent - 1), tf.int32), 0), weight  # NaN becomes any integer


@expression(F.affine_grid, torch.affine_grid_generator, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def affine_grid(theta: tf.Tensor, size: Sequence[Any], align_corners: bool | None = None) -> tf.Tensor:
    """affine_grid(Tensor theta, SymInt[] size, bool? align_corners=None) -> Tensor"""
    spatial_sizes = list(size)[2:]

    def base(*spatial_sizes: Any) -> tf.Tensor:
        lines = [_line(n, bool(align_corners), theta.dtype) for n in spatial_sizes]
        grids = tf.meshgrid(*lines, indexing="ij")
        return tf.reshape(tf.stack([*reversed(grids), tf.ones_like(grids[0])], -1), (-1, len(lines) + 1))

    points = tf.matmul(known(base, *spatial_sizes), theta, transpose_b=True)
    return tf.reshape(points, (size[0], *spatial_sizes, len(spatial_sizes)))


def _line(n: Any, align: bool, dtype: tf.DType) -> tf.Tensor:
    """The normalized coordinates of `n` elements."""
    count = tf.cast(n, dtype)
    places = 2 * tf.cast(tf.range(n), dtype) + 1 - count
    return places / (tf.maximum(count - 1, 1) if align else count)


# -- sliding blocks -----------------------------------------------------------------------------------


def _blocks(kernel: Any, dilation: Any, padding: Any, stride: Any) -> list[Window]:
    return [Window(k, s, p, d) for k, s, p, d in zip(*(pair(v, 2) for v in (kernel, stride, padding, dilation)))]


def _are_tiles(blocks: Sequence[Window]) -> bool:
    return all(w.stride == w.kernel and w.dilation == 1 for w in blocks)


@spatial((), (F.unfold, aten.im2col.default))
def unfold(n: int, input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor"""
    rows, columns = blocks = _blocks(kernel_size, dilation, padding, stride)

    def func(input: Any, *args: Any, **kwargs: Any) -> Any:
        b, h, w, c = sizes(input)
        oh, ow = rows.count(h), columns.count(w)
        x = pad(input, ((0, 0), *((block.padding, block.padding) for block in blocks), (0, 0)))
        if _are_tiles(blocks):
            x = tf.reshape(x[:, : oh * rows.kernel, : ow * columns.kernel], (b, oh, rows.kernel, ow, columns.kernel, c))
            x = tf.transpose(x, (0, 1, 3, 5, 2, 4))
        else:
            x = tf.stack([_slab(x, blocks, tap, (oh, ow)) for tap in _taps_of(blocks)], -1)
        return tf.reshape(x, (b, oh * ow, c * rows.kernel * columns.kernel))

    return func


def _taps_of(blocks: Sequence[Window]) -> Sequence[tuple[int, ...]]:
    return list(itertools.product(*(range(block.kernel) for block in blocks)))


def _slab(x: tf.Tensor, blocks: Sequence[Window], tap: Sequence[int], counts: Sequence[Any]) -> tf.Tensor:
    starts = [i * block.dilation for i, block in zip(tap, blocks)]
    ends = [start + (count - 1) * block.stride + 1 for start, count, block in zip(starts, counts, blocks)]
    return x[:, starts[0] : ends[0] : blocks[0].stride, starts[1] : ends[1] : blocks[1].stride]


@spatial((F.fold, aten.col2im.default))
def fold(
    n: int,
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """col2im(Tensor self, SymInt[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding,
    int[2] stride) -> Tensor
    """
    rows, columns = blocks = _blocks(kernel_size, dilation, padding, stride)

    def func(input: Any, output_size: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = pair(output_size, 2)
        oh, ow = (block.count(size) for block, size in zip(blocks, wanted))
        b, _, channels = sizes(input)
        c = channels // (rows.kernel * columns.kernel)
        x = tf.reshape(input, (b, oh, ow, c, rows.kernel, columns.kernel))
        full = [size + 2 * block.padding for size, block in zip(wanted, blocks)]
        if _are_tiles(blocks):
            x = tf.reshape(tf.transpose(x, (0, 1, 4, 2, 5, 3)), (b, oh * rows.kernel, ow * columns.kernel, c))
            y = pad(x, ((0, 0), (0, full[0] - oh * rows.kernel), (0, full[1] - ow * columns.kernel), (0, 0)))
        else:
            y = tf.add_n([_placed(x[..., i, j], blocks, (i, j), full) for i, j in _taps_of(blocks)])
        return pad(y, ((0, 0), *((-block.padding, -block.padding) for block in blocks), (0, 0)))

    return func


def _placed(x: tf.Tensor, blocks: Sequence[Window], tap: Sequence[int], full: Sequence[Any]) -> tf.Tensor:
    """One element of every block, where it lies on the padded image."""
    spread = zero_insertion(x, [block.stride for block in blocks])
    before = [i * block.dilation for i, block in zip(tap, blocks)]
    after = [size - start - n for size, start, n in zip(full, before, sizes(spread)[1:-1])]
    return pad(spread, ((0, 0), *zip(before, after), (0, 0)))
