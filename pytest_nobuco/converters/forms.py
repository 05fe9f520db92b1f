"""The same calls in other forms: another rank, a size of one, nothing at all, dimensions counted from the end.

A converter may be right in the forms that PyTorch's samples have, and wrong in one that they lack. So a form that no
sample has is given to one of them; whether the operation takes it, PyTorch says.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from nobuco.registry import Sample
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.signatures import REQUIRED, Signature, bound, changed, parameters_of

Found = TypeVar("Found")
Tensors = Sequence[torch.Tensor]

# How many samples a form is tried on.
_TRIED = 8
_MANY = 4096
_DIMENSIONS = frozenset(
    ("dim", "dims", "axis", "dim0", "dim1", "dim2", "start_dim", "end_dim", "axis0", "axis1", "source", "destination")
)


@dataclass(frozen=True)
class Form:
    """A form: whether a sample has it, and samples that have it, made of one; those that keep most come first."""

    name: str
    has: Callable[[Sample], bool]
    make: Callable[[Sample], Iterator[Sample]]


def formed(
    samples: Sequence[Sample],
    taken: Sequence[Sample],
    signatures: Sequence[Signature],
    tried: Callable[[Sample], Found | None],
    left_out: Collection[str] = (),
) -> list[Found]:
    """What comes of samples in the forms that none of those taken has, but for those left out.

    `tried` makes something of a sample, or None where it is of no use.
    """
    taken, found = [sample for sample in taken if tensors_of((sample.args, sample.kwargs))], list[Found]()
    sources = list({id(sample): sample for sample in (*taken, *samples) if sample.program is None}.values())
    for form in _forms(signatures):
        if form.name in left_out or any(map(form.has, taken)):
            continue
        made = itertools.chain.from_iterable(map(form.make, _unlike(sources)))
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


def _forms(signatures: Sequence[Signature]) -> Iterator[Form]:
    yield Form("in training", _is_in_training, _training)
    yield Form("more rows than columns", lambda sample: _taller_by(sample) > 0, _turned)
    yield Form("more columns than rows", lambda sample: _taller_by(sample) < 0, _turned)
    yield Form("apart", lambda sample: not _first(sample).is_contiguous(), _laid_apart)
    yield Form("channels last", _has_channels_last, _with_channels_last)
    yield from map(_with_one, (0, 1, -1))
    yield Form("unlike sizes", _is_of_unlike_sizes, _of_unlike_sizes)
    yield Form("nothing", lambda sample: not _first(sample).numel(), _emptied)
    yield from map(_with_rank, range(1, 6))
    yield Form("two dtypes", lambda sample: len({x.dtype for x in _operands(sample)}) > 1, _of_two_dtypes)
    yield Form("a number", lambda sample: any(isinstance(arg, float) for arg in sample.args[1:2]), _with_number(0.7))
    yield Form("an odd number", lambda sample: any(type(n) is int and n % 2 for n in sample.args[1:2]), _with_number(3))
    yield Form("a number in front", lambda sample: isinstance(sample.args[0], float), _behind_number)
    if signatures:
        yield from _of_options(signatures)


def _with_rank(rank: int) -> Form:
    return Form(f"rank {rank}", lambda sample: _first(sample).dim() == rank, _of_rank(rank))


def _of_options(signatures: Sequence[Signature]) -> Iterator[Form]:
    def has_defaults(sample: Sample) -> bool:
        return not _options(sample, signatures)

    def leave_out(sample: Sample) -> Iterator[Sample]:
        return _without_options(sample, signatures)

    yield Form("defaults", has_defaults, leave_out)
    # With fewer dimensions the last is often the one that is meant.
    yield Form("defaults", lambda sample: has_defaults(sample) and _first(sample).dim() > 2, leave_out)
    yield Form(
        "from the end",
        lambda sample: any(map(_is_from_the_end, _dimensions(sample, signatures).values())),
        lambda sample: _from_the_end(sample, signatures),
    )
    yield Form(
        "one along the dimension",
        lambda sample: any(_first(sample).shape[dim] == 1 for dim in _along(sample, signatures)),
        lambda sample: _narrowed_along(sample, signatures),
    )


def _first(sample: Sample) -> torch.Tensor:
    return tensors_of((sample.args, sample.kwargs))[0]


def _unlike(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of real numbers, one of each rank and number of tensors first."""
    known: dict[Any, list[Sample]] = {}
    for sample in samples:
        tensors = tensors_of((sample.args, sample.kwargs))
        if tensors and tensors[0].numel():
            known.setdefault((tensors[0].dim(), len(tensors)), []).append(sample)
    return [sample for row in itertools.zip_longest(*known.values()) for sample in row if sample is not None]


def _with_changed(sample: Sample, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Iterator[Sample]:
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
    first = _first(sample)
    return first.shape[-2] - first.shape[-1] if first.dim() > 2 else 0


def _turned(sample: Sample) -> Iterator[Sample]:
    """Rows and columns change places, in what is shown of the memory alone; of as many of both, one goes."""
    if _taller_by(sample):
        yield from _with_changed(sample, lambda x: x.mT)
    elif _first(sample).dim() > 2:
        for dim in (-1, -2):
            yield from _with_changed(sample, lambda x, dim=dim: x.narrow(dim, 1, x.shape[dim] - 1))  # type: ignore[misc]


def _laid_apart(sample: Sample) -> Iterator[Sample]:
    """The same numbers in another order of the memory."""

    def change(x: torch.Tensor) -> torch.Tensor | None:
        return x.transpose(0, -1).contiguous().transpose(0, -1) if x.dim() > 1 else None

    yield from _with_changed(sample, change)


def _emptied(sample: Sample) -> Iterator[Sample]:
    """Nothing in one dimension, the last or the first."""
    for dim in (-1, 0):
        yield from _narrowed(sample, dim, 0)


def _narrowed(sample: Sample, dim: int, size: int) -> Iterator[Sample]:
    """As large in one dimension as said here; as are other tensors of its size there."""
    tensors = tensors_of((sample.args, sample.kwargs))
    old = tensors[0].shape[dim] if -1 <= dim < tensors[0].dim() != 0 else 0
    if old > size and not _has_places(sample):
        alike = [x.dim() > max(dim, 0) and x.shape[dim] == old for x in tensors]
        yield with_tensors(sample, [x.narrow(dim, 0, size) if same else x for x, same in zip(tensors, alike)])
        yield from _with_changed(sample, lambda x: x.narrow(dim, 0, size))


def _with_one(dim: int) -> Form:
    """A size of one in one dimension."""

    def has(sample: Sample) -> bool:
        return _first(sample).dim() > max(dim, 0) and _first(sample).shape[dim] == 1

    return Form(f"one in dimension {dim}", has, lambda sample: _narrowed(sample, dim, 1))


def _is_of_unlike_sizes(sample: Sample) -> bool:
    """Whether two tensors of one rank differ in a size that is one in neither, or in one alone."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    return any(x.dim() == first.dim() and x.shape != first.shape for x in others)


def _of_unlike_sizes(sample: Sample) -> Iterator[Sample]:
    """The others of the first tensor's size with fewer in one dimension, or one."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    for dim, size in enumerate(first.shape):
        for fewer in (size - 1, 1) if size > 2 and not _has_places(sample) else ():
            less = [x.narrow(dim, 0, fewer) if x.shape == first.shape else x for x in others]
            yield with_tensors(sample, [first, *less])


def _has_channels_last(sample: Sample) -> bool:
    first = _first(sample)
    return first.dim() == 4 and not first.is_contiguous() and first.is_contiguous(memory_format=torch.channels_last)


def _with_channels_last(sample: Sample) -> Iterator[Sample]:
    """An image in the other order of the memory."""
    if _first(sample).dim() == 4:
        yield from _with_changed(sample, lambda x: x.contiguous(memory_format=torch.channels_last))


def _has_places(sample: Sample) -> bool:
    """Whether integers stand beside numbers: places in those, which PyTorch need not check, or counts of them."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    return first.is_floating_point() and any(x.dtype in (torch.int32, torch.int64) for x in others)


def _of_rank(rank: int) -> Callable[[Sample], Iterator[Sample]]:
    """Twice beside itself in a dimension more, behind or in front; or the first part of a dimension."""

    def make(sample: Sample) -> Iterator[Sample]:
        missing = rank - _first(sample).dim()
        if missing == 1:
            for dim in (-1, 0):
                yield from _with_changed(sample, lambda x, dim=dim: torch.stack([x, _moved(x)], dim))  # type: ignore[misc]
        elif missing == -1 and not _has_places(sample):
            yield from _with_changed(sample, lambda x: x[0])

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


def _with_number(number: float) -> Callable[[Sample], Iterator[Sample]]:
    """A number in place of the second tensor."""

    def make(sample: Sample) -> Iterator[Sample]:
        if _begins_with_tensors(sample):
            yield replace(sample, args=(sample.args[0], number, *sample.args[2:]))

    return make


def _behind_number(sample: Sample) -> Iterator[Sample]:
    """A number in place of the first of two tensors."""
    if _begins_with_tensors(sample):
        yield replace(sample, args=(1.7, *sample.args[1:]))


def _begins_with_tensors(sample: Sample) -> bool:
    return len(sample.args) > 1 and all(isinstance(arg, torch.Tensor) for arg in sample.args[:2])


def _options(sample: Sample, signatures: Sequence[Signature]) -> dict[str, Any]:
    """The arguments that could be left out, and the values that they have then."""
    given = bound(sample, signatures) or {}
    return {p.name: p.default for p in parameters_of(signatures) if p.default is not REQUIRED and p.name in given}


def _without_options(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    """The call with nothing said that could be left out."""
    options = _options(sample, signatures)
    if any(isinstance(arg, nn.Module) for arg in sample.args):
        return
    places = [p.place for p in parameters_of(signatures) if p.name in options and p.place is not None]
    kwargs = {name: value for name, value in sample.kwargs.items() if name not in options}
    yield replace(sample, args=tuple(sample.args[: min(places, default=len(sample.args))]), kwargs=kwargs)


def _dimensions(sample: Sample, signatures: Sequence[Signature]) -> Mapping[str, Any]:
    """The arguments that say which dimension."""
    if sample.program is not None:
        return {}
    given = bound(sample, signatures) or {}
    return {name: value for name, value in given.items() if name in _DIMENSIONS and _is_dimension(value)}


def _along(sample: Sample, signatures: Sequence[Signature]) -> list[int]:
    """The dimensions that arguments name, of a first tensor that has several."""
    rank = _first(sample).dim()
    named = [n for value in _dimensions(sample, signatures).values() for n in _each(value)]
    return [n for n in named if rank > 1 and -rank <= n < rank]


def _narrowed_along(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    """A size of one in the dimension that an argument names."""
    for dim in () if _has_places(sample) else _along(sample, signatures):
        yield from _with_changed(sample, lambda x, dim=dim: x.narrow(dim, 0, 1))  # type: ignore[misc]


def _each(value: Any) -> Sequence[int]:
    return value if isinstance(value, (tuple, list)) else [value]


def _is_dimension(value: Any) -> bool:
    return all(type(n) is int for n in (value if isinstance(value, (tuple, list)) and value else [value]))


def _is_from_the_end(value: Any) -> bool:
    return any(n < 0 for n in _each(value))


def _from_the_end(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    """The same dimensions, or one less of what has one more behind."""
    rank = _first(sample).dim()
    for name, value in _dimensions(sample, signatures).items():
        many = isinstance(value, (tuple, list))
        turned = tuple(n - rank if n >= 0 else n for n in _each(value))
        yield changed(sample, signatures, {name: turned if many else turned[0]})
