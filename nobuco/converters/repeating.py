"""Operations that repeat what a tensor holds: tiling, broadcasting, windows, and diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.joining import output_order, part
from nobuco.converters.support import agree, axis, rank, sizes
from nobuco.ir import Node, Value
from nobuco.layout import ChannelOrderingStrategy, Signature, get_channel_order, keeping
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import signatures as signatures_of
from nobuco.ops.names import aten, torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
MINIMUM_TRANSPOSITIONS = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS

# -- repeat ------------------------------------------------------------------------------------------------


def _lifted(n: int, out_rank: int) -> list[int | None]:
    return [None] * (out_rank - n) + list(range(n))


def lift(x: tf.Tensor, out_rank: int) -> tuple[tf.Tensor, ChannelOrder]:
    """`x` with leading dimensions added, and the order that it then has."""
    order = output_order(x, _lifted(rank(x), out_rank))
    if rank(x) == out_rank:
        return x, order
    logical = [1] * (out_rank - rank(x)) + get_channel_order(x).to_logical(sizes(x))
    return tf.reshape(x, order.to_physical(logical)), order


def _repeating(input: Value, repeats: Sequence[Any]) -> list[int | None]:
    return _lifted(input.rank, max(input.rank, len(repeats)))


@expression(torch.Tensor.repeat, torch.tile, aten.tile.default, strategy=keeping(_repeating))
def repeat(input: tf.Tensor, repeats: Sequence[Any]) -> tf.Tensor:
    """repeat(Tensor self, SymInt[] repeats) -> Tensor"""
    times = (1,) * (rank(input) - len(repeats)) + tuple(repeats)  # `tile` takes fewer
    x, order = lift(input, len(times))
    return x if all(isinstance(n, int) and n == 1 for n in times) else tf.tile(x, order.to_physical(times))


def _expanding(input: Value, size: Sequence[Any], **_: Any) -> list[int | None]:
    return _lifted(input.rank, len(size))


@expression(torch.Tensor.expand, torch.broadcast_to, strategy=keeping(_expanding))
def expand(input: tf.Tensor, size: Sequence[Any], *, implicit: bool = False) -> tf.Tensor:
    """expand(Tensor self, SymInt[] size, *, bool implicit=False) -> Tensor"""
    x, order = lift(input, len(size))
    return _broadcast(
        x, [s if isinstance(n, int) and n == -1 else n for n, s in zip(order.to_physical(size), sizes(x))]
    )


def _broadcast(x: tf.Tensor, target: Sequence[Any]) -> tf.Tensor:
    return x if agree(x.shape.as_list(), target) else tf.broadcast_to(x, target)


@expression(torch.Tensor.expand_as, strategy=FORCE_PYTORCH_ORDER)
def expand_as(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """expand_as(Tensor self, Tensor other) -> Tensor"""
    return _broadcast(input, sizes(other))


@expression(torch.broadcast_tensors, strategy=FORCE_PYTORCH_ORDER)
def broadcast_tensors(*tensors: Any) -> tuple[tf.Tensor, ...]:
    """broadcast_tensors(Tensor[] tensors) -> Tensor[]"""
    given = tensors[0] if isinstance(tensors[0], (list, tuple)) else tensors
    target = given[0].shape
    for x in given[1:]:
        target = tf.broadcast_static_shape(target, x.shape)
    if target.is_fully_defined():
        return tuple(_broadcast(x, target.as_list()) for x in given)
    dynamic = tf.shape(given[0])
    for x in given[1:]:
        dynamic = tf.broadcast_dynamic_shape(dynamic, tf.shape(x))
    return tuple(tf.broadcast_to(x, dynamic) for x in given)


def _interleaving(node: Node) -> Sequence[Signature]:
    """Without `dim` the tensor is read flat."""
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim")
    return signatures_of(FORCE_PYTORCH_ORDER if dim is None else MINIMUM_TRANSPOSITIONS, node)


@expression(torch.repeat_interleave, strategy=_interleaving)
def repeat_interleave(
    input: tf.Tensor | None = None, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> tf.Tensor:
    """repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor"""
    if input is None:
        return tf.repeat(tf.range(tf.size(repeats, repeats.dtype), dtype=repeats.dtype), repeats)
    along = 0 if dim is None else axis(input, dim)
    x = tf.reshape(input, [-1]) if dim is None else input
    if tf.is_tensor(repeats) and rank(repeats):
        return tf.repeat(x, repeats, along)
    lies = sizes(x)
    spread = tf.expand_dims(x, along + 1)
    tiled = tf.tile(spread, [repeats if i == along + 1 else 1 for i in range(rank(spread))])
    return tf.reshape(tiled, [*lies[:along], lies[along] * repeats, *lies[along + 1 :]])


# -- windows and diagonals ---------------------------------------------------------------------------------


@expression(torch.Tensor.unfold, strategy=FORCE_PYTORCH_ORDER)
def unfold(input: tf.Tensor, dimension: int, size: int, step: int) -> tf.Tensor:
    """unfold(Tensor self, int dimension, int size, int step) -> Tensor"""
    if rank(input) == 0:
        return tf.reshape(input, [1])[:size]
    dim, lies = dimension % rank(input), sizes(input)
    count = (lies[dim] - size) // step + 1
    if isinstance(size, int) and isinstance(step, int) and step == size:
        windows = tf.reshape(part(input, dim, 0, count * size), [*lies[:dim], count, size, *lies[dim + 1 :]])
    else:
        starts = tf.range(count) * step
        windows = tf.gather(input, starts[:, tf.newaxis] + tf.range(size), axis=dim)
    order = [i for i in range(rank(windows)) if i != dim + 1]
    return tf.transpose(windows, [*order, dim + 1]) if dim + 1 < rank(input) else windows


@expression(torch.diagonal, strategy=FORCE_PYTORCH_ORDER)
def diagonal(input: tf.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> tf.Tensor:
    """diagonal(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor"""
    first, second = dim1 % rank(input), dim2 % rank(input)
    rest = [i for i in range(rank(input)) if i not in (first, second)]
    perm = [*rest, first, second]
    x = input if perm == list(range(rank(input))) else tf.transpose(input, perm)
    *batch, rows, columns = sizes(x)
    # In a matrix read row by row, the diagonal is every (columns + 1)-th element.
    start = offset if offset >= 0 else -offset * columns
    known = isinstance(rows, int) and isinstance(columns, int)
    low, high = (min, max) if known else (tf.minimum, tf.maximum)
    count = high(low(rows + min(offset, 0), columns - max(offset, 0)), 0)
    flat = tf.reshape(x, [*batch, rows * columns])
    if not known:  # of a slice whose step is a tensor, TensorFlow does not even know the rank
        return tf.gather(flat, start + tf.range(count) * (columns + 1), axis=-1)
    return flat[..., start : start + count * (columns + 1) : columns + 1]


@expression(torch.diag_embed, strategy=FORCE_PYTORCH_ORDER)
def diag_embed(input: tf.Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> tf.Tensor:
    """diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor"""
    out_rank = rank(input) + 1
    matrix = _diagonal_matrix(input, offset)
    first, second = dim1 % out_rank, dim2 % out_rank
    rest = iter(range(out_rank - 2))
    places = {first: out_rank - 2, second: out_rank - 1}
    perm = [places[i] if i in places else next(rest) for i in range(out_rank)]
    return matrix if perm == list(range(out_rank)) else tf.transpose(matrix, perm)


def _diagonal_matrix(x: tf.Tensor, offset: int) -> tf.Tensor:
    """Matrices with the last dimension of `x` on a diagonal, by padding alone."""
    *batch, count = sizes(x)
    side = count + abs(offset)
    # Each element followed by `side` zeros puts the next one a row further down and a column to the right.
    none = [[0, 0]] * len(batch)
    spread = tf.pad(tf.expand_dims(x, -1), [*none, [0, 0], [0, side]])
    flat = tf.reshape(spread, [*batch, count * (side + 1)])
    before = offset if offset >= 0 else -offset * side
    after = side * side - before - count * (side + 1)
    after = max(after, 0) if isinstance(after, int) else tf.maximum(after, 0)
    flat = part(tf.pad(flat, [*none, [before, after]]), len(batch), None, side * side)
    return tf.reshape(flat, [*batch, side, side])


@expression(torch.diag, strategy=FORCE_PYTORCH_ORDER)
def diag(input: tf.Tensor, diagonal: int = 0) -> tf.Tensor:
    """diag(Tensor self, int diagonal=0) -> Tensor"""
    return _diagonal_matrix(input, diagonal) if rank(input) == 1 else _main_diagonal(input, diagonal)


_main_diagonal = diagonal
