"""Runs of equal elements: the unique ones, those that differ from the one before, and the most frequent."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.cumulative import scanned
from nobuco.converters.rules import remaining
from nobuco.converters.sorting import ranked
from nobuco.converters.support import axis, cast, rank, scalar_as_vector, sizes
from nobuco.ir import Value
from nobuco.layout import ChannelOrderingStrategy
from nobuco.layout.strategy import keeping
from nobuco.ops.names import aten, torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
Found = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def _starts(rows: tf.Tensor) -> tf.Tensor:
    """Which rows differ from the one before; the first does."""
    differs = tf.not_equal(rows[1:], rows[:-1])
    differs = tf.reduce_any(tf.reshape(differs, [tf.shape(differs)[0], -1]), 1) if rank(rows) > 1 else differs
    return tf.concat([tf.ones(tf.shape(rows)[:1], tf.bool)[:1], differs], 0)


def _runs(starts: tf.Tensor) -> Found:
    """Where each run starts, which run each row belongs to, and how long each is."""
    places = tf.where(starts)[:, 0]
    ends = tf.concat([places[1:], tf.shape(starts, tf.int64)], 0)
    return places, tf.cumsum(tf.cast(starts, tf.int64)) - 1, ends - places


def _given(found: Found, inverse: bool, counts: bool) -> Found:
    """What is asked for, and empty tensors for the rest, as PyTorch gives where it is given no dimension."""
    none = tf.zeros([0], tf.int64)
    return found[0], found[1] if inverse else none, found[2] if counts else none


def _sorted_runs(rows: tf.Tensor, order: tf.Tensor) -> Found:
    """The different rows in the order given, the place of each row among them, and how often each is there."""
    ordered = tf.gather(rows, order)
    places, number, lengths = _runs(_starts(ordered))
    back = tf.math.top_k(-tf.cast(order, tf.int32), tf.shape(order)[0])[1]  # the inverse of a permutation
    return tf.gather(ordered, places), tf.gather(number, back), lengths


@expression(aten._unique2.default, strategy=FORCE_PYTORCH_ORDER)
def unique(self: tf.Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> Found:
    """_unique2(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> (Tensor, ...)"""
    flat = tf.reshape(self, [-1])
    order = ranked(flat, 0, sizes(flat)[0], descending=False)[1]
    values, inverse, counts = _sorted_runs(flat, order)
    return _given((values, tf.reshape(inverse, sizes(self)), counts), return_inverse, return_counts)


def _by_rows(x: tf.Tensor, dim: int) -> tuple[tf.Tensor, list[int]]:
    """The slices along a dimension, and the permutation that brings it to the front."""
    front = [dim % rank(x), *(i for i in range(rank(x)) if i != dim % rank(x))]
    return tf.transpose(x, front), [front.index(i) for i in range(rank(x))]


def _in_order(rows: tf.Tensor) -> tf.Tensor:
    """The order in which rows come as in a dictionary: sorted by each column, the first at last."""
    count = sizes(rows)[0]
    flat = tf.reshape(rows, [count, -1])

    def by_column(i: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        keys = tf.gather(tf.gather(flat, i, axis=1), order)
        keys.set_shape([rows.shape[0]])
        order = tf.gather(order, ranked(keys, 0, count, descending=False)[1])
        order.set_shape([rows.shape[0]])
        return i - 1, order

    start = (tf.shape(flat)[1] - 1, tf.range(count))
    return tf.while_loop(lambda i, _: i >= 0, by_column, start)[1]


@expression(aten.unique_dim.default, strategy=FORCE_PYTORCH_ORDER)
def unique_dim(
    self: tf.Tensor, dim: int, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Found:
    """unique_dim(Tensor self, int dim, bool sorted=True, bool return_inverse=False, bool return_counts=False)"""
    rows, back = _by_rows(self, dim)
    values, inverse, counts = _sorted_runs(rows, _in_order(rows))
    return tf.transpose(values, back), inverse, counts


@expression(aten.unique_consecutive.default, strategy=FORCE_PYTORCH_ORDER)
def unique_consecutive(
    self: tf.Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Found:
    """unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None)"""
    rows, back = (tf.reshape(self, [-1]), [0]) if dim is None else _by_rows(self, dim)
    places, number, lengths = _runs(_starts(rows))
    found = tf.transpose(tf.gather(rows, places), back), number, lengths
    if dim is not None and not (dim == 0 and rank(self) == 1):  # which PyTorch takes for none, but not -1
        return found
    return _given((found[0], tf.reshape(number, sizes(self)), lengths), return_inverse, return_counts)


def _mode_sources(input: Value, dim: int = -1, keepdim: bool = False) -> Any:
    return remaining(input.rank, dim, keepdim)


@expression(torch.mode, strategy=keeping(_mode_sources))
@scalar_as_vector
def mode(input: tf.Tensor, dim: int = -1, keepdim: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    over = axis(input, dim)
    last = rank(input) - 1
    perm = [last if a == over else over if a == last else a for a in range(rank(input))]
    x = tf.transpose(input, perm)
    values, indices = ranked(x, -1, sizes(x)[-1], descending=False)
    place = tf.broadcast_to(tf.range(sizes(x)[-1]), sizes(x))
    starts = tf.concat([tf.zeros_like(place[..., :1]), _where_changed(values, place[..., 1:])], -1)
    (first,) = scanned((starts,), last, lambda a, b: (tf.maximum(a[0], b[0]),))
    end = tf.argmax(place - first, -1, output_type=tf.int32)  # of the first longest run
    found = [tf.gather(v, end, axis=last, batch_dims=last) for v in (values, cast(indices, tf.int64))]
    back = [a for a in range(last) if a != over] + [over] * (over < last)  # where the last axis came to lie
    found = [tf.transpose(v, back) for v in found]
    return tuple(tf.expand_dims(v, over) if keepdim else v for v in found)


def _where_changed(values: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.not_equal(values[..., 1:], values[..., :-1]), place, tf.zeros_like(place))
