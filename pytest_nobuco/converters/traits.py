"""What is special about a sample's arguments, and the samples that have what others lack.

PyTorch's lists have hundreds of samples for some operations, and an item takes few of them. What an operation treats
apart stands in few: a negative shift, an index that is a mask, a bag without elements. So each sample has traits, by
argument, and samples are added until each trait of the list stands in one; pairs of options, too, as far as there is
room, since one may be right only where the other has its default.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from nobuco.registry import Sample
from pytest_nobuco.converters.signatures import ModuleSample, Signature, bound

Trait = tuple[str, str]
Traits = frozenset[Trait]
Found = TypeVar("Found")

# How many samples are added at most: for single traits, and for pairs of them.
_MOST, _MOST_FOR_PAIRS = 16, 6
# How often a trait is tried that another converter may serve, which is asked for none of its samples then.
_REFUSED = 4
# The values of larger tensors are not looked at.
_LARGE = 100_000


def covering(
    samples: Sequence[Sample],
    taken: Iterable[Sample],
    signatures: Sequence[Signature],
    tried: Callable[[Sample], Found | None],
) -> list[Found]:
    """What comes of the samples that have traits which none of those taken has; those with most of them first.

    `tried` makes something of a sample, or None where it is of no use.
    """
    seen: set[Any] = set()
    for sample in taken:
        seen |= _counted(traits_of(sample, signatures))
    left = [(sample, _counted(traits_of(sample, signatures))) for sample in samples]
    found: list[Found] = []
    refused = Counter[Any]()
    for pairs, most in ((False, _MOST), (True, _MOST + _MOST_FOR_PAIRS)):
        while len(found) < most:
            left = [(sample, traits) for sample, traits in left if traits - seen]
            new = [len(_of_kind(traits - seen, pairs)) for _, traits in left]
            if not any(new):
                break
            sample, traits = left.pop(new.index(max(new)))
            made = tried(sample)
            if made is not None:
                seen |= traits
                found.append(made)
                continue
            refused.update(traits - seen)
            seen |= {trait for trait in traits if refused[trait] == _REFUSED}
    return found


def traits_of(sample: Sample, signatures: Sequence[Signature]) -> Traits:
    """What is special about each argument, and about its relation to the first tensor."""
    arguments = _arguments(sample, signatures)
    first = next((value for value in arguments.values() if isinstance(value, torch.Tensor)), None)
    found = {(name, kind) for name, value in arguments.items() for kind in _kinds(value)}
    for name, value in arguments.items():
        found |= {(name, kind) for kind in _beside(value, first)}
    return frozenset(found)


def _counted(traits: Traits) -> set[Any]:
    """The traits, and all pairs of those that are no values."""
    options = sorted(trait for trait in traits if not trait[1].startswith("holds"))
    return {*traits, *itertools.combinations(options, 2)}


def _of_kind(counted: set[Any], pairs: bool) -> set[Any]:
    return {one for one in counted if isinstance(one[0], tuple) is pairs}


def _arguments(sample: Sample, signatures: Sequence[Signature]) -> Mapping[str, Any]:
    """Arguments by name, or else by place; of a module those of its constructor and of its call."""
    modules = [arg for arg in sample.args if isinstance(arg, nn.Module)]
    if modules:
        call = {str(i): arg for i, arg in enumerate(sample.args[1:])} | dict(sample.kwargs)
        made = sample.arguments or {} if isinstance(sample, ModuleSample) else _attributes(modules[0])
        return {**{f"call {name}": value for name, value in call.items()}, **made}
    named = bound(sample, signatures) if sample.program is None else None
    return named if named is not None else {str(i): arg for i, arg in enumerate(sample.args)} | dict(sample.kwargs)


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: getattr(module, name, None) for name in getattr(module, "__constants__", ())}


def _kinds(value: Any) -> Iterator[str]:
    """The kinds of a value, in words."""
    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield from _of_tensor(value)
    elif isinstance(value, str):
        yield from _of_text(value)
    elif isinstance(value, slice):
        yield "slice"
        parts = {"start": value.start, "stop": value.stop, "step": value.step}
        yield from (f"{name} {kind}" for name, part in parts.items() for kind in _kinds(part))
    elif isinstance(value, (tuple, list)):
        yield f"{len(value)} of {type(value).__name__}" if len(value) < 4 else "many"
        yield from {f"[{kind}]" for entry in value for kind in (_kinds(entry) if entry is not None else ["None"])}
        if len({str(entry) for entry in value}) > 1:
            yield "unequal"
    elif isinstance(value, (bool, torch.dtype)) or value is Ellipsis:
        yield str(value)
    elif isinstance(value, (int, float)):
        yield from _of_number(value)


def _of_number(value: float) -> Iterator[str]:
    yield type(value).__name__
    yield str(value) if value in range(-2, 4) or not math.isfinite(value) else "negative" if value < 0 else "positive"
    if abs(value) < 1:
        yield "small"


def _of_text(text: str) -> Iterator[str]:
    """A word is itself; of an equation what it is made of."""
    if text.isidentifier() or len(text) < 3:
        yield text
        return
    words = re.findall(r"\w+", text)
    yield from {mark for mark in re.findall(r"\W+", text) if mark.strip()}
    yield f"{len(words)} words"
    if any(len(set(word)) < len(word) for word in words):
        yield "a letter twice"
    if text != text.lower():
        yield "capitals"
    if not text[-1].isalnum():
        yield "an open end"
    if "->" not in text:
        yield "no arrow"


def _of_tensor(tensor: torch.Tensor) -> Iterator[str]:
    yield f"{tensor.dim()} dimensions"
    yield "floats" if tensor.is_floating_point() else "numbers" if tensor.dtype is not torch.bool else "mask"
    if not tensor.numel():
        yield "holds nothing"
    if 1 in tensor.shape:
        yield "one of a dimension"
    if tensor.is_complex() or not 0 < tensor.numel() < _LARGE or tensor.layout is not torch.strided:
        return
    values = tensor.detach()
    if values.is_floating_point():
        if not bool(values.isfinite().all()):
            yield "holds what is no number"
        if bool(((values % 1) != 0).any()):
            yield "holds fractions"
    if bool((values == 0).any()):
        yield "holds zero"
    if values.dtype is not torch.bool and bool((values < 0).any()):
        yield "holds negative ones"
    if values.dim() and len(values.unique()) < values.numel():
        yield "holds equal ones"
    if values.dim() > 1 and bool((values == 0).all(-1).any()):
        yield "holds a row of zeros"


def _beside(value: Any, first: torch.Tensor | None) -> Iterator[str]:
    """How a value is related to the first tensor."""
    if first is None or value is first:
        return
    if isinstance(value, torch.Tensor):
        if value.dtype != first.dtype:
            yield "another dtype"
        if value.dim() == first.dim() and value.shape != first.shape:
            yield "larger" if value.numel() > first.numel() else "smaller"
        return
    sizes = [size for size in first.shape if size]
    numbers = value if isinstance(value, (tuple, list)) else [value]
    for number in numbers if sizes else ():
        if type(number) is int and number > 1:
            yield "divides" if sizes[-1] % number == 0 else "has a rest"
            if number > max(sizes):
                yield "beyond all sizes"
