"""Resizing: TensorFlow's own where it computes the same, else a static matrix or index table per axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.pooling import adaptive_average
from nobuco.converters.support import cast, sizes
from nobuco.converters.windows import along, known
from nobuco.ops.names import F, torch
from nobuco.registry import ChannelUse, converter

NEAREST = ("nearest", "nearest-exact")
LINEAR = ("linear", "bilinear", "trilinear")
# At these multiples of the old size PyTorch's kernels do not look at the factor that was given.
_MULTIPLES: dict[str, tuple[int, ...]] = {"nearest": (1, 2), **dict.fromkeys(LINEAR, (1,))}


@dataclass(frozen=True)
class Resize:
    """One axis to resize. `factor` is what PyTorch maps coordinates by; None: the ratio of the sizes.

    That is taken in any case where the new size is one of these `multiples` of the old one.
    """

    old: Any
    new: Any
    factor: float | None
    align_corners: bool
    multiples: tuple[int, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether coordinates follow from the sizes alone, as TensorFlow has it."""
        if self.factor is None or self.align_corners:
            return True
        if isinstance(self.old, int):
            return self.new in [k * self.old for k in self.multiples] or bool(
                np.float32(1 / self.factor) == np.float32(self.old) / np.float32(self.new)
            )
        return float(self.factor).is_integer()

    def scale(self, old: Any, new: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Input elements per output element."""
        old, new = tf.cast(old, dtype), tf.cast(new, dtype)
        if self.align_corners:
            return tf.where(new > 1, (old - 1) / tf.maximum(new - 1, 1), tf.zeros((), dtype))
        if self.factor is None:
            return old / new
        is_multiple = tf.reduce_any([new == k * old for k in self.multiples]) if self.multiples else False
        return tf.where(is_multiple, old / new, tf.cast(1 / self.factor, dtype))

    def sources(self, old: Any, new: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """(new,): where in the input the centre of each output element lies."""
        places, scale = tf.cast(tf.range(new), dtype), self.scale(old, new, dtype)
        return places * scale if self.align_corners else (places + 0.5) * scale - 0.5


@converter(F.interpolate, in_double=True, channels=ChannelUse.EACH)
def interpolate(
    input: torch.Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """interpolate(Tensor input, SymInt[]? size=None, float[]? scale_factor=None, str mode="nearest",
    bool? align_corners=None, bool? recompute_scale_factor=None, bool antialias=False) -> Tensor
    """

    def func(
        input: Any,
        size: Any = None,
        scale_factor: Any = None,
        mode: Any = "nearest",
        align_corners: Any = None,
        recompute_scale_factor: Any = None,
        antialias: Any = False,
    ) -> Any:
        factors = None if recompute_scale_factor else scale_factor
        news = new_sizes(input, size, scale_factor)
        given = factors if isinstance(factors, Sequence) else [factors] * len(news)
        multiples = () if antialias else _MULTIPLES.get(mode, ())
        resizes = [Resize(*of, bool(align_corners), multiples) for of in zip(sizes(input)[1:-1], news, given)]
        if mode == "area":
            return adaptive_average(input, news)
        if mode in NEAREST:
            return nearest(input, resizes, exact=mode == "nearest-exact")
        return smooth(input, resizes, mode in LINEAR, antialias)

    return func


def new_sizes(x: tf.Tensor, size: Any, scale_factor: Any) -> list[Any]:
    """The output's spatial sizes: ints where static, scalar int32 tensors where dynamic."""
    olds = sizes(x)[1:-1]
    if size is not None:
        wanted = list(size) if isinstance(size, Sequence) else [size] * len(olds)
        return [tf.cast(n, tf.int32) if tf.is_tensor(n) else int(n) for n in wanted]
    factors = scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * len(olds)
    return [_times(old, factor) for old, factor in zip(olds, factors)]


def _times(old: Any, factor: float) -> Any:
    if isinstance(old, int):
        return floor(old * factor)
    if float(factor).is_integer():
        return old * int(factor)
    return tf.cast(tf.floor(cast(old, tf.float64) * cast(factor, tf.float64)), tf.int32)


def nearest(x: tf.Tensor, resizes: Sequence[Resize], exact: bool) -> tf.Tensor:
    """Nearest neighbour: the plain mode looks from an element's corner, the exact one from its centre."""
    if all(r.is_plain for r in resizes):
        return _native(x, resizes, tf.raw_ops.ResizeNearestNeighbor, align_corners=False, half_pixel_centers=exact)
    for axis, resize in enumerate(resizes, 1):

        def table(old: Any, new: Any, resize: Resize = resize) -> tf.Tensor:
            places = tf.cast(tf.range(new), tf.float32) + (0.5 if exact else 0.0)
            return tf.minimum(tf.cast(tf.floor(places * resize.scale(old, new)), tf.int32), old - 1)

        x = tf.gather(x, known(table, resize.old, resize.new), axis=axis)
    return x


def smooth(x: tf.Tensor, resizes: Sequence[Resize], linear: bool, antialias: bool) -> tf.Tensor:
    """Linear or cubic interpolation of any dimensionality: it separates."""
    if linear and not antialias and x.dtype == tf.float32 and all(r.is_plain for r in resizes):
        aligned = resizes[0].align_corners
        return _native(x, resizes, tf.raw_ops.ResizeBilinear, align_corners=aligned, half_pixel_centers=not aligned)
    if not x.dtype.is_floating:
        return _in_fixed_point(x, resizes, linear, antialias)
    dtype = tf.float64 if x.dtype == tf.float64 else tf.float32
    for axis, resize in enumerate(resizes, 1):
        if resize.old is not resize.new or not resize.is_plain:
            x = along(x, axis, _matrix(resize, linear, antialias, dtype))
    return x


def _matrix(resize: Resize, linear: bool, antialias: bool, dtype: tf.DType) -> tf.Tensor:
    rows = _antialiased if antialias else _linear if linear else _cubic
    return known(lambda old, new: rows(resize, old, new, dtype, linear), resize.old, resize.new)


def _in_fixed_point(x: tf.Tensor, resizes: Sequence[Resize], linear: bool, antialias: bool) -> tf.Tensor:
    """Integers as PyTorch does them: axis by axis, the last first, with weights of 16 bits, rounded each time."""
    for axis, resize in reversed(list(enumerate(resizes, 1))):
        if resize.old is resize.new and resize.is_plain:
            continue
        matrix = _matrix(resize, linear, antialias, tf.float32)
        # The largest weight takes 15 bits.
        bits = tf.minimum(tf.math.ceil(tf.math.log((2.0**15 - 0.5) / tf.reduce_max(matrix)) / np.log(2)) - 1, 22)
        one = tf.pow(2.0, bits)
        sums = along(cast(x, tf.float32), axis, tf.sign(matrix) * tf.floor(tf.abs(matrix) * one + 0.5))
        x = tf.cast(tf.clip_by_value(tf.floor(sums / one + 0.5), x.dtype.min, x.dtype.max), x.dtype)
    return x


def _native(x: tf.Tensor, resizes: Sequence[Resize], op: Any, **options: bool) -> tf.Tensor:
    """A resize of TensorFlow's, which knows two dimensions: one is lifted, three are done as one and two."""
    news = [r.new for r in resizes]
    if len(news) == 2:
        return op(images=x, size=tf.stack(news), **options)
    if len(news) == 1:
        return tf.squeeze(op(images=tf.expand_dims(x, 1), size=tf.stack([1, *news]), **options), 1)
    b, d, h, w, c = sizes(x)
    planes = op(images=tf.reshape(x, (b * d, h, w, c)), size=tf.stack(news[1:]), **options)
    columns = tf.reshape(planes, (b, d, news[1] * news[2], c))
    return tf.reshape(op(images=columns, size=tf.stack([news[0], news[1] * news[2]]), **options), (b, *news, c))


# -- matrices (new, old): each row has the weights of one output element ----------------------------------


def _linear(resize: Resize, old: Any, new: Any, dtype: tf.DType, _: bool) -> tf.Tensor:
    sources = tf.maximum(resize.sources(old, new, dtype), 0)
    lower = tf.floor(sources)
    return _rows([(lower, 1 - (sources - lower)), (lower + 1, sources - lower)], old, dtype)


def _cubic(resize: Resize, old: Any, new: Any, dtype: tf.DType, _: bool) -> tf.Tensor:
    sources = resize.sources(old, new, dtype)
    first = tf.floor(sources)
    return _rows([(first + i, cubic(sources - (first + i), -0.75)) for i in (-1, 0, 1, 2)], old, dtype)


def _rows(taps: Sequence[tuple[tf.Tensor, tf.Tensor]], old: Any, dtype: tf.DType) -> tf.Tensor:
    places = [tf.clip_by_value(tf.cast(place, tf.int32), 0, old - 1) for place, _ in taps]
    return tf.add_n([weight[:, None] * tf.one_hot(at, old, dtype=dtype) for at, (_, weight) in zip(places, taps)])


def _antialiased(resize: Resize, old: Any, new: Any, dtype: tf.DType, linear: bool) -> tf.Tensor:
    """The filter, widened to what an output element covers and cut at the edges; its weights sum to one."""
    scale = resize.scale(old, new, dtype)
    wide = tf.maximum(scale, 1)
    support = wide * (1 if linear else 2)
    centers = (tf.cast(tf.range(new), dtype)[:, None] + 0.5) * scale
    places = tf.cast(tf.range(old), dtype)[None, :]
    start = tf.maximum(tf.floor(tf.maximum(centers - support + 0.5, 0)), 0)
    inside = (places >= start) & (places < tf.floor(centers + support + 0.5))
    distance = (places - centers + 0.5) / wide
    weights = tf.maximum(1 - tf.abs(distance), 0) if linear else cubic(distance, -0.5)
    weights = tf.where(inside, weights, tf.zeros((), dtype))
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def cubic(distance: tf.Tensor, a: float) -> tf.Tensor:
    """Keys's cubic convolution kernel."""
    x = tf.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return tf.where(x <= 1, near, tf.where(x < 2, far, tf.zeros_like(x)))
