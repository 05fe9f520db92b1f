"""Other sizes for a call: which of its axes can be free, and what stands in a tensor that has grown.

PyTorch decides: an axis is free if the operation takes the doubled size, with all else as it was. Doubled, since
what has to be divisible stays so. Axes that PyTorch lets grow without the others do so, too: at some sizes one axis
alone differs from the example's, at others one is larger and another smaller. A model is converted once for all.

Imports PyTorch, so it is itself imported only when an item runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from pytest_nobuco.converters.calls import Accepts, Call, RefusedError, attempt, with_tensors

Axis = tuple[int, int]
"""Which input, and which of its dimensions."""
Axes = frozenset[Axis]
# A conversion at more elements than these takes noticeably longer.
_FEW = 4096
# How many axes grow alone: so many of the first, and of the last.
_ALONE = 2
Limit = Callable[[Sequence[torch.Tensor], int, int], bool]
Grow = Callable[[Axes], Call | None]


@dataclass(frozen=True, eq=False)
class Resized:
    """A call, the same call at other sizes, and the axes in which they differ."""

    call: Call
    others: tuple[Call, ...]
    free: Axes


def resized(
    call: Call,
    limit: Limit | None = None,
    seed: int = 0,
    accepts: Accepts | None = None,
    *,
    blocks: bool = False,
    alone: bool = True,
    large: bool = False,
) -> Resized | None:
    """The call at other sizes, with as many axes free as PyTorch lets; None where it lets none.

    `limit(inputs, which of them, dimension)` says which axes may be free at all, `accepts` which grown calls will do.
    `blocks`: see `grown`. `alone`: whether axes may grow without the others. `large`: whether it is converted at larger
    sizes, where that is no long task, and tried at smaller ones.
    """
    tensors = call.tensors
    if any(not tensor.numel() for tensor in tensors):
        return None
    candidates = frozenset(
        (i, dim)
        for i, tensor in enumerate(tensors)
        for dim, size in enumerate(tensor.shape)
        if size > 1 and (limit is None or limit(tensors, i, dim))
    )
    grow = functools.cache(functools.partial(_grown, call, seed, accepts, blocks))
    free = Axes()
    for group in _groups(tensors, candidates):
        if not group <= free and grow(free | group) is not None:
            free |= group
    if not free:
        return None
    parts = _alone(tensors, free, grow, blocks) if alone else []
    first, *others = _sizes(call, free, parts, grow, large)
    return Resized(first, tuple(others), free)


def _sizes(call: Call, free: Axes, parts: Sequence[Axes], grow: Grow, large: bool) -> Iterator[Call]:
    """The call at the sizes to convert it at, and then at those to try."""
    halves = [grow(Axes().union(*some)) for some in (parts[::2], parts[1::2])] if len(parts) > 1 else [grow(free)]
    first = halves[0]
    if large and first is not None and _is_small(first):
        sizes = [*halves, call, grow(free)]
    else:
        sizes = [call, *map(grow, (free, *parts))]
    yield from dict.fromkeys(one for one in sizes if one is not None)


def _is_small(call: Call) -> bool:
    return sum(x.size for x in call.expected) + sum(x.numel() for x in call.tensors) < _FEW


def _alone(tensors: Sequence[torch.Tensor], free: Axes, grow: Grow, blocks: bool) -> list[Axes]:
    """Axes that may grow without the others, the fewest together that PyTorch lets."""
    parts, left = list[Axes](), free
    for group in reversed(list(_groups(tensors, free))):
        if group <= left and group != free and not (blocks and _is_half(tensors, group)) and grow(group) is not None:
            parts.append(group)
            left -= group
    parts.sort(key=min)
    return [*parts[:_ALONE], *parts[_ALONE:][-_ALONE:]]


def _is_half(tensors: Sequence[torch.Tensor], group: Axes) -> bool:
    """Whether a matrix would grow one way alone."""
    return any(((i, x.dim() - 2) in group) != ((i, x.dim() - 1) in group) for i, x in enumerate(tensors))


def _groups(tensors: Sequence[torch.Tensor], candidates: Axes) -> Iterator[Axes]:
    """Axes that may have to grow together: all, those of one size, those of one place as well, one alone."""
    yield candidates
    ordered = sorted(candidates)

    def alike(key: Callable[[Axis], object]) -> Iterator[Axes]:
        for wanted in dict.fromkeys(map(key, ordered)):
            yield Axes(axis for axis in ordered if key(axis) == wanted)

    def size(axis: Axis) -> int:
        return tensors[axis[0]].shape[axis[1]]

    yield from alike(size)
    yield from alike(lambda axis: (size(axis), axis[1]))
    yield from alike(lambda axis: (size(axis), axis[1] - tensors[axis[0]].dim()))
    yield from alike(lambda axis: axis)


def _grown(call: Call, seed: int, accepts: Accepts | None, blocks: bool, free: Axes) -> Call | None:
    dims = [[dim for i, dim in free if i == number] for number in range(len(call.tensors))]
    tensors = [grown(tensor, its, blocks) for tensor, its in zip(call.tensors, dims)]
    try:
        found = attempt(call.operation, with_tensors(call.sample, tensors), accepts, seed)
    except RefusedError:
        return None
    return found if len(found.expected) == len(call.expected) else None


def grown(tensor: torch.Tensor, dims: Sequence[int], blocks: bool = False) -> torch.Tensor:
    """The tensor with these dimensions doubled: its own values once more, so that all stay in the operation's domain.

    Those of real numbers a little smaller the second time, since equal ones leave it open which is the largest.
    With `blocks`, a matrix that grows both ways stands twice along the diagonal and is zero beside it: what had an
    inverse or a Cholesky factor still has.
    """
    last = (tensor.dim() - 2, tensor.dim() - 1)
    for dim in sorted(dims):
        more = tensor
        if tensor.is_floating_point():
            generator = torch.Generator().manual_seed(dim)
            factors = 1 - 0.05 * torch.rand(tensor.shape, generator=generator)
            more = tensor * factors.to(tensor.dtype)
        tensor = torch.cat([tensor, more], dim)
    if blocks and set(last) <= set(dims):
        second = [torch.arange(tensor.shape[dim]) >= tensor.shape[dim] // 2 for dim in last]
        tensor = torch.where(second[0][:, None] == second[1], tensor, torch.zeros_like(tensor))
    return tensor
