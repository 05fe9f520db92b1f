"""Operations that put tensors together, take them apart, or repeat and reverse what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import tensorflow as tf

from nobuco.converters.slicing import FULL, sliced, stacked, unstacked
from nobuco.converters.support import axes, axis, promoted, rank, size, sizes
from nobuco.errors import InputError
from nobuco.ir import Node
from nobuco.layout import ChannelOrderingStrategy, Signature, followed, get_channel_order, keeping
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import PYTORCH, TENSORFLOW, has_order
from nobuco.layout.strategy import signatures as signatures_of
from nobuco.ops.names import aten, torch
from nobuco.registry import ChannelUse, converter, expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
MINIMUM_TRANSPOSITIONS = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS


def output_order(x: tf.Tensor, sources: Sequence[int | None]) -> ChannelOrder:
    """The order that an output with these `sources` in `x` has, as the `keeping` rule promised."""
    order = followed(get_channel_order(x), rank(x), sources)
    assert order is not None, "the keeping rule offers no such order"
    return order


def part(x: tf.Tensor, along: int, start: Any, stop: Any) -> tf.Tensor:
    """`x[start:stop]` along one axis; None leaves an end open."""
    return sliced(x, [slice(start, stop) if i == along else FULL for i in range(rank(x))])


# -- put together ------------------------------------------------------------------------------------------


def _joined(node: Node) -> ChannelUse | None:
    tensors, dim = node.args[0], (*node.args[1:], node.kwargs.get("dim", 0))[0]
    alike = len({(v.rank, v.dtype) for v in tensors}) == 1 and tensors[0].rank > 1
    if not alike:
        return None
    return ChannelUse.JOINED if dim % tensors[0].rank == 1 else ChannelUse.EACH


@expression(torch.cat, torch.concat, torch.concatenate, channels=_joined)
def cat(tensors: Sequence[tf.Tensor], dim: int = 0) -> tf.Tensor:
    """cat(Tensor[] tensors, int dim=0) -> Tensor"""
    full = max(tensors, key=rank)
    kept = promoted(*tensors)
    # PyTorch lets an empty tensor of one dimension stand among others.
    kept = [x for x in kept if rank(x) == rank(full)]
    return kept[0] if len(kept) == 1 else tf.concat(kept, axis(full, dim))


def _stacked(tensors: Sequence[Any], dim: int = 0) -> list[int | None]:
    n = len(tensors[0].shape)
    sources: list[int | None] = list(range(n))
    sources.insert(dim % (n + 1), None)
    return sources


def _stack_rule(node: Node) -> list[Signature]:
    """Like `keeping`, with all tensors in one order."""
    (tensors, *rest), kwargs = (node.args or (node.kwargs["tensors"],)), dict(node.kwargs)
    sources = _stacked(tensors, *rest, **{k: v for k, v in kwargs.items() if k == "dim"})
    found = []
    for order in (TENSORFLOW, PYTORCH) if has_order(tensors[0]) else (PYTORCH,):
        out = followed(order, tensors[0].rank, sources)
        if out is not None:
            found.append(Signature((order,) * len(node.inputs), (out,)))
    return found


@expression(torch.stack, strategy=_stack_rule)
def stack(tensors: Sequence[tf.Tensor], dim: int = 0) -> tf.Tensor:
    """stack(Tensor[] tensors, int dim=0) -> Tensor"""
    sources = _stacked(tensors, dim)
    order = output_order(tensors[0], sources)
    return stacked(promoted(*tensors), order.axis(dim, len(sources)))


@expression(torch.hstack)
def hstack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """hstack(Tensor[] tensors) -> Tensor"""
    tensors = [tf.reshape(x, [1]) if rank(x) == 0 else x for x in promoted(*tensors)]
    return tf.concat(tensors, axis(tensors[0], 1) if rank(tensors[0]) > 1 else 0)


@expression(torch.vstack, torch.row_stack)
def vstack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """vstack(Tensor[] tensors) -> Tensor"""
    return tf.concat([_at_least_2d(x) for x in promoted(*tensors)], 0)


@expression(torch.dstack, strategy=FORCE_PYTORCH_ORDER)
def dstack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """dstack(Tensor[] tensors) -> Tensor"""
    return tf.concat([_at_least_3d(x) for x in promoted(*tensors)], 2)


@expression(torch.column_stack)
def column_stack(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """column_stack(Tensor[] tensors) -> Tensor"""
    columns = [x if rank(x) > 1 else tf.reshape(x, [-1, 1]) for x in promoted(*tensors)]
    return tf.concat(columns, axis(columns[0], 1))


def _at_least_1d(x: tf.Tensor) -> tf.Tensor:
    return x if rank(x) else tf.reshape(x, [1])


def _at_least_2d(x: tf.Tensor) -> tf.Tensor:
    return x if rank(x) > 1 else tf.reshape(x, [1, -1])


def _at_least_3d(x: tf.Tensor) -> tf.Tensor:
    return x if rank(x) > 2 else tf.expand_dims(_at_least_2d(x), -1)


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return function(tensors[0])
    given = tensors[0] if len(tensors) == 1 else tensors
    return tuple(function(x) for x in given)


@expression(torch.atleast_1d, strategy=FORCE_PYTORCH_ORDER)
def atleast_1d(*tensors: Any) -> Any:
    """atleast_1d.Sequence(Tensor[] tensors) -> Tensor[]"""
    return _each(_at_least_1d, tensors)


@expression(torch.atleast_2d, strategy=FORCE_PYTORCH_ORDER)
def atleast_2d(*tensors: Any) -> Any:
    """atleast_2d.Sequence(Tensor[] tensors) -> Tensor[]"""
    return _each(_at_least_2d, tensors)


@expression(torch.atleast_3d, strategy=FORCE_PYTORCH_ORDER)
def atleast_3d(*tensors: Any) -> Any:
    """atleast_3d.Sequence(Tensor[] tensors) -> Tensor[]"""
    return _each(_at_least_3d, tensors)


# -- take apart --------------------------------------------------------------------------------------------


@converter(
    torch.split,
    torch.split_with_sizes,
    torch.unsafe_split,
    torch.unsafe_split_with_sizes,
    aten.split_with_sizes.default,
    aten.unsafe_split_with_sizes.default,
    channel_ordering_strategy=MINIMUM_TRANSPOSITIONS,
    channels=ChannelUse.PARTS,
)
def split(input: torch.Tensor, split_size: Any, dim: int = 0) -> Any:
    """split.sizes(Tensor self, SymInt[] split_size, int dim=0) -> Tensor[]"""
    count = None if isinstance(split_size, (list, tuple)) else -(-input.shape[dim] // split_size) or 1

    def call(input: tf.Tensor, split_size: Any, dim: int = 0) -> tuple[tf.Tensor, ...]:
        return _pieces(input, split_size if count is None else [split_size] * (count - 1) + [-1], dim)

    return call


def _pieces(x: tf.Tensor, pieces: Sequence[Any], dim: int) -> tuple[tf.Tensor, ...]:
    """Pieces of these sizes (the last may be -1, the rest) along a dimension."""
    total = size(x, dim)
    if isinstance(total, int) and all(isinstance(n, int) for n in pieces):
        known = sum(pieces[:-1])
        pieces = [*pieces[:-1], total - known]
        if len(set(pieces)) == 1:
            return tuple(tf.split(x, len(pieces), axis(x, dim)))
    return tuple(tf.split(x, pieces, axis(x, dim)))


@converter(
    torch.chunk,
    torch.unsafe_chunk,
    channel_ordering_strategy=MINIMUM_TRANSPOSITIONS,
    channels=ChannelUse.PARTS,
)
def chunk(input: torch.Tensor, chunks: int, dim: int = 0) -> Any:
    """chunk(Tensor self, int chunks, int dim=0) -> Tensor[]

    There may be fewer than asked for: of 9 elements 4 chunks are 3. A running model gives as many as while tracing.
    """
    total = input.shape[dim]
    count = -(-total // (-(-total // chunks))) if total else chunks

    def call(input: tf.Tensor, chunks: int, dim: int = 0) -> tuple[tf.Tensor, ...]:
        return _pieces(input, [-(-size(input, dim) // chunks)] * (count - 1) + [-1], dim)

    return call


def _cuts(x: tf.Tensor, indices_or_sections: Any, dim: int) -> tuple[tf.Tensor, ...]:
    if tf.is_tensor(indices_or_sections):  # places that only the running model knows, but not how many
        indices_or_sections = [indices_or_sections[i] for i in range(sizes(indices_or_sections)[0])]
    total = size(x, dim)
    if isinstance(indices_or_sections, int):
        each, longer = total // indices_or_sections, total % indices_or_sections
        pieces = range(indices_or_sections)
        if isinstance(total, int):
            return _pieces(x, [each + (i < longer) for i in pieces], dim)
        return _pieces(x, [each + tf.cast(i < longer, tf.int32) for i in pieces], dim)
    bounds = [None, *indices_or_sections, None]
    return tuple(part(x, axis(x, dim), start, stop) for start, stop in pairwise(bounds))


@converter(torch.tensor_split, channel_ordering_strategy=MINIMUM_TRANSPOSITIONS)
def tensor_split(input: torch.Tensor, indices_or_sections: Any, dim: int = 0) -> Any:
    """tensor_split.indices(Tensor self, SymInt[] indices, int dim=0) -> Tensor[]"""
    given = indices_or_sections
    # Of how many parts there are, no running model can say anything else: the tracer warns that they stay as many.
    traced = None if isinstance(given, (list, tuple)) or (torch.is_tensor(given) and given.dim()) else int(given)

    def call(input: tf.Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[tf.Tensor, ...]:
        return _cuts(input, indices_or_sections if traced is None else traced, dim)

    return call


@expression(torch.hsplit)
def hsplit(input: tf.Tensor, indices_or_sections: Any) -> tuple[tf.Tensor, ...]:
    """hsplit.array(Tensor self, int[] indices) -> Tensor[]"""
    return _cuts(input, indices_or_sections, 1 if rank(input) > 1 else 0)


@expression(torch.vsplit)
def vsplit(input: tf.Tensor, indices_or_sections: Any) -> tuple[tf.Tensor, ...]:
    """vsplit.array(Tensor self, int[] indices) -> Tensor[]"""
    return _cuts(input, indices_or_sections, 0)


@expression(torch.dsplit)
def dsplit(input: tf.Tensor, indices_or_sections: Any) -> tuple[tf.Tensor, ...]:
    """dsplit.array(Tensor self, int[] indices) -> Tensor[]"""
    return _cuts(input, indices_or_sections, 2)


def without(n: int, dim: int) -> list[int | None]:
    """The dimensions that stay when one of `n` is dropped."""
    return [i for i in range(n) if i != dim % n]


@expression(torch.unbind, strategy=keeping(lambda input, dim=0: without(input.rank, dim)))
def unbind(input: tf.Tensor, dim: int = 0) -> tuple[tf.Tensor, ...]:
    """unbind.int(Tensor self, int dim=0) -> Tensor[]"""
    count, along = size(input, dim), axis(input, dim)
    if not isinstance(count, int):
        raise InputError(
            f"a loop over dimension {dim}, whose length only the running model knows, has no end here; "
            "work on the whole tensor, or give the module around it a converter"
        )
    return tuple(unstacked(input, along))


@expression(torch.select, strategy=keeping(lambda input, dim, index: without(input.rank, dim)))
def select(input: tf.Tensor, dim: int, index: Any) -> tf.Tensor:
    """select.int(Tensor self, int dim, SymInt index) -> Tensor"""
    along = axis(input, dim)
    return sliced(input, [index if i == along else FULL for i in range(rank(input))])


@expression(torch.narrow, channels=ChannelUse.PARTS)
def narrow(input: tf.Tensor, dim: int, start: Any, length: Any) -> tf.Tensor:
    """narrow(Tensor self, int dim, SymInt start, SymInt length) -> Tensor"""
    along = axis(input, dim)
    if isinstance(length, int) and (not isinstance(start, int) or (start >= 0 and input.shape[along] is None)):
        return _window(input, along, start, length)
    stop = start + length
    # Up to the end, where it is counted from there.
    return part(input, along, start, None if isinstance(start, int) and start < 0 and stop == 0 else stop)


def _window(x: tf.Tensor, along: int, start: Any, length: int) -> tf.Tensor:
    """So many elements from a place that only the running model knows: by `tf.slice`, which keeps the size static."""
    if not isinstance(start, int):
        start = tf.cast(start, tf.int32)
        start = tf.where(start < 0, start + sizes(x)[along], start)
    begin = [start if i == along else 0 for i in range(rank(x))]
    static = [-1 if size is None else size for size in x.shape]
    return tf.slice(x, tf.stack(begin), [length if i == along else size for i, size in enumerate(static)])


# -- reverse and roll --------------------------------------------------------------------------------------


def _reversed(x: tf.Tensor, along: Sequence[int]) -> tf.Tensor:
    """TFLite reverses neighbouring axes only."""
    runs: list[list[int]] = []
    for i in sorted(along):
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    for run in runs:
        x = tf.reverse(x, run)
    return x


def _flipped(node: Node) -> ChannelUse | None:
    """Channels alone, or each channel by itself."""
    rank = node.args[0].rank
    dims = {dim % rank for dim in node.args[1]} if rank else set()
    return None if 1 in dims and len(dims) > 1 else ChannelUse.PARTS if 1 in dims else ChannelUse.EACH


@expression(torch.flip, channels=_flipped)
def flip(input: tf.Tensor, dims: Sequence[int]) -> tf.Tensor:
    """flip(Tensor self, int[] dims) -> Tensor"""
    return _reversed(input, [axis(input, dim) for dim in dims if rank(input)])


@expression(torch.fliplr)
def fliplr(input: tf.Tensor) -> tf.Tensor:
    """fliplr(Tensor self) -> Tensor"""
    return tf.reverse(input, [axis(input, 1)])


@expression(torch.flipud)
def flipud(input: tf.Tensor) -> tf.Tensor:
    """flipud(Tensor self) -> Tensor"""
    return tf.reverse(input, [0])


@expression(torch.rot90, strategy=FORCE_PYTORCH_ORDER)
def rot90(input: tf.Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> tf.Tensor:
    """rot90(Tensor self, int k=1, int[] dims=[0,1]) -> Tensor"""
    first, second = axes(input, dims)
    if k % 4 == 2:
        return _reversed(input, [first, second])
    if k % 4 == 0:
        return tf.identity(input)
    perm = list(range(rank(input)))
    perm[first], perm[second] = second, first
    turned = tf.transpose(input, perm)
    return tf.reverse(turned, [first if k % 4 == 1 else second])


def _rolling(node: Node) -> Sequence[Signature]:
    """Without dims the elements are counted row by row, as they lie in PyTorch."""
    dims = node.args[2] if len(node.args) > 2 else node.kwargs.get("dims", ())
    flat = isinstance(dims, (list, tuple)) and not dims
    return signatures_of(FORCE_PYTORCH_ORDER if flat else MINIMUM_TRANSPOSITIONS, node)


@expression(torch.roll, strategy=_rolling)
def roll(input: tf.Tensor, shifts: Any, dims: Any = ()) -> tf.Tensor:
    """roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor"""
    shifts = list(shifts) if isinstance(shifts, (list, tuple)) else [shifts]
    if isinstance(dims, int):
        dims = [dims]
    if not dims:
        return tf.reshape(_rolled(tf.reshape(input, [-1]), shifts[0], 0), sizes(input))
    for shift, dim in zip(shifts, axes(input, dims)):
        input = _rolled(input, shift, dim)
    return input


def _rolled(x: tf.Tensor, shift: int, along: int) -> tf.Tensor:
    total = sizes(x)[along]
    cut = -shift % (max(total, 1) if isinstance(total, int) else tf.maximum(total, 1))
    if isinstance(cut, int) and cut == 0:
        return x
    return tf.concat([part(x, along, cut, None), part(x, along, None, cut)], along)
