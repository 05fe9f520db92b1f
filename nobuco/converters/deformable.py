"""torchvision's deformable convolution: samples at offsets, then a matrix product. Registered by name."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import sizes
from nobuco.ir import Node
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.registry import expression


def _images_and_weights(node: Node) -> list[Signature]:
    """Layout rule: image, offsets and mask channels-last; the weight, the second tensor, as in PyTorch."""
    last, first = ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH
    given = (last if i != 1 and value.rank == 4 else first for i, value in enumerate(node.inputs))
    return [Signature(tuple(given), (last,))]


@expression("torchvision::deform_conv2d", strategy=_images_and_weights)
def deform_conv2d(
    input: tf.Tensor,
    weight: tf.Tensor,
    offset: tf.Tensor,
    mask: tf.Tensor,
    bias: tf.Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> tf.Tensor:
    """torchvision::deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias,
    SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w,
    SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor
    """
    outputs, per_group, *kernel = sizes(weight)
    batch, rows, columns, _ = sizes(offset)
    taps = kernel[0] * kernel[1]
    # Of each tap down and right in turn; of six dimensions, older TFLite would take no slice.
    down, right = (tf.reshape(offset[..., i::2], (batch, rows, columns, offset_groups, taps)) for i in (0, 1))
    row_taps, column_taps = np.divmod(np.arange(taps, dtype=np.float32), kernel[1])
    at_y = _grid(rows, stride_h, pad_h)[:, None, None, None] + row_taps * dilation_h + down
    at_x = _grid(columns, stride_w, pad_w)[:, None, None] + column_taps * dilation_w + right
    found = _between(input, at_y, at_x)
    if use_mask:
        found *= tf.reshape(mask, (batch, rows, columns, offset_groups, taps, 1))
    # (..., offset groups, taps, channels of each) in the order of the weight: (..., channels, taps)
    channels = groups * per_group
    patches = tf.reshape(tf.transpose(found, (0, 1, 2, 3, 5, 4)), (batch, rows * columns, channels * taps))
    results = [
        tf.matmul(part, kernel_part, transpose_b=True)
        for part, kernel_part in zip(
            tf.split(patches, groups, -1),
            tf.split(tf.reshape(weight, (outputs, per_group * taps)), groups, 0),
        )
    ]
    return tf.reshape(tf.concat(results, -1) + bias, (batch, rows, columns, outputs))


def _grid(count: Any, stride: int, padding: int) -> tf.Tensor:
    return tf.cast(tf.range(count) * stride - padding, tf.float32)


def _between(input: tf.Tensor, at_y: tf.Tensor, at_x: tf.Tensor) -> tf.Tensor:
    """An image between its elements, zero outside: (n, rows, columns, groups, taps, channels of a group)."""
    batch, height, width, channels = sizes(input)
    groups = at_y.shape[3]
    # Each group samples its own channels; they become images of their own.
    images = tf.reshape(input, (batch, height * width * groups, channels // groups))
    group = tf.range(groups)[:, None]
    total: Any = 0
    for (y, share_y), (x, share_x) in itertools.product(_two(at_y, height), _two(at_x, width)):
        places = (y * width + x) * groups + group
        total += tf.gather(images, places, axis=1, batch_dims=1) * tf.expand_dims(share_y * share_x, -1)
    return total


def _two(at: tf.Tensor, extent: Any) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The elements on both sides of each place, and their shares; one outside has none."""
    low, last = tf.floor(at), tf.cast(extent - 1, at.dtype)
    found = []
    for place, share in ((low, 1 - (at - low)), (low + 1, at - low)):
        inside = tf.cast((place >= 0) & (place <= last), at.dtype)
        found.append((tf.cast(tf.clip_by_value(place, 0, last), tf.int32), share * inside))
    return found
