"""Views that only regroup or reorder dimensions, as steps that the planner merges and cancels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters.support import sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.layout.movement import Permute, Reshape, Step
from nobuco.ops.names import aten, torch
from nobuco.registry import expression, movement

Shape = Sequence[int]


def completed(size: Shape, numel: int) -> tuple[int, ...]:
    """`size` with its -1, if any, worked out; where sizes are tensors, TensorFlow works it out itself."""
    if not all(isinstance(n, int) for n in (numel, *size)):
        return tuple(size)
    known = prod(n for n in size if n != -1)
    return tuple(numel // known if n == -1 else int(n) for n in size)


def swapped(rank: int, dim0: int, dim1: int) -> tuple[int, ...]:
    """The permutation that exchanges two dimensions."""
    perm = list(range(rank))
    if rank:
        perm[dim0], perm[dim1] = perm[dim1], perm[dim0]
    return tuple(perm)


@movement(torch.reshape, aten._reshape_alias.default)
def reshape(input: Shape, shape: Shape, *_: Any) -> list[Step]:
    """reshape(Tensor self, SymInt[] shape) -> Tensor"""
    return [Reshape(completed(shape, prod(input)))]


@movement(torch.Tensor.view, aten._unsafe_view.default)
def view(input: Shape, size: Shape) -> list[Step]:
    """view(Tensor self, SymInt[] size) -> Tensor"""
    return [Reshape(completed(size, prod(input)))]


@movement(torch.Tensor.view_as, torch.Tensor.reshape_as)
def view_as(input: Shape, other: Any) -> list[Step]:
    """view_as(Tensor self, Tensor other) -> Tensor"""
    return [Reshape(tuple(getattr(other, "shape", other)))]


@movement(torch.flatten)
def flatten(input: Shape, start_dim: int = 0, end_dim: int = -1) -> list[Step]:
    """flatten.using_ints(Tensor self, int start_dim=0, int end_dim=-1) -> Tensor"""
    if not input:
        return [Reshape((1,))]
    start, end = start_dim % len(input), end_dim % len(input)
    return [Reshape((*input[:start], prod(input[start : end + 1]), *input[end + 1 :]))]


@movement(torch.ravel)
def ravel(input: Shape) -> list[Step]:
    """ravel(Tensor self) -> Tensor"""
    return [Reshape((prod(input),))]


@movement(torch.unflatten)
def unflatten(input: Shape, dim: int, sizes: Shape) -> list[Step]:
    """unflatten.int(Tensor self, int dim, SymInt[] sizes) -> Tensor"""
    dim %= len(input)
    sizes = (sizes,) if isinstance(sizes, int) else sizes
    return [Reshape((*input[:dim], *completed(sizes, input[dim]), *input[dim + 1 :]))]


@movement(torch.squeeze)
def squeeze(input: Shape, dim: int | Shape | None = None) -> list[Step]:
    """squeeze.dims(Tensor self, int[] dim) -> Tensor"""
    given = range(len(input)) if dim is None else (dim,) if isinstance(dim, int) else dim
    chosen = {dim % len(input) for dim in given if input}
    return [Reshape(tuple(n for dim, n in enumerate(input) if n != 1 or dim not in chosen))]


@movement(torch.unsqueeze)
def unsqueeze(input: Shape, dim: int) -> list[Step]:
    """unsqueeze(Tensor self, int dim) -> Tensor"""
    dim %= len(input) + 1
    return [Reshape((*input[:dim], 1, *input[dim:]))]


@movement(torch.permute)
def permute(input: Shape, dims: Shape) -> list[Step]:
    """permute(Tensor self, int[] dims) -> Tensor"""
    return [Permute(tuple(dim % len(input) for dim in dims))]


@movement(torch.transpose, torch.swapdims)
def transpose(input: Shape, dim0: int, dim1: int) -> list[Step]:
    """transpose.int(Tensor self, int dim0, int dim1) -> Tensor"""
    return [Permute(swapped(len(input), dim0, dim1))]


@movement(torch.swapaxes)
def swapaxes(input: Shape, axis0: int, axis1: int) -> list[Step]:
    """swapaxes(Tensor self, int axis0, int axis1) -> Tensor"""
    return [Permute(swapped(len(input), axis0, axis1))]


@movement(torch.movedim, torch.moveaxis)
def movedim(input: Shape, source: int | Shape, destination: int | Shape) -> list[Step]:
    """movedim.intlist(Tensor self, int[] source, int[] destination) -> Tensor"""
    rank = len(input)
    if not rank:
        return []
    sources = [dim % rank for dim in ((source,) if isinstance(source, int) else source)]
    places = [dim % rank for dim in ((destination,) if isinstance(destination, int) else destination)]
    stay = iter(dim for dim in range(rank) if dim not in sources)
    moved = dict(zip(places, sources))
    return [Permute(tuple(moved[i] if i in moved else next(stay) for i in range(rank)))]


@movement(torch.t, torch.Tensor.T.__get__)  # type: ignore[attr-defined]
def t(input: Shape) -> list[Step]:
    """t(Tensor self) -> Tensor"""
    return [Permute(tuple(reversed(range(len(input)))))]


@movement(torch.Tensor.mT.__get__)  # type: ignore[attr-defined]
def mT(input: Shape) -> list[Step]:
    """mT(Tensor self) -> Tensor"""
    return [Permute(swapped(len(input), -1, -2))]


@expression(torch.ops.aten.view.dtype, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def view_as_type(self: tf.Tensor, dtype: torch.dtype) -> tf.Tensor:
    """view.dtype(Tensor self, ScalarType dtype) -> Tensor"""
    wanted = tf_dtype(dtype)
    before, after = self.dtype.size, wanted.size
    if after > before:  # TensorFlow makes one element of a whole last dimension
        *lead, last = sizes(self)
        self = tf.reshape(self, [*lead, last * before // after, after // before])
    bits = tf.bitcast(self, wanted)
    if after >= before:
        return bits
    *lead, last, parts = sizes(bits)
    return tf.reshape(bits, [*lead, last * parts])


# Complex elements are conjugated too, so these are no pure movement.
@expression(
    torch.adjoint,
    torch.Tensor.H.__get__,  # type: ignore[attr-defined]
    torch.Tensor.mH.__get__,  # type: ignore[attr-defined]
    strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER,
)
def adjoint(input: tf.Tensor) -> tf.Tensor:
    """adjoint(Tensor self) -> Tensor"""
    return tf.linalg.matrix_transpose(input, conjugate=input.dtype.is_complex) if input.shape.rank > 1 else input
