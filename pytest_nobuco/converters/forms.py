"""The same calls in other forms: another rank, a size of one, nothing at all; of options see `option_forms`.

A converter may be right in the forms that PyTorch's samples have, and wrong in one that they lack. So a form that no
sample has is given to one of them; whether the operation takes it, PyTorch says.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from nobuco.registry import Sample
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.signatures import ModuleSample, changed

Found = TypeVar("Found")
Tensors = Sequence[torch.Tensor]

# How many samples a form is tried on.
_TRIED = 8
_MANY = 4096


@dataclass(frozen=True)
class Form:
    """A form: whether a sample has it, and samples that have it, made of one; those that keep most come first."""

    name: str
    has: Callable[[Sample], bool]
    make: Callable[[Sample], Iterator[Sample]]


def formed(
    forms: Iterable[Form],
    samples: Sequence[Sample],
    taken: Sequence[Sample],
    tried: Callable[[Sample], Found | None],
    as_they_are: bool = False,
) -> list[Found]:
    """What comes of samples in the forms that none of those taken has.

    `tried` makes something of a sample, or None where it is of no use. `as_they_are`: only of samples that have a form.
    """
    taken, found = [sample for sample in taken if tensors_of((sample.args, sample.kwargs))], list[Found]()
    sources = list({id(sample): sample for sample in (*taken, *samples) if sample.program is None}.values())
    for form in forms:
        if any(map(form.has, taken)):
            continue
        some = _unlike(sources)
        made = iter(some) if as_they_are else itertools.chain.from_iterable(map(form.make, some))
        with_tensor = (sample for sample in made if tensors_of((sample.args, sample.kwargs)))
        for sample in itertools.islice(filter(form.has, with_tensor), _TRIED):
            result = tried(_with_own_modules(sample))
            if result is not None:
                taken.append(sample)
                found.append(result)
                break
    return found


def many(samples: Sequence[Sample]) -> list[Sample]:
    """The first of these samples with so many elements that the moments of random ones tell distributions apart."""
    for sample in samples:
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is None and tensors and tensors[0].dim() and tensors[0].numel():
            size, count = tensors[0].shape[0], -(-_MANY // tensors[0].numel())
            return [with_tensors(sample, [x.repeat(count, *[1] * (x.dim() - 1)) if x.dim() and x.shape[0] == size else x
                                          for x in tensors])]  # fmt: skip
    return []


def _with_own_modules(sample: Sample) -> Sample:
    """Calls of one module share a layer, which is made for the first of them."""
    own = tuple(copy.deepcopy(arg) if isinstance(arg, nn.Module) else arg for arg in sample.args)
    return replace(sample, args=own)


def forms_of_tensors() -> Iterator[Form]:
    """What tensors are like, and what stands in a tensor's place."""
    yield Form("in training", _is_in_training, _training)
    yield Form("more rows than columns", lambda sample: _taller_by(sample) > 0, _turned)
    yield Form("more columns than rows", lambda sample: _taller_by(sample) < 0, _turned)
    yield Form("apart", lambda sample: not first_of(sample).is_contiguous(), _laid_apart)
    yield Form("channels last", _has_channels_last, _with_channels_last)
    yield from map(_with_one, (0, 1, -1))
    yield Form("unlike sizes", _is_of_unlike_sizes, _of_unlike_sizes)
    yield Form("nothing", lambda sample: not first_of(sample).numel(), _emptied)
    yield from map(_with_rank, range(1, 6))
    yield Form("two dtypes", lambda sample: len({x.dtype for x in _operands(sample)}) > 1, _of_two_dtypes)
    yield Form("a number", lambda sample: any(isinstance(arg, float) for arg in sample.args[1:2]), _with_number(0.7))
    yield Form("an odd number", lambda sample: _is_beside(sample, 1), _with_number(3))
    yield Form("an even number", lambda sample: _is_beside(sample, 0), _with_number(2))
    yield Form("a number in front", lambda sample: isinstance(sample.args[0], float), _behind_number)
    yield Form("fewer places", _has_fewer_places, _with_fewer_places)


def _with_rank(rank: int) -> Form:
    return Form(f"rank {rank}", lambda sample: first_of(sample).dim() == rank, _of_rank(rank))


def first_of(sample: Sample) -> torch.Tensor:
    """The first of its tensors."""
    return tensors_of((sample.args, sample.kwargs))[0]


def _unlike(samples: Sequence[Sample]) -> list[Sample]:
    """Samples, one of each rank and number of tensors first; of these the ones with most weights."""
    known: dict[Any, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: -_weights(sample)):
        tensors = tensors_of((sample.args, sample.kwargs))
        if tensors and tensors[0].numel():
            known.setdefault((tensors[0].dim(), len(tensors)), []).append(sample)
    return [sample for row in itertools.zip_longest(*known.values()) for sample in row if sample is not None]


def _weights(sample: Sample) -> int:
    """How many numbers the modules of a sample hold: of one slope for all channels no order of channels shows."""
    modules = [arg for arg in sample.args if isinstance(arg, nn.Module)]
    return sum(weight.numel() for module in modules for weight in module.parameters())


def with_changed(sample: Sample, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Iterator[Sample]:
    """With a change of the first tensor and all of its size, then of the first tensor alone."""
    tensors = tensors_of((sample.args, sample.kwargs))
    first = change(tensors[0])
    if first is None:
        return
    alike = [x.shape == tensors[0].shape for x in tensors[1:]]
    if any(alike):
        others = [change(x) if same else x for x, same in zip(tensors[1:], alike)]
        if all(x is not None for x in others):
            yield with_tensors(sample, [first, *(x for x in others if x is not None)])
    yield with_tensors(sample, [first, *tensors[1:]])


def _is_in_training(sample: Sample) -> bool:
    return any(isinstance(arg, nn.Module) and arg.training for arg in sample.args)


def _training(sample: Sample) -> Iterator[Sample]:
    """A module that learns, as batch normalisation, which takes its statistics from the batch then."""
    if any(isinstance(arg, nn.Module) for arg in sample.args):
        yield replace(sample, args=tuple(
            copy.deepcopy(arg).train() if isinstance(arg, nn.Module) else arg for arg in sample.args))  # fmt: skip


def _taller_by(sample: Sample) -> int:
    """By how much there are more rows than columns."""
    first = first_of(sample)
    return first.shape[-2] - first.shape[-1] if first.dim() > 2 else 0


def _turned(sample: Sample) -> Iterator[Sample]:
    """Rows and columns change places, in what is shown of the memory alone; of as many of both, one goes."""
    if _taller_by(sample):
        yield from with_changed(sample, lambda x: x.mT)
    elif first_of(sample).dim() > 2:
        for dim in (-1, -2):
            yield from with_changed(sample, lambda x, dim=dim: x.narrow(dim, 1, x.shape[dim] - 1))  # type: ignore[misc]


def _laid_apart(sample: Sample) -> Iterator[Sample]:
    """The same numbers in another order of the memory."""

    def change(x: torch.Tensor) -> torch.Tensor | None:
        return x.transpose(0, -1).contiguous().transpose(0, -1) if x.dim() > 1 else None

    yield from with_changed(sample, change)


def _emptied(sample: Sample) -> Iterator[Sample]:
    """Nothing in one dimension, the last or the first."""
    for dim in (-1, 0):
        yield from _narrowed(sample, dim, 0)


def _narrowed(sample: Sample, dim: int, size: int) -> Iterator[Sample]:
    """As large in one dimension as said here; as are other tensors of its size there."""
    tensors = tensors_of((sample.args, sample.kwargs))
    old = tensors[0].shape[dim] if -1 <= dim < tensors[0].dim() != 0 else 0
    if old > size and not has_places(sample):
        alike = [x.dim() > max(dim, 0) and x.shape[dim] == old for x in tensors]
        yield with_tensors(sample, [x.narrow(dim, 0, size) if same else x for x, same in zip(tensors, alike)])
        yield from with_changed(sample, lambda x: x.narrow(dim, 0, size))


def _with_one(dim: int) -> Form:
    """A size of one in one dimension."""

    def has(sample: Sample) -> bool:
        return first_of(sample).dim() > max(dim, 0) and first_of(sample).shape[dim] == 1

    def make(sample: Sample) -> Iterator[Sample]:
        yield from _narrowed(sample, dim, 1)
        if dim == 1:
            yield from _of_one_channel(sample)

    return Form(f"one in dimension {dim}", has, make)


def _of_one_channel(sample: Sample) -> Iterator[Sample]:
    """A module made anew for the first channel."""
    if isinstance(sample, ModuleSample) and first_of(sample).dim() > 1:
        arguments = sample.arguments or {}
        ones = {name: 1 for name in ("in_channels", "num_features", "num_channels", "groups") if name in arguments}
        for one in with_changed(sample, lambda x: x[:, :1]):
            with contextlib.suppress(Exception):  # a module's constructor raises what it likes
                yield changed(one, (), ones)


def _is_of_unlike_sizes(sample: Sample) -> bool:
    """Whether two tensors of one rank differ in a size that is one in neither, or in one alone."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    return any(x.dim() == first.dim() and x.shape != first.shape for x in others)


def _of_unlike_sizes(sample: Sample) -> Iterator[Sample]:
    """The others of the first tensor's size with fewer in one dimension, or one."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    for dim, size in enumerate(first.shape):
        for fewer in (size - 1, 1) if size > 2 and not has_places(sample) else ():
            less = [x.narrow(dim, 0, fewer) if x.shape == first.shape else x for x in others]
            yield with_tensors(sample, [first, *less])


def _has_channels_last(sample: Sample) -> bool:
    first = first_of(sample)
    return first.dim() == 4 and not first.is_contiguous() and first.is_contiguous(memory_format=torch.channels_last)


def _with_channels_last(sample: Sample) -> Iterator[Sample]:
    """An image in the other order of the memory."""
    if first_of(sample).dim() == 4:
        yield from with_changed(sample, lambda x: x.contiguous(memory_format=torch.channels_last))


def _has_fewer_places(sample: Sample) -> bool:
    """Whether of tensors behind the first that have one rank the integers are fewer."""
    _, *others = tensors_of((sample.args, sample.kwargs))
    counts = [(x.is_floating_point(), x.numel()) for x in others if x.dim() == first_of(sample).dim()]
    return any(n < m for is_real, m in counts for is_other, n in counts if is_real and not is_other)


def _with_fewer_places(sample: Sample) -> Iterator[Sample]:
    """The last places left out: what is taken from a tensor that is larger than their own."""
    tensors = tensors_of((sample.args, sample.kwargs))
    for dim in range(first_of(sample).dim()):
        yield with_tensors(sample, [
            x.narrow(dim, 0, x.shape[dim] - 1)
            if i and x.dim() == tensors[0].dim() and x.dtype in (torch.int32, torch.int64) and x.shape[dim] > 1 else x
            for i, x in enumerate(tensors)])  # fmt: skip


def has_places(sample: Sample) -> bool:
    """Whether integers stand beside numbers: places in those, which PyTorch need not check, or counts of them."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    return first.is_floating_point() and any(x.dtype in (torch.int32, torch.int64) for x in others)


def _of_rank(rank: int) -> Callable[[Sample], Iterator[Sample]]:
    """Twice beside itself in a dimension more, behind or in front; or the first part of the first or last dimension."""

    def make(sample: Sample) -> Iterator[Sample]:
        missing = rank - first_of(sample).dim()
        if missing == 1:
            for dim in (-1, 0):
                yield from with_changed(sample, lambda x, dim=dim: torch.stack([x, _moved(x)], dim))  # type: ignore[misc]
        elif missing == -1 and not has_places(sample):
            yield from with_changed(sample, lambda x: x[0])
            yield from with_changed(sample, lambda x: x[..., 0])

    return make


def _moved(x: torch.Tensor) -> torch.Tensor:
    """Numbers that are a little smaller; others as they are."""
    return x * 0.9 if x.is_floating_point() else x


def _operands(sample: Sample) -> list[torch.Tensor]:
    """The tensors but for masks."""
    return [x for x in tensors_of((sample.args, sample.kwargs)) if x.dtype is not torch.bool]


def _of_two_dtypes(sample: Sample) -> Iterator[Sample]:
    """The last of two tensors, or else the first, in whole numbers."""
    operands = _operands(sample)
    if len(operands) != 2 or not all(x.dtype == torch.float32 for x in operands):
        return
    for one in reversed(operands):
        yield with_tensors(sample, [(x * 3).round().to(torch.int32) if x is one else x
                                    for x in tensors_of((sample.args, sample.kwargs))])  # fmt: skip


def _is_beside(sample: Sample, rest: int) -> bool:
    """Whether an odd number, of which one is left, or an even one is beside numbers of both signs."""
    is_number = any(type(n) is int and n % 2 == rest for n in sample.args[1:2])
    first = first_of(sample)
    return is_number and (not first.is_floating_point() or bool((first < 0).any() and (first > 0).any()))


def _with_number(number: float) -> Callable[[Sample], Iterator[Sample]]:
    """A number in place of the second tensor; every other number of the first below zero, or else none."""

    def make(sample: Sample) -> Iterator[Sample]:
        if _begins_with_tensors(sample):
            yield replace(sample, args=(_of_both_signs(sample.args[0]), number, *sample.args[2:]))
            yield replace(sample, args=(sample.args[0], number, *sample.args[2:]))

    return make


def _of_both_signs(x: torch.Tensor) -> torch.Tensor:
    if not x.is_floating_point():
        return x
    return x.abs() * (1 - 2 * (torch.arange(x.numel()).reshape(x.shape) % 2)).to(x.dtype)


def _behind_number(sample: Sample) -> Iterator[Sample]:
    """A number in place of the first of two tensors."""
    if _begins_with_tensors(sample):
        yield replace(sample, args=(1.7, *sample.args[1:]))


def _begins_with_tensors(sample: Sample) -> bool:
    return len(sample.args) > 1 and all(isinstance(arg, torch.Tensor) for arg in sample.args[:2])
