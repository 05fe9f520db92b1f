"""torchvision's compiled operators in plain PyTorch, for builds of PyTorch that its own do not load with.

Loops over regions and elements as its C++ has them, for reading, not for speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    x1, y1, x2, y2 = dets.unbind(1)
    areas = (x2 - x1) * (y2 - y1)
    left, kept = scores.sort(stable=True, descending=True)[1], []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        width = (torch.minimum(x2[best], x2[left]) - torch.maximum(x1[best], x1[left])).clamp(min=0)
        height = (torch.minimum(y2[best], y2[left]) - torch.maximum(y1[best], y1[left])).clamp(min=0)
        shared = width * height
        left = left[~(shared / (areas[best] + areas[left] - shared) > iou_threshold)]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)


def _weights(start: float, length: float, bins: int, ratio: int, extent: int) -> tuple[Tensor, int]:
    """What each element of an axis weighs in the sum of each bin, and how many samples a bin has."""
    weights, per_bin = torch.zeros(bins, extent), length / bins
    count = ratio if ratio > 0 else math.ceil(per_bin)
    for bin_ in range(bins):
        for i in range(count):
            at = start + bin_ * per_bin + (i + 0.5) * per_bin / count
            if -1 <= at <= extent:
                at = min(max(at, 0), extent - 1)
                low = int(at)
                weights[bin_, low] += 1 - (at - low)
                weights[bin_, min(low + 1, extent - 1)] += at - low
    return weights, count


def _sums(image: Tensor, start: Any, length: Any, bins: tuple[int, int], ratio: int) -> tuple[Tensor, int]:
    """The sum of the samples in each bin of one region, and how many there are in one."""
    rows, columns = (_weights(*axis, ratio, n) for axis, n in zip(zip(start, length, bins), image.shape[1:]))
    return torch.einsum("ph,qw,chw->cpq", rows[0], columns[0], image), rows[1] * columns[1]


def roi_align(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int,
    sampling_ratio: int, aligned: bool,
) -> Tensor:  # fmt: skip
    pooled = []
    for index, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * spatial_scale - (0.5 if aligned else 0) for c in corners)
        length = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        total, count = _sums(input[int(index)], (y1, x1), length, (pooled_height, pooled_width), sampling_ratio)
        pooled.append(total / max(count, 1))
    return torch.stack(pooled) if pooled else input.new_zeros(0, input.shape[1], pooled_height, pooled_width)


def ps_roi_align(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    pooled = []
    for index, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * spatial_scale - 0.5 for c in corners)
        bins = (pooled_height, pooled_width)
        total, count = _sums(input[int(index)], (y1, x1), (y2 - y1, x2 - x1), bins, sampling_ratio)
        pooled.append(total / count)
    return _by_position(torch.stack(pooled))


def _by_position(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Of each bin its own channels, and which those are."""
    count, channels, rows, columns = pooled.shape
    own = torch.arange(channels).reshape(-1, rows, columns)
    result = torch.stack([
        torch.stack([pooled[:, own[:, row, column], row, column] for column in range(columns)], -1)
        for row in range(rows)
    ], -2)  # fmt: skip
    return result, own.int().expand(count, -1, -1, -1).contiguous()


def _rounded(number: float) -> int:
    return int(math.copysign(math.floor(abs(number) + 0.5), number))


def _bounds(bin_: int, bins: int, start: int, length: int, last: int) -> slice:
    """The elements of one bin along an axis."""
    first = start + math.floor(bin_ * (length / bins))
    end = start + math.ceil((bin_ + 1) * (length / bins))
    return slice(min(max(first, 0), last), min(max(end, 0), last))


def roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    _, channels, height, width = input.shape
    found = torch.zeros(len(rois), channels, pooled_height, pooled_width)
    places = torch.full(found.shape, -1, dtype=torch.int32)
    for k, (index, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (_rounded(c * spatial_scale) for c in corners)
        for row in range(pooled_height):
            rows = _bounds(row, pooled_height, y1, max(y2 - y1 + 1, 1), height)
            for column in range(pooled_width):
                columns = _bounds(column, pooled_width, x1, max(x2 - x1 + 1, 1), width)
                region = input[int(index), :, rows, columns]
                if region.numel():
                    best, at = region.flatten(1).max(1)
                    found[k, :, row, column] = best
                    places[k, :, row, column] = (rows.start + at // region.shape[2]) * width + (
                        columns.start + at % region.shape[2]
                    )
    return found, places


def ps_roi_pool(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    _, channels, height, width = input.shape
    pooled = torch.zeros(len(rois), channels, pooled_height, pooled_width)
    for k, (index, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (_rounded(c * spatial_scale) for c in corners)
        for row in range(pooled_height):
            rows = _bounds(row, pooled_height, y1, max(y2 - y1, 1), height - 1)
            for column in range(pooled_width):
                columns = _bounds(column, pooled_width, x1, max(x2 - x1, 1), width - 1)
                region = input[int(index), :, rows, columns]
                if region.numel():
                    pooled[k, :, row, column] = region.mean((1, 2))
    return _by_position(pooled)


def _between(image: Tensor, y: float, x: float) -> Tensor:
    """Every channel of an image at a place between its elements."""
    low_y, low_x = int(y), int(x)
    upper = image[:, low_y, low_x] * (1 - (x - low_x)) + image[:, low_y, low_x + 1] * (x - low_x)
    lower = image[:, low_y + 1, low_x] * (1 - (x - low_x)) + image[:, low_y + 1, low_x + 1] * (x - low_x)
    return upper * (1 - (y - low_y)) + lower * (y - low_y)


def deform_conv2d(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, stride_h: int, stride_w: int,
    pad_h: int, pad_w: int, dilation_h: int, dilation_w: int, groups: int, offset_groups: int, use_mask: bool,
) -> Tensor:  # fmt: skip
    outputs, _, kernel_h, kernel_w = weight.shape
    batch, channels, height, width = input.shape
    rows, columns = offset.shape[-2:]
    moved = offset.reshape(batch, offset_groups, kernel_h, kernel_w, 2, rows, columns)
    shares = mask.reshape(batch, offset_groups, kernel_h, kernel_w, rows, columns) if use_mask else None
    patches = input.new_zeros(batch, channels, kernel_h, kernel_w, rows, columns)
    per_group = channels // offset_groups
    padded = torch.nn.functional.pad(input, (1, 1, 1, 1))  # outside, there is zero
    for n, g, i, j, row, column in torch.cartesian_prod(
        *map(torch.arange, (batch, offset_groups, kernel_h, kernel_w, rows, columns))
    ).tolist():
        y = row * stride_h - pad_h + i * dilation_h + float(moved[n, g, i, j, 0, row, column])
        x = column * stride_w - pad_w + j * dilation_w + float(moved[n, g, i, j, 1, row, column])
        own = slice(g * per_group, (g + 1) * per_group)
        if -1 < y < height and -1 < x < width:
            found = _between(padded[n, own], y + 1, x + 1)
            share = shares[n, g, i, j, row, column] if shares is not None else 1
            patches[n, own, i, j, row, column] = found * share
    products = torch.einsum(
        "ngcxyhw,gocxy->ngohw",
        patches.reshape(batch, groups, channels // groups, kernel_h, kernel_w, rows, columns),
        weight.reshape(groups, outputs // groups, *weight.shape[1:]),
    )
    return products.reshape(batch, outputs, rows, columns) + bias[:, None, None]


KERNELS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (nms, roi_align, ps_roi_align, roi_pool, ps_roi_pool, deform_conv2d)
}  # fmt: skip
