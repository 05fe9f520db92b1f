"""Gather, scatter and their relatives: reading and writing along one dimension by a tensor of indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.arithmetic import maximum, minimum
from nobuco.converters.indexing import wrapped
from nobuco.converters.support import agree, alike, axis, cast, rank, scalar_as_vector, sizes, static_index
from nobuco.converters.writing import added_up, largest, smallest, written
from nobuco.ir import Node
from nobuco.layout import ChannelOrderingStrategy, Signature
from nobuco.layout.strategy import PYTORCH, TENSORFLOW, has_order, uniform
from nobuco.ops.names import torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def _in_one_order(node: Node) -> list[Signature]:
    """Either order where the tensors' dimensions answer to each other, vectors of indices aside."""
    orders = (TENSORFLOW, PYTORCH) if has_order(node.inputs[0]) else (PYTORCH,)
    return [uniform(node, order, order) for order in orders]


def _swapped(x: tf.Tensor, along: int) -> tf.Tensor:
    """`x` with one axis exchanged for the last."""
    perm = list(range(rank(x)))
    perm[along], perm[-1] = perm[-1], perm[along]
    return x if along == rank(x) - 1 else tf.transpose(x, perm)


def _to_front(x: tf.Tensor, along: int) -> tf.Tensor:
    return x if along == 0 else tf.transpose(x, [along, *(i for i in range(rank(x)) if i != along)])


def _from_front(x: tf.Tensor, along: int) -> tf.Tensor:
    return x if along == 0 else tf.transpose(x, [*range(1, along + 1), 0, *range(along + 1, rank(x))])


# -- reading -----------------------------------------------------------------------------------------------


@expression(torch.index_select, strategy=_in_one_order)
def index_select(input: tf.Tensor, dim: int, index: tf.Tensor) -> tf.Tensor:
    """index_select(Tensor self, int dim, Tensor index) -> Tensor"""
    if rank(input) == 0:
        return tf.identity(input)
    return tf.gather(input, tf.reshape(index, [-1]), axis=axis(input, dim))


@expression(torch.gather, strategy=_in_one_order)
def gather(input: tf.Tensor, dim: int, index: tf.Tensor, *, sparse_grad: bool = False) -> tf.Tensor:
    """gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor"""
    if index.dtype not in (tf.int32, tf.int64):  # PyTorch takes an empty one of any dtype
        index = cast(index, tf.int64)
    if rank(index) == 0:
        return tf.reshape(tf.gather(tf.reshape(input, [-1]), index), [])
    if rank(input) == 0:
        input = tf.reshape(input, [1])
    along = axis(input, dim)
    ends = [None if i == along or agree([n], [m]) else n for i, (n, m) in enumerate(zip(sizes(index), sizes(input)))]
    if any(end is not None for end in ends):
        input = input[tuple(slice(end) for end in ends)]
    return _along(input, index, along)


def _along(x: tf.Tensor, index: tf.Tensor, along: int) -> tf.Tensor:
    """`np.take_along_axis` for indices that are not negative."""
    last = rank(x) - 1
    picked = tf.gather(_swapped(x, along), _swapped(index, along), axis=last, batch_dims=last)
    return _swapped(picked, along)


def _along_dim_or_flat(node: Node) -> list[Signature]:
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim")
    return [uniform(node, PYTORCH, PYTORCH)] if dim is None else _in_one_order(node)


@expression(torch.take_along_dim, strategy=_along_dim_or_flat)
def take_along_dim(input: tf.Tensor, indices: tf.Tensor, dim: int | None = None) -> tf.Tensor:
    """take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor"""
    if dim is None:
        return tf.gather(_flat(input), _flat(indices))
    along = axis(input, dim)
    indices = wrapped(indices, sizes(input)[along])

    def stretched(x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        own, theirs = sizes(x), sizes(other)
        target = [n if i == along else _spread(n, m) for i, (n, m) in enumerate(zip(own, theirs))]
        return x if agree(x.shape.as_list(), target) else tf.broadcast_to(x, target)

    return _along(stretched(input, indices), stretched(indices, input), along)


def _spread(own: Any, other: Any) -> Any:
    """The size that goes with another one, which may be one."""
    if isinstance(other, int):
        return own if other == 1 else other
    return tf.where(tf.equal(other, 1), own, other)


def _flat(x: tf.Tensor) -> tf.Tensor:
    """All elements as PyTorch counts them; the rule sees to it that `x` lies so."""
    return tf.reshape(x, [-1])


@expression(torch.take, strategy=FORCE_PYTORCH_ORDER)
def take(input: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """take(Tensor self, Tensor index) -> Tensor"""
    flat = _flat(input)
    return tf.gather(flat, wrapped(static_index(index), sizes(flat)[0]))


@expression(torch.masked_select, strategy=FORCE_PYTORCH_ORDER)
def masked_select(input: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """masked_select(Tensor self, Tensor mask) -> Tensor"""
    input, mask = alike(input, mask)
    return tf.boolean_mask(_flat(input), _flat(mask))


def _nonzero(x: tf.Tensor) -> tf.Tensor:
    found = tf.where(tf.reshape(x if x.dtype == tf.bool else tf.not_equal(x, tf.zeros([], x.dtype)), sizes(x) or [1]))
    return found if rank(x) else found[:, :0]


@expression(torch.nonzero, strategy=FORCE_PYTORCH_ORDER)
def nonzero(input: tf.Tensor, *, as_tuple: bool = False) -> Any:
    """nonzero(Tensor self) -> Tensor"""
    found = _nonzero(tf.reshape(input, [1]) if as_tuple and not rank(input) else input)
    return tuple(found[:, i] for i in range(found.shape[1])) if as_tuple else found


@expression(torch.argwhere, strategy=FORCE_PYTORCH_ORDER)
def argwhere(input: tf.Tensor) -> tf.Tensor:
    """argwhere(Tensor self) -> Tensor"""
    return _nonzero(input)


# -- writing whole slices ----------------------------------------------------------------------------------


@expression(torch.index_fill, strategy=_in_one_order)
@scalar_as_vector
def index_fill(input: tf.Tensor, dim: int, index: tf.Tensor, value: Any) -> tf.Tensor:
    """index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor"""
    along = axis(input, dim)
    total, known = sizes(input)[along], static_index(tf.reshape(index, [-1]))
    shape = [-1 if i == along else 1 for i in range(rank(input))]
    if isinstance(known, np.ndarray) and isinstance(total, int):
        hit = tf.constant(np.isin(np.arange(total), known % total))
    else:
        hit = tf.reduce_any(tf.equal(tf.range(total)[:, tf.newaxis], tf.cast(wrapped(known, total), tf.int32)), axis=1)
    return tf.where(tf.reshape(hit, shape), cast(value, input.dtype), input)


@expression(torch.index_copy, strategy=_in_one_order)
@scalar_as_vector
def index_copy(input: tf.Tensor, dim: int, index: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
    """index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor"""
    along, source = axis(input, dim), source if rank(source) else tf.reshape(source, [1])
    places = static_index(index) if rank(index) == 1 else tf.reshape(index, [-1])
    return _from_front(written(_to_front(input, along), places, _to_front(source, along)), along)


@expression(torch.index_add, strategy=_in_one_order)
@scalar_as_vector
def index_add(input: tf.Tensor, dim: int, index: tf.Tensor, source: tf.Tensor, *, alpha: Any = 1) -> tf.Tensor:
    """index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor"""
    if input.dtype in (tf.bool, tf.uint8):
        added = index_add(cast(input, tf.int32), dim, index, cast(source, tf.int32), alpha=int(alpha))
        return cast(added, input.dtype)
    along, source = axis(input, dim), source if rank(source) else tf.reshape(source, [1])
    source = source if alpha == 1 else source * cast(alpha, source.dtype)
    places = tf.cast(tf.reshape(index, [-1, 1]), tf.int32)
    front = [sizes(input)[along], *(n for i, n in enumerate(sizes(input)) if i != along)]
    return input + _from_front(added_up(places, _to_front(source, along), front), along)


# -- scatter -----------------------------------------------------------------------------------------------


def _places(x: tf.Tensor, index: Any, along: int) -> Any:
    """Where in the flattened `x` each element of a scatter goes; an array where that is known."""
    known = isinstance(index, np.ndarray)
    lies, spans = sizes(x), index.shape if known else sizes(index)
    if not (known and all(isinstance(n, int) for n in lies)):
        index = tf.cast(index, tf.int32)
    total: Any = 0
    for i, (n, span) in enumerate(zip(lies, spans)):
        shape = [-1 if j == i else 1 for j in range(len(lies))]
        static = isinstance(span, int)
        own = np.arange(span, dtype=np.int32).reshape(shape) if static else tf.reshape(tf.range(span), shape)
        total = total * n + (index if i == along else own)
    if isinstance(total, np.ndarray):
        return np.broadcast_to(total, spans).reshape(-1).astype(np.int32)
    return tf.reshape(tf.broadcast_to(total, spans), [-1])


def _updates(src: Any, index: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    src = cast(src, dtype)
    if rank(src) == 0:
        return tf.reshape(tf.broadcast_to(src, sizes(index)), [-1])
    if not agree(sizes(src), sizes(index)):
        src = src[tuple(slice(n) for n in sizes(index))]
    return tf.reshape(src, [-1])


def _scattered(x: tf.Tensor, dim: int, index: tf.Tensor, src: Any, reduce: str | None, include: bool) -> tf.Tensor:
    if rank(x) == 0:
        return tf.reshape(_scattered(tf.reshape(x, [1]), 0, tf.reshape(index, [-1]), src, reduce, include), [])
    if x.dtype == tf.bool and reduce is not None:
        return cast(_scattered(cast(x, tf.int32), dim, index, cast(src, tf.int32), reduce, include), tf.bool)
    flat, places = tf.reshape(x, [-1]), _places(x, static_index(index), axis(x, dim))
    updates = _updates(src, index, x.dtype)
    if not include:  # not by an update, which TFLite adds up where an index comes twice
        met = tf.scatter_nd(places[:, np.newaxis], tf.ones_like(places), sizes(flat)) > 0
        flat = tf.where(met, _identity(reduce, x.dtype), flat)
    return tf.reshape(_REDUCTIONS[reduce](flat, places, updates, include), sizes(x))


def _identity(reduce: str | None, dtype: tf.DType) -> Any:
    values = {"amax": dtype.min, "amin": dtype.max, "prod": 1}
    if dtype.is_floating:
        values |= {"amax": -np.inf, "amin": np.inf}
    return tf.constant(values.get(str(reduce), 0), dtype)


def _put(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    return written(flat, places, updates)


def _sum(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    return flat + tf.scatter_nd(places[:, np.newaxis], updates, sizes(flat))


def _mean(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    count = tf.scatter_nd(places[:, np.newaxis], tf.ones_like(updates), sizes(flat))
    count = count + 1 if include else tf.maximum(count, 1)
    total = _sum(flat, places, updates, include)
    return total / count if flat.dtype.is_floating else total // count


def _prod(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    return flat * tf.math.unsorted_segment_prod(updates, places, sizes(flat)[0])


def _amax(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    # TFLite has no scatter that keeps the larger.
    return maximum(flat, largest(updates, places, sizes(flat)[0]))


def _amin(flat: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, include: bool) -> tf.Tensor:
    return minimum(flat, smallest(updates, places, sizes(flat)[0]))


_REDUCTIONS = {
    None: _put, "add": _sum, "sum": _sum, "multiply": _prod, "prod": _prod, "mean": _mean, "amax": _amax, "amin": _amin
}  # fmt: skip


@expression(torch.scatter, strategy=_in_one_order)
def scatter(input: tf.Tensor, dim: int, index: tf.Tensor, src: Any, *, reduce: str | None = None) -> tf.Tensor:
    """scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor"""
    return _scattered(input, dim, index, src, reduce, True)


@expression(torch.scatter_add, strategy=_in_one_order)
def scatter_add(input: tf.Tensor, dim: int, index: tf.Tensor, src: tf.Tensor) -> tf.Tensor:
    """scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor"""
    return _scattered(input, dim, index, src, "sum", True)


@expression(torch.scatter_reduce, strategy=_in_one_order)
def scatter_reduce(
    input: tf.Tensor, dim: int, index: tf.Tensor, src: tf.Tensor, reduce: str, *, include_self: bool = True
) -> tf.Tensor:
    """scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)"""
    return _scattered(input, dim, index, src, reduce, include_self)


@expression(torch.masked_scatter, strategy=FORCE_PYTORCH_ORDER)
def masked_scatter(input: tf.Tensor, mask: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
    """masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor"""
    input, mask = alike(input, mask)
    nth = tf.cumsum(tf.reshape(tf.cast(mask, tf.int32), [-1])) - 1
    given = _flat(source)
    if not source.shape.num_elements():  # where the mask takes nothing there may be nothing to give
        given = tf.pad(given, [(0, 1)])
    values = tf.gather(given, tf.reshape(tf.maximum(nth, 0), sizes(input)))
    return tf.where(mask, values, input)


@expression(torch.Tensor.put, strategy=FORCE_PYTORCH_ORDER)
def put(input: tf.Tensor, index: tf.Tensor, source: tf.Tensor, accumulate: bool = False) -> tf.Tensor:
    """put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor"""
    if accumulate and input.dtype == tf.bool:
        return cast(put(cast(input, tf.int32), index, cast(source, tf.int32), True), tf.bool)
    flat = _flat(input)
    places = tf.reshape(wrapped(static_index(index), sizes(flat)[0]), [-1])
    if accumulate:
        return tf.reshape(tf.tensor_scatter_nd_add(flat, places[:, tf.newaxis], _flat(source)), sizes(input))
    return tf.reshape(written(flat, places, _flat(source)), sizes(input))
