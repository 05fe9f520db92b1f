"""Values that an operation may treat apart which does not work element by element.

Of one sample some values become equal, zero, no numbers, large or small, or places counted from the end.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from nobuco.ir import leaves
from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.outcomes import (
    is_integer,
    is_real,
    options_given,
    outputs_or_none,
    same_values,
    special_sample,
)

# How many samples are looked at, of how many elements at least.
_LOOKED_AT, _FEW = 16, 6
# What the other samples have about one, in some it is larger by this, or so many deviations away from zero.
_FAR = 100

Change = Callable[..., Sequence[torch.Tensor] | None]
Apart = Callable[[Operation, Sequence[Sample], int], Iterator[Sample]]


def _tied(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """A few integers, so that there are ties, zeros and negatives, for what has one tensor."""

    def few(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        generator = torch.Generator().manual_seed(seed)
        return None if others else [torch.randint(-2, 3, first.shape, generator=generator).to(first.dtype)]

    yield from _first_made(operation, samples, seed, few, "tied")


def _tied_together(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """A few integers in each of several tensors."""

    def few(*tensors: torch.Tensor) -> Sequence[torch.Tensor] | None:
        generator = torch.Generator().manual_seed(seed)
        if sum(map(is_real, tensors)) < 2:
            return None
        return [torch.randint(-2, 3, x.shape, generator=generator).to(x.dtype) if is_real(x) else x for x in tensors]

    yield from _first_made(operation, samples, seed, few, "tied together")


def _at_arguments(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """The numbers that the call is given, among those of its first tensor: ends that belong to a range, or not.

    One alone is most often a dimension.
    """
    numbers = {
        id(sample): [leaf for leaf in leaves((sample.args, sample.kwargs)) if type(leaf) in (int, float)]
        for sample in samples
    }
    for sample in sorted(samples, key=lambda sample: -len(numbers[id(sample)]))[:_LOOKED_AT]:
        given = numbers[id(sample)]

        def with_them(first: torch.Tensor, *others: torch.Tensor, given: Any = given) -> Sequence[torch.Tensor] | None:
            if len(given) < 2:
                return None
            changed = first.clone(memory_format=torch.contiguous_format)
            changed.view(-1)[: len(given)] = torch.tensor(given[: first.numel()], dtype=first.dtype)
            return [changed, *others]

        found = list(_first_made(operation, [sample], seed, with_them, "at arguments"))
        if found:
            yield from found
            return


def _without_any(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """A mask in one row of which all is False, in another True."""

    def emptied(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        masks = [x for x in others if x.dtype is torch.bool and x.dim() > 1 and 1 < x.shape[-1] < x.numel()]
        return [first, *(_emptied(x) if any(x is mask for mask in masks) else x for x in others)] if masks else None

    with_masks = [s for s in samples if any(x.dtype is torch.bool for x in tensors_of((s.args, s.kwargs))[1:])]
    yield from _first_made(operation, with_masks, seed, emptied, "without any")


def _emptied(mask: torch.Tensor) -> torch.Tensor:
    changed = mask.clone()
    rows = changed.reshape(-1, changed.shape[-1])
    rows[0], rows[-1] = False, True
    return rows.reshape(changed.shape)


def _all_masked(value: bool) -> Apart:
    """Masks that let everything pass, or nothing; also where nothing is left then."""

    def filled(*tensors: torch.Tensor) -> Sequence[torch.Tensor] | None:
        masks = [x for x in tensors[1:] if x.dtype is torch.bool and x.numel() > 1]
        return [torch.full_like(x, value) if x.dtype is torch.bool else x for x in tensors] if masks else None

    def make(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
        yield from _first_made(operation, samples, seed, filled, f"masks of {value}")

    return make


def _with_zeros(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """The first row of each of two dimensions is zero; and, of another tensor of its size, equal."""

    def zeros(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        if first.dim() < 2 or min(first.shape) < 2:
            return None
        changed = first.clone()
        changed[0], changed[..., 0] = 0, 0
        return [changed, *(_rows_of(changed, other) for other in others)]

    yield from _first_made(operation, samples, seed, zeros, "zeros")


def _rows_of(first: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Another tensor of numbers, whose last row is that of the first where they go together."""
    if not is_real(other) or other.dim() < 2 or other.shape[-1] != first.shape[-1] or other.dim() != first.dim():
        return other
    changed = other.clone()
    changed[..., -1, :] = first[(0,) * (first.dim() - 2)][-1]
    return changed


def _infinite(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Infinity of both signs, where not all that comes out is NaN."""
    yield from _first_made(operation, samples, seed, _placing(math.inf, -math.inf), "infinite")


def _masked(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Minus infinity, as it stands for what is not to count."""
    yield from _first_made(operation, samples, seed, _placing(-math.inf), "masked")


def _nan(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """One NaN."""
    yield from _first_made(operation, samples, seed, _placing(math.nan), "NaN")


def _placing(*values: float) -> Change:
    def placed(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        if others or first.dim() < 2 or min(first.shape[0], first.shape[-1]) < 2:
            return None  # of several tensors' products it depends on the order of summation what becomes of it
        changed = first.clone()
        for i, value in enumerate(values):
            changed[(0,) * (first.dim() - 1) + (i,)] = value
        return [changed]

    return placed


def _from_the_end(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Indices below zero, where PyTorch takes them for the same places."""
    with_places = [s for s in samples if s.program is None and any(map(is_integer, tensors_of((s.args, s.kwargs))))]
    for sample in with_places[:4]:
        tensors = tensors_of((sample.args, sample.kwargs))
        most = max((int(x.max()) for x in tensors if is_integer(x) and x.numel()), default=0)
        sizes = sorted({size for x in tensors for size in (*x.shape, x.numel()) if size > most})
        expected = outputs_or_none(operation, sample, seed) if most else None
        for size in sizes[:4] if expected else ():
            turned = [torch.where(x * 2 > most, x - size, x) if is_integer(x) else x for x in tensors]
            made = with_tensors(sample, turned)
            found = [outputs_or_none(operation, made, seed) for _ in range(2)]  # it may be chance that lies there
            if expected and all(
                got and len(got) == len(expected) and all(map(same_values, got, expected)) for got in found
            ):
                yield special_sample(made, "from the end")
                return


def _elsewhere(factor: float, deviations: float) -> Apart:
    """Numbers of another size, or far from zero; not where the results are simply of that size, or as far away."""

    def make(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
        for sample in sorted(samples[: 2 * _LOOKED_AT], key=options_given):  # as it is called most often
            first, *others = tensors_of((sample.args, sample.kwargs)) or (torch.empty(0),)
            if sample.program is not None or not is_real(first) or first.numel() < _FEW:
                continue
            offset = deviations * max(1.0, float(first.std()))
            made = special_sample(with_tensors(sample, [first * factor + offset, *others]), "elsewhere")
            runs = ((sample, seed), (made, seed), (made, seed + 1))
            before, outputs, again = (outputs_or_none(operation, *run) for run in runs)
            if not before or not outputs or not again or not all(map(same_values, outputs, again)):
                continue
            moved = [x * factor + offset if x.is_floating_point() else x for x in before]
            follows = all(map(same_values, moved, outputs))
            if not follows and any(map(_tells, outputs)):
                yield made
            return

    return make


def _first_made(
    operation: Operation, samples: Sequence[Sample], seed: int, change: Change, kind: str
) -> Iterator[Sample]:
    """One sample with other tensors, the first that PyTorch takes and gives the same for each time."""
    for sample in (*samples[:_LOOKED_AT], *samples[_LOOKED_AT :: max(1, len(samples) // _LOOKED_AT)]):
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is not None or not tensors or not is_real(tensors[0]) or tensors[0].numel() < _FEW:
            continue
        changed = change(*tensors)
        if changed is None:
            continue
        made = special_sample(with_tensors(sample, changed), kind)
        outputs, again = (outputs_or_none(operation, made, seed + more) for more in (0, 1))
        if outputs and again and all(map(same_values, outputs, again)) and any(map(_tells, outputs)):
            yield made
            return


def _tells(tensor: torch.Tensor) -> bool:
    """Whether some of it is finite; of complex numbers all, since half of one may be lost in the other's infinity.

    That there is nothing tells, too.
    """
    if not tensor.numel():
        return True
    return bool(torch.isfinite(tensor).all() if tensor.is_complex() else torch.isfinite(tensor).any())


APART: Mapping[str, Apart] = MappingProxyType(
    {
        "tied": _tied,
        "tied together": _tied_together,
        "at arguments": _at_arguments,
        "without any": _without_any,
        "masks of True": _all_masked(True),
        "masks of False": _all_masked(False),
        "zeros": _with_zeros,
        "infinite": _infinite,
        "masked": _masked,
        "NaN": _nan,
        "from the end": _from_the_end,
        "far": _elsewhere(1, _FAR),
        "tiny": _elsewhere(0.1 / _FAR, 0),
        "large": _elsewhere(_FAR, 0),
    }
)
