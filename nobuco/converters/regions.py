"""torchvision's operators on boxes and regions of interest: nms, roi_align, roi_pool, and those by position.

They are registered by name, so that nothing here needs torchvision; its Python functions come down to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nobuco.converters.support import sizes
from nobuco.ir import Node
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import ChannelOrderingStrategy, Signature
from nobuco.ops.names import Tensor
from nobuco.registry import converter, expression


def image_and_boxes(node: Node) -> list[Signature]:
    """Layout rule: images, the first tensor and all results, channels-last; boxes as they are."""
    last = ChannelOrder.TENSORFLOW
    boxes = (ChannelOrder.PYTORCH for _ in node.inputs[1:])
    return [Signature((last, *boxes), tuple(last for _ in node.results))]


@converter("torchvision::nms", channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Callable[..., Any]:
    """torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"""
    if iou_threshold < 0:
        raise ValueError(f"nms with iou_threshold={iou_threshold}: TensorFlow has none below 0")
    # PyTorch leaves out what overlaps by more than the threshold, TFLite what does by as much.
    least = max(np.nextafter(np.float32(iou_threshold), np.float32(2)), np.finfo(np.float32).tiny)

    def run(dets: tf.Tensor, scores: tf.Tensor, iou_threshold: float) -> tf.Tensor:
        count = sizes(scores)[0]
        order = tf.math.top_k(scores, count)[1]
        if least > 1:  # no two overlap by more than all
            return tf.cast(order, tf.int64)
        # The form of the operation that TFLite has, which picks either of two that score the same: none do.
        found, kept = tf.raw_ops.NonMaxSuppressionV4(
            boxes=_with_areas(tf.gather(tf.cast(dets, tf.float32), order)),
            scores=tf.cast(tf.range(count, 0, -1), tf.float32),
            max_output_size=count,
            iou_threshold=least,
            score_threshold=tf.float32.min,
            pad_to_max_output_size=True,
        )
        return tf.cast(tf.gather(order, found[:kept]), tf.int64)

    return run


def _with_areas(boxes: tf.Tensor) -> tf.Tensor:
    """Boxes; those without an area, which share nothing with any other, are replaced by squares that share nothing.

    TFLite's operation gives the same box again and again once it has met one without an area. Column by column, since
    its converter crashes on a choice whose mask is one column, broadcast.
    """
    x1, y1, x2, y2 = (boxes[:, i] for i in range(4))
    aside = tf.reduce_min(boxes) - 2 - 2 * tf.range(sizes(boxes)[0], dtype=boxes.dtype)
    flat = (x2 <= x1) | (y2 <= y1)
    first, last = (
        [tf.where(flat, place, x) for x in pair] for place, pair in ((aside, (x1, y1)), (aside + 1, (x2, y2)))
    )
    return tf.stack([*first, *last], 1)


# -- samples between the elements of an image -----------------------------------------------------------


class _Spans(NamedTuple):
    """Where regions lie along one axis of their image: (k,) each."""

    start: tf.Tensor
    length: tf.Tensor


class _Taps(NamedTuple):
    """Elements of one axis and their weights, (k, bins * samples) each; `samples` of a bin, `counts` them."""

    places: tuple[tf.Tensor, tf.Tensor]
    weights: tuple[tf.Tensor, tf.Tensor]
    samples: Any
    counts: tf.Tensor


def _aligned_spans(rois: tf.Tensor, scale: float, offset: float, least: float | None) -> tuple[_Spans, _Spans]:
    """Rows and columns of regions (index, x1, y1, x2, y2)."""
    corners = rois[:, 1:] * scale - offset
    found = []
    for first, last in ((1, 3), (0, 2)):
        length = corners[:, last] - corners[:, first]
        found.append(_Spans(corners[:, first], length if least is None else tf.maximum(length, least)))
    return found[0], found[1]


def _taps(spans: _Spans, extent: Any, bins: int, ratio: int) -> _Taps:
    """The two elements that each sample lies between; one beyond the edge has the edge's value, then none."""
    dtype, per_bin = spans.start.dtype, spans.length / bins
    counts = tf.fill(tf.shape(per_bin), tf.constant(ratio, dtype)) if ratio > 0 else tf.math.ceil(per_bin)
    # Each region has its own number of samples; all take as many steps as the largest needs.
    samples = ratio if ratio > 0 else tf.maximum(tf.cast(tf.reduce_max(tf.concat([counts, [1.0]], 0)), tf.int32), 1)
    steps = tf.cast(tf.range(samples), dtype)
    starts = tf.expand_dims(spans.start, 1) + tf.range(bins, dtype=dtype) * tf.expand_dims(per_bin, 1)
    within = (steps + 0.5) * tf.expand_dims(per_bin / tf.maximum(counts, 1), 1)
    # (k, bins, samples); of several unknown sizes TFLite inserts axes by this operation only, not by `[:, None]`
    at = tf.expand_dims(starts, 2) + tf.expand_dims(within, 1)
    end = tf.cast(extent, dtype)
    valid = (at >= -1) & (at <= end) & tf.expand_dims(steps < tf.expand_dims(counts, 1), 1)
    last = end - 1
    at = tf.clip_by_value(at, 0, last)
    low = tf.floor(at)
    high = tf.minimum(low + 1, last)
    shape = (-1, bins * samples)
    share = tf.cast(valid, dtype)
    places = [tf.reshape(tf.cast(place, tf.int32), shape) for place in (low, high)]
    weights = [tf.reshape(weight * share, shape) for weight in (1 - (at - low), at - low)]
    return _Taps((places[0], places[1]), (weights[0], weights[1]), samples, counts)


def _averaged(input: tf.Tensor, rois: tf.Tensor, rows: _Taps, columns: _Taps, bins: tuple[int, int]) -> tf.Tensor:
    """The sum of all samples of each bin, (k, bin rows, bin columns, channels)."""
    _, height, width, channels = sizes(input)
    flat = tf.reshape(input, (-1, channels))
    first = tf.expand_dims(tf.cast(rois[:, 0], tf.int32) * height, 1)
    total: Any = 0
    for place_y, weight_y in zip(rows.places, rows.weights):
        for place_x, weight_x in zip(columns.places, columns.weights):
            places = tf.expand_dims((first + place_y) * width, 2) + tf.expand_dims(place_x, 1)
            weights = tf.expand_dims(weight_y, 2) * tf.expand_dims(weight_x, 1)
            total += tf.gather(flat, places) * tf.expand_dims(weights, 3)
    shape = (-1, bins[0], rows.samples, bins[1], columns.samples, channels)
    return tf.reduce_sum(tf.reshape(total, shape), (2, 4))


def _sampled(
    input: tf.Tensor, rois: tf.Tensor, spans: tuple[_Spans, _Spans], bins: tuple[int, int], ratio: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums of samples, and how many samples each region's bins have, (k, 1, 1, 1)."""
    _, height, width, _ = sizes(input)
    rows, columns = _taps(spans[0], height, bins[0], ratio), _taps(spans[1], width, bins[1], ratio)
    count = (rows.counts * columns.counts)[:, None, None, None]
    return _averaged(input, rois, rows, columns, bins), count


@expression("torchvision::roi_align", strategy=image_and_boxes)
def roi_align(
    input: tf.Tensor,
    rois: tf.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> tf.Tensor:
    """torchvision::roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,
    SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor
    """
    spans = _aligned_spans(rois, spatial_scale, 0.5 if aligned else 0.0, None if aligned else 1.0)
    total, count = _sampled(input, rois, spans, (pooled_height, pooled_width), sampling_ratio)
    return total / tf.maximum(count, 1)


@expression("torchvision::ps_roi_align", strategy=image_and_boxes)
def ps_roi_align(
    input: tf.Tensor,
    rois: tf.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """torchvision::ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,
    SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)
    """
    bins = pooled_height, pooled_width
    total, count = _sampled(input, rois, _aligned_spans(rois, spatial_scale, 0.5, None), bins, sampling_ratio)
    return _by_position(total / count, bins)


def _by_position(pooled: tf.Tensor, bins: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each bin its own channels, and which those are: channel (c * rows + row) * columns + column."""
    rows, columns = bins
    channels = sizes(pooled)[-1]
    own = np.arange(channels, dtype=np.int32).reshape(-1, rows, columns).transpose(1, 2, 0)
    flat = tf.reshape(pooled, (-1, rows * columns * channels))
    at = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns, 1) * channels + own
    mapping = tf.tile(tf.constant(own)[None], (tf.shape(pooled)[0], 1, 1, 1))
    return tf.gather(flat, at, axis=1), mapping


# -- whole elements of an image -------------------------------------------------------------------------


def _rounded(x: tf.Tensor) -> tf.Tensor:
    """Halves away from zero, as in C."""
    return tf.sign(x) * tf.floor(tf.abs(x) + 0.5)


def _members(start: tf.Tensor, length: tf.Tensor, extent: Any, bins: int, last: Any) -> tf.Tensor:
    """Which elements of an axis are in which bin of a region, (k, bins, extent); they end at `last`."""
    per_bin, numbers = (length / bins)[:, None], tf.range(bins, dtype=length.dtype)
    starts = tf.floor(numbers * per_bin) + start[:, None]
    ends = tf.math.ceil((numbers + 1) * per_bin) + start[:, None]
    places = tf.cast(tf.range(extent), length.dtype)
    bound = tf.cast(last, length.dtype)
    starts, ends = tf.clip_by_value(starts, 0, bound), tf.clip_by_value(ends, 0, bound)
    return (places >= starts[:, :, None]) & (places < ends[:, :, None])


def _each_region(
    input: tf.Tensor, rois: tf.Tensor, members: tuple[tf.Tensor, tf.Tensor], pool: Callable[..., Any], dtypes: Any
) -> Any:
    """`pool(image, row members, column members)` of one region after another; all at once would not fit memory."""
    index = tf.cast(rois[:, 0], tf.int32)
    pooled = tf.map_fn(lambda one: pool(tf.gather(input, one[0]), *one[1:]), (index, *members), dtypes)
    # Of no regions, TensorFlow would not know the rest.
    shape = (tf.shape(rois)[0], members[0].shape[1], members[1].shape[1], input.shape[-1])
    return tf.nest.map_structure(lambda x: tf.reshape(x, shape), pooled)


@expression("torchvision::roi_pool", strategy=image_and_boxes)
def roi_pool(
    input: tf.Tensor, rois: tf.Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """torchvision::roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,
    SymInt pooled_width) -> (Tensor, Tensor)
    """
    _, height, width, _ = sizes(input)
    corners = _rounded(rois[:, 1:] * spatial_scale)
    lengths = tf.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
    rows = _members(corners[:, 1], lengths[:, 1], height, pooled_height, height)
    columns = _members(corners[:, 0], lengths[:, 0], width, pooled_width, width)
    return _each_region(input, rois, (rows, columns), _largest, (input.dtype, tf.int32))


def _largest(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest elements of an image in each bin, and where they are; 0 and -1 where a bin is empty."""
    height, width, _ = sizes(image)
    # Of equals, the first row counts, and of that the first column.
    in_rows = tf.where(columns[:, None, :, None], image[None], image.dtype.min)
    in_bins = tf.where(rows[:, None, :, None], tf.reduce_max(in_rows, 2)[None], image.dtype.min)
    row = tf.argmax(in_bins, 2, tf.int32)
    column = tf.reduce_sum(tf.one_hot(row, height, axis=2, dtype=tf.int32) * tf.argmax(in_rows, 2, tf.int32)[None], 2)
    filled = (tf.reduce_any(rows, 1)[:, None] & tf.reduce_any(columns, 1)[None])[..., None]
    return tf.where(filled, tf.reduce_max(in_bins, 2), 0), tf.where(filled, row * width + column, -1)


@expression("torchvision::ps_roi_pool", strategy=image_and_boxes)
def ps_roi_pool(
    input: tf.Tensor, rois: tf.Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """torchvision::ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,
    SymInt pooled_width) -> (Tensor, Tensor)
    """
    _, height, width, _ = sizes(input)
    corners = _rounded(rois[:, 1:] * spatial_scale)
    lengths = tf.maximum(corners[:, 2:] - corners[:, :2], 1)
    # The last row and column are never part of it: so torchvision clips.
    rows = _members(corners[:, 1], lengths[:, 1], height, pooled_height, height - 1)
    columns = _members(corners[:, 0], lengths[:, 0], width, pooled_width, width - 1)
    pooled = _each_region(input, rois, (rows, columns), _mean, input.dtype)
    return _by_position(pooled, (pooled_height, pooled_width))


def _mean(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The mean of an image in each bin; 0 where a bin is empty."""
    rows, columns = tf.cast(rows, image.dtype), tf.cast(columns, image.dtype)
    total = tf.einsum("ph,qw,hwc->pqc", rows, columns, image)
    area = tf.reduce_sum(rows, 1)[:, None] * tf.reduce_sum(columns, 1)[None]
    return total / tf.maximum(area, 1)[..., None]
