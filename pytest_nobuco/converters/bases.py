"""Samples to begin with when parameters are varied: as telling as PyTorch lets them be.

A batch of more than one, odd and unequal sizes, a batch for layers whose samples have none in PyTorch, equal values
in two tensors that an operation compares, and special values.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import RefusedError, observed, tensors_of, with_tensors
from pytest_nobuco.converters.signatures import ModuleSample, Signature, bound
from pytest_nobuco.converters.special import special

# How many samples are looked at, and how many of them are begun with.
_LOOKED_AT, _BASES = 64, 6
# Odd, and no two alike.
_SIZES = (7, 9, 5)
Pattern = tuple[tuple[int, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Base:
    """A sample, and what PyTorch makes of it."""

    sample: Sample
    outputs: list[torch.Tensor]


def bases_of(
    operation: Operation, samples: Sequence[Sample], signatures: Sequence[Signature], seed: int
) -> Iterator[Base]:
    """Samples whose arguments are known by name, and that PyTorch takes."""
    known = [s for s in samples[:_LOOKED_AT] if s.program is None and bound(s, signatures) is not None]
    count = 0
    for sample in _unlike_first(sorted(known, key=_plainness)):
        if count == _BASES:
            break
        candidates = (*_batched(sample), *_roomy(sample), sample)
        found = next((base for one in candidates if (base := base_of(operation, one, seed)) is not None), None)
        if found is not None:
            count += 1
            yield found
    others = (*_tied(known, seed), *special(operation, samples, seed)[:2])
    made = (base_of(operation, sample, seed) for sample in others if bound(sample, signatures) is not None)
    yield from (base for base in made if base is not None)


def base_of(operation: Operation, sample: Sample, seed: int) -> Base | None:
    """A sample with its outputs; None where PyTorch refuses it, or gives nothing that could be compared."""
    try:
        outputs = observed(operation, sample, seed)
    except RefusedError:
        return None
    return Base(sample, outputs) if outputs and all(map(_is_telling, outputs)) else None


def _is_telling(tensor: torch.Tensor) -> bool:
    """Whether there is a number in it."""
    return bool(tensor.numel()) and bool(torch.isfinite(tensor.abs() if tensor.is_complex() else tensor).any())


def _plainness(sample: Sample) -> tuple[int, int]:
    """Small where a sample has a batch of several and several dimensions, and is no square."""
    tensors = tensors_of((sample.args, sample.kwargs))
    shape = tensors[0].shape if tensors else ()
    lacking = sum((len(shape) < 2, 0 in shape, len(shape) > 0 and shape[0] == 1, len(set(shape[-2:])) < 2))
    return lacking, -min(len(shape), 4)


def pattern_of(sample: Sample) -> Pattern:
    """What samples have in common that give the same arguments, on tensors of the same ranks."""
    return tuple(x.dim() for x in tensors_of((sample.args, sample.kwargs))), tuple(sample.kwargs)


def _unlike_first(samples: Sequence[Sample]) -> list[Sample]:
    """One sample of each pattern of arguments, then the others."""
    first: dict[Pattern, Sample] = {}
    for sample in samples:
        first.setdefault(pattern_of(sample), sample)
    chosen = {id(sample) for sample in first.values()}
    return [*first.values(), *(sample for sample in samples if id(sample) not in chosen)]


def _batched(sample: Sample) -> Iterator[Sample]:
    """A module's sample without a batch, with one: PyTorch has those of recurrent layers only without."""
    tensors = tensors_of((sample.args, sample.kwargs))
    if not isinstance(sample, ModuleSample) or not all(x.dim() < 3 and x.is_floating_point() for x in tensors):
        return
    generator = torch.Generator().manual_seed(0)
    for dim in (1, 0):
        if all(x.dim() >= dim for x in tensors):
            more = [[torch.randn(x.shape, generator=generator).to(x.dtype) for _ in range(2)] for x in tensors]
            yield with_tensors(sample, [torch.stack([x, *others], dim) for x, others in zip(tensors, more)])


def _roomy(sample: Sample) -> Iterator[Sample]:
    """The sample with a larger first tensor, of odd and unequal sizes behind batch and channels.

    No dimension gets smaller: another tensor may hold places along it, which PyTorch does not check everywhere.
    """
    first, *others = tensors_of((sample.args, sample.kwargs)) or (torch.empty(0),)
    if first.dim() not in (3, 4, 5) or not first.numel() or not first.is_floating_point():
        return
    spatial: list[int] = []
    for n, size in zip(first.shape[2:], _SIZES):
        odd = max(size, n + 1 - n % 2)
        spatial.append(odd + 2 * (odd in spatial))
    shape = (max(first.shape[0], 2), first.shape[1], *spatial)
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(first.numel(), shape, generator=generator)
    grown = first.detach().flatten()[places] * (1 + 0.1 * torch.randn(shape, generator=generator)).to(first.dtype)
    yield with_tensors(sample, [grown, *others])


def _tied(samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """A few samples of two tensors, one with values of the other, for what compares them."""
    seen: set[str] = set()
    for sample in samples[:16]:
        options = str(sorted((name, value) for name, value in sample.kwargs.items() if isinstance(value, bool)))
        tensors = tensors_of((sample.args, sample.kwargs))
        if len(tensors) < 2 or tensors[0].dtype != tensors[1].dtype or not tensors[0].numel() * tensors[1].numel():
            continue
        if options in seen or len(seen) > 1:
            continue
        seen.add(options)
        generator = torch.Generator().manual_seed(seed)
        for one, other in ((0, 1), (1, 0)):
            places = torch.randint(tensors[other].numel(), tensors[one].shape, generator=generator)
            tied = [tensors[other].flatten()[places] if i == one else x for i, x in enumerate(tensors)]
            yield with_tensors(sample, tied)
