"""Writing into a part of a tensor, and reducing parts of it: what the public converters have no form of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.arithmetic import maximum, minimum
from nobuco.converters.aten.shared import along
from nobuco.converters.bins import places_among
from nobuco.converters.gathering import argwhere, scatter_reduce
from nobuco.converters.indexing import setitem
from nobuco.converters.memory import as_strided
from nobuco.converters.repeating import diagonal
from nobuco.converters.support import cast, rank, scalar_as_vector, sizes
from nobuco.converters.writing import counted, largest, smallest, written
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def _written(x: tf.Tensor, src: tf.Tensor, view: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`x` with `src` where a view of it is: the view of the elements' own numbers tells where that is."""
    places = counted(sizes(x), view)
    places = places.reshape(-1) if isinstance(places, np.ndarray) else tf.reshape(places, [-1])
    flat = written(tf.reshape(x, [-1]), places, tf.reshape(cast(src, x.dtype), [-1]))
    return tf.reshape(flat, sizes(x))


@expression(aten.diagonal_scatter.default, strategy=FORCE_PYTORCH_ORDER)
def diagonal_scatter(self: tf.Tensor, src: tf.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> tf.Tensor:
    """diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor"""
    return _written(self, src, lambda x: diagonal(x, offset, dim1, dim2))


@expression(aten.as_strided_scatter.default, strategy=FORCE_PYTORCH_ORDER)
def as_strided_scatter(
    self: tf.Tensor, src: tf.Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> tf.Tensor:
    """as_strided_scatter(Tensor self, Tensor src, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None)"""
    return _written(self, src, lambda x: as_strided(x, size, stride, storage_offset or 0))


@expression(aten.select_scatter.default, strategy=FORCE_PYTORCH_ORDER)
def select_scatter(self: tf.Tensor, src: tf.Tensor, dim: int, index: int) -> tf.Tensor:
    """select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor"""
    return setitem(self, along(dim, rank(self), index), src)


@expression(aten.slice_scatter.default, strategy=FORCE_PYTORCH_ORDER)
def slice_scatter(
    self: tf.Tensor, src: tf.Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> tf.Tensor:
    """slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1)"""
    return setitem(self, along(dim, rank(self), slice(start, end, step)), src)


@expression(aten.index_reduce.default, strategy=FORCE_PYTORCH_ORDER)
@scalar_as_vector
def index_reduce(
    self: tf.Tensor, dim: int, index: tf.Tensor, source: tf.Tensor, reduce: str, *, include_self: bool = True
) -> tf.Tensor:
    """index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True)"""
    source = source if rank(source) else tf.reshape(source, [1])
    places = tf.reshape(index, [-1 if i == dim % rank(self) else 1 for i in range(rank(self))])
    places = tf.broadcast_to(places, sizes(source))
    return scatter_reduce(self, dim, places, source, reduce, include_self=include_self)


@expression(aten.nonzero_static.default, strategy=FORCE_PYTORCH_ORDER)
def nonzero_static(self: tf.Tensor, *, size: int, fill_value: int = -1) -> tf.Tensor:
    """nonzero_static(Tensor self, *, SymInt size, int fill_value=-1) -> Tensor"""
    filled = tf.fill([size, rank(self)], cast(fill_value, tf.int64))
    return tf.slice(tf.concat([argwhere(self), filled], 0), [0, 0], [size, rank(self)])  # whose size is static


@expression(aten.resize.default, strategy=FORCE_PYTORCH_ORDER)
def resize(self: tf.Tensor, size: Sequence[int], **_: Any) -> tf.Tensor:
    """resize(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor, zero where PyTorch leaves open"""
    flat, count = tf.reshape(self, [-1]), int(np.prod(size))
    return tf.reshape(tf.concat([flat, tf.zeros([count], self.dtype)], 0)[:count], list(size))


# -- segments ---------------------------------------------------------------------------------------------------

_SEGMENTS = {
    "sum": (tf.math.unsorted_segment_sum, tf.add, 0.0),
    "mean": (tf.math.unsorted_segment_sum, tf.add, 0.0),
    "prod": (tf.math.unsorted_segment_prod, tf.multiply, 1.0),
    "max": (largest, maximum, -np.inf),
    "min": (smallest, minimum, np.inf),
}
_SEGMENTS |= {f"a{name}": _SEGMENTS[name] for name in ("max", "min")}  # PyTorch knows them by both names


@expression(aten.segment_reduce.default, strategy=FORCE_PYTORCH_ORDER)
def segment_reduce(
    data: tf.Tensor,
    reduce: str,
    *,
    lengths: tf.Tensor | None = None,
    indices: tf.Tensor | None = None,
    offsets: tf.Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> tf.Tensor:
    """segment_reduce(Tensor data, str reduce, *, Tensor? lengths=None, Tensor? indices=None, Tensor? offsets=None,
    int axis=0, bool unsafe=False, Scalar? initial=None) -> Tensor
    """
    axis %= rank(data)
    ends = offsets[..., 1:] if offsets is not None else tf.cumsum(lengths, axis=-1)
    *batch, number = sizes(ends)
    rows, total = math.prod(batch), sizes(data)[axis]
    places = tf.cast(tf.broadcast_to(tf.range(total), [*batch, total]), ends.dtype)
    own = tf.reshape(places_among(ends, places, right=True), [rows, total])
    own = tf.reshape(own + (number + 1) * tf.range(rows)[:, tf.newaxis], [-1])
    flat = tf.reshape(data, [rows * total, *sizes(data)[axis + 1 :]])

    def of_segments(x: tf.Tensor, combine: Callable[..., tf.Tensor]) -> tf.Tensor:
        found = tf.reshape(combine(x, own, rows * (number + 1)), [rows, number + 1, *sizes(x)[1:]])
        return found[:, :number]  # without what lies behind the last

    combine, with_initial, default = _SEGMENTS[reduce]
    count = of_segments(tf.ones([rows * total, *[1] * (rank(flat) - 1)], data.dtype), tf.math.unsorted_segment_sum)
    start = cast(default if initial is None else initial, data.dtype)
    found = tf.where(count > 0, with_initial(of_segments(flat, combine), start), start)
    if reduce == "mean":
        found = found / (count if initial is None else tf.maximum(count, 1))
    return tf.reshape(found, [*batch, number, *sizes(flat)[1:]])
