"""Whole numbers that floats, or integers of fewer bits, do not hold: PyTorch's samples have a few units.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch.utils import _pytree as pytree

from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.outcomes import outputs_or_none, same_values
from pytest_nobuco.converters.special import broadcasts

# Odd, so that no bit of a product is idle: beyond the 24 bits of a float, the 32 of an integer and the 53 of a double.
_FACTORS: Mapping[torch.dtype, int] = MappingProxyType({torch.int32: 2**25 + 1, torch.int64: 2**54 + 1})
_LOOKED_AT, _ENOUGH = 16, 6


def large_integers(operations: Sequence[Operation], samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """Samples of integers in proportion to those of another, so that what is in order stays so; none without any.

    They are of the first spelling that takes any: a method may have another order of arguments than the function.
    """
    varied = sorted(samples[:_LOOKED_AT], key=_lacking)
    return next((found for operation in operations if (found := _enlarged(operation, varied, seed))), [])


def _lacking(sample: Sample) -> int:
    """How many numbers it has too few of: of one alone a multiple may be round by chance."""
    return max(0, _ENOUGH - max((x.numel() for x in tensors_of((sample.args, sample.kwargs))), default=0))


def _enlarged(operation: Operation, samples: Sequence[Sample], seed: int) -> list[Sample]:
    """In one the first tensor alone is changed, since the others may be places; in another all that are operands."""
    fallback: list[Sample] = []
    for sample in samples:
        tensors = tensors_of((sample.args, sample.kwargs))
        dtype = next((x.dtype for x in tensors if x.dtype is not torch.bool), None)  # behind a mask
        places = [i for i, x in enumerate(tensors) if x.dtype == dtype and x.any()] if dtype in _FACTORS else []
        if sample.program is not None or not places or not _has_fixed_sizes(operation, sample):
            continue
        operands = [places] if len(places) > 1 and broadcasts(operation, sample, seed) else []
        found, large_enough = list[Sample](), False
        for chosen in (places[:1], *operands):
            large = [x * _FACTORS[x.dtype] if i in chosen else x for i, x in enumerate(tensors)]
            made = with_tensors(sample, large)
            outputs, again = (outputs_or_none(operation, made, seed + more) for more in (0, 1))
            if outputs and again and all(map(_is_whole, outputs)) and all(map(same_values, outputs, again)):
                found.append(made)
                large_enough |= any(_is_large(x, _FACTORS[large[chosen[0]].dtype]) for x in outputs)
        if large_enough:
            return found
        fallback = fallback or found
    return fallback


def _is_whole(x: torch.Tensor) -> bool:
    return not x.is_floating_point() and not x.is_complex()


def _is_large(x: torch.Tensor, factor: int) -> bool:
    """Whether it tells what has gone through fewer bits; of large numbers a product or a rest may be small."""
    return x.dtype is torch.bool or bool((x.double().abs() >= factor).any())


def _has_fixed_sizes(operation: Operation, sample: Sample) -> bool:
    """Whether how much comes out does not depend on values: of large ones it might be more than there is memory for."""

    def without_values(leaf: Any) -> Any:
        return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf

    args, kwargs = pytree.tree_map(without_values, (tuple(sample.args), dict(sample.kwargs)))
    try:
        operation(*args, **kwargs)
    except Exception:  # it does, or PyTorch does not know
        return False
    return True
