"""Other sizes for a call: which of its axes can be free, and what stands in a tensor that has grown.

PyTorch decides: an axis is free if the operation takes the doubled size, with all else as it was. Doubled, since
what has to be divisible stays so.

Imports PyTorch, so it is itself imported only when an item runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from pytest_nobuco.converters.calls import Accepts, Call, RefusedError, attempt, with_tensors

Axis = tuple[int, int]
"""Which input, and which of its dimensions."""
# A conversion at more elements than these takes noticeably longer.
_FEW = 4096
Limit = Callable[[Sequence[torch.Tensor], int, int], bool]


@dataclass(frozen=True, eq=False)
class Resized:
    """A call at its own sizes and at others, and the axes in which they differ."""

    call: Call
    other: Call
    free: frozenset[Axis]

    def reversed(self) -> Resized:
        """Converted at the others, and tried at its own: what shrinks; itself where the others make it a long task."""
        elements = sum(x.size for x in self.other.expected) + sum(x.numel() for x in self.other.tensors)
        return Resized(self.other, self.call, self.free) if elements < _FEW else self


def resized(
    call: Call, limit: Limit | None = None, seed: int = 0, accepts: Accepts | None = None, blocks: bool = False
) -> Resized | None:
    """The call at other sizes, with as many axes free as PyTorch lets; None where it lets none.

    `limit(inputs, which of them, dimension)` says which axes may be free at all, `accepts` which grown calls will do.
    `blocks`: see `grown`.
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
    free: frozenset[Axis] = frozenset()
    other = None
    for group in _groups(tensors, candidates):
        wider = free | group
        if wider == free:
            continue
        found = _grown(call, wider, seed, accepts, blocks)
        if found is not None:
            free, other = wider, found
    return None if other is None else Resized(call, other, free)


def _groups(tensors: Sequence[torch.Tensor], candidates: frozenset[Axis]) -> Iterator[frozenset[Axis]]:
    """Axes that may have to grow together: all, those of one size, those of one place as well, one alone."""
    yield candidates
    ordered = sorted(candidates)

    def alike(key: Callable[[Axis], object]) -> Iterator[frozenset[Axis]]:
        for wanted in dict.fromkeys(map(key, ordered)):
            yield frozenset(axis for axis in ordered if key(axis) == wanted)

    def size(axis: Axis) -> int:
        return tensors[axis[0]].shape[axis[1]]

    yield from alike(size)
    yield from alike(lambda axis: (size(axis), axis[1]))
    yield from alike(lambda axis: (size(axis), axis[1] - tensors[axis[0]].dim()))
    yield from alike(lambda axis: axis)


def _grown(call: Call, free: frozenset[Axis], seed: int, accepts: Accepts | None, blocks: bool) -> Call | None:
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
