"""Sorting and picking by rank. TensorFlow sorts along the last axis only, which the planner is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.rules import along_last, remaining
from nobuco.converters.support import axis, rank, scalar_as_vector, size, sizes, spellings
from nobuco.ir import Value
from nobuco.layout.strategy import keeping
from nobuco.registry import expression


def ranked(x: tf.Tensor, dim: int, k: Any, descending: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The first `k` elements along a dimension when sorted, and their indices; equals keep their order."""
    over, last = axis(x, dim), rank(x) - 1
    swap = [last if a == over else over if a == last else a for a in range(rank(x))]
    keys = tf.cast(x, tf.int32) if x.dtype in (tf.bool, tf.uint8) else x  # whose sign cannot be turned
    keys = keys if over == last else tf.transpose(keys, swap)
    found, indices = tf.math.top_k(keys if descending else -keys, k)
    values, indices = tf.cast(found if descending else -found, x.dtype), tf.cast(indices, tf.int64)
    return (values, indices) if over == last else (tf.transpose(values, swap), tf.transpose(indices, swap))


def _sort_arguments(dim: int = -1, descending: bool = False, *, stable: Any = None) -> tuple[int, bool]:
    return dim, descending


def _sort_dim(input: Value, *args: Any, **kwargs: Any) -> int:
    return _sort_arguments(*args, **kwargs)[0]


@expression(*spellings("sort"), strategy=along_last(_sort_dim))
@scalar_as_vector
def sort(input: tf.Tensor, *args: Any, **kwargs: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (values, indices)"""
    dim, descending = _sort_arguments(*args, **kwargs)
    return ranked(input, dim, size(input, dim), descending)


@expression(*spellings("argsort"), strategy=along_last(_sort_dim))
@scalar_as_vector
def argsort(input: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
    """argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor"""
    return sort(input, *args, **kwargs)[1]


@expression(*spellings("msort"), strategy=along_last(lambda input: 0))
def msort(input: tf.Tensor) -> tf.Tensor:
    """msort(Tensor self) -> Tensor"""
    return ranked(input, 0, size(input, 0), descending=False)[0]


def _topk_dim(input: Value, k: Any, dim: int = -1, *_: Any, **__: Any) -> int:
    return dim


@expression(*spellings("topk"), strategy=along_last(_topk_dim))
@scalar_as_vector
def topk(
    input: tf.Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[tf.Tensor, tf.Tensor]:
    """topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (values, indices)"""
    return ranked(input, dim, k, descending=largest)


def _picked(x: tf.Tensor, dim: int, place: Any, keepdim: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The element at a place of the ascending order, and its index."""
    over = axis(x, dim)

    def pick(ordered: tf.Tensor) -> tf.Tensor:
        chosen = tf.gather(ordered, place, axis=over)
        return tf.expand_dims(chosen, over) if keepdim else chosen

    values, indices = ranked(x, dim, place + 1, descending=False)
    return pick(values), pick(indices)


def _kth_sources(input: Value, k: Any, dim: int = -1, keepdim: bool = False) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


@expression(*spellings("kthvalue"), strategy=keeping(_kth_sources))
@scalar_as_vector
def kthvalue(input: tf.Tensor, k: Any, dim: int = -1, keepdim: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """kthvalue(Tensor self, SymInt k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _picked(input, dim, k - 1, keepdim)


def _median_sources(input: Value, dim: int | None = None, keepdim: bool = False) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


@expression(*spellings("median"), strategy=keeping(_median_sources))
def median(input: tf.Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    if dim is None:
        flat = tf.reshape(input, [-1])
        return _picked(flat, 0, (sizes(flat)[0] - 1) // 2, keepdim=False)[0]
    if not rank(input):
        return input, tf.zeros([], tf.int64)
    return _picked(input, dim, (size(input, dim) - 1) // 2, keepdim)
