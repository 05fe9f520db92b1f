"""The same calls with their options in other forms: none, one alone, dimensions and places counted from the end.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nobuco.registry import Sample
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.domains import GIVEN, IDLE
from pytest_nobuco.converters.forms import Form, first_of, has_places, with_changed
from pytest_nobuco.converters.signatures import REQUIRED, Signature, bound, changed, parameters_of

# Arguments that say which dimension, and where along one something begins, ends or is.
_DIMENSIONS = frozenset(
    ("dim", "dims", "axis", "dim0", "dim1", "dim2", "start_dim", "end_dim", "axis0", "axis1", "source", "destination")
)
_PLACES = frozenset(("index", "start", "end", "offset"))
_FAR = 100


def forms_of_options(signatures: Sequence[Signature]) -> Iterator[Form]:
    """What is said, and how."""
    if not signatures:
        return

    def has_defaults(sample: Sample) -> bool:
        return not _options(sample, signatures)

    def leave_out(sample: Sample) -> Iterator[Sample]:
        return _without_options(sample, signatures)

    yield Form("defaults", has_defaults, leave_out)
    yield Form("the first argument alone", _is_alone, _alone)
    # With fewer dimensions the last is often the one that is meant.
    yield Form("defaults", lambda sample: has_defaults(sample) and first_of(sample).dim() > 2, leave_out)
    yield Form(
        "from the end",
        lambda sample: any(map(_is_from_the_end, _dimensions(sample, signatures).values())),
        lambda sample: _from_the_end(sample, signatures),
    )
    for name in _optional(signatures):
        yield _with_option(name, signatures)
    for name in (p.name for p in parameters_of(signatures) if p.name in _DIMENSIONS):
        yield _with_option(name, signatures, "several ")
    yield Form(
        "a window of one place, by steps",
        lambda sample: _has_steps(sample, signatures) and set(_window(sample)) == {1},
        lambda sample: _with_window_of_one(sample, signatures),
    )
    yield Form(
        "the first dimension",
        lambda sample: first_of(sample).dim() > 1 and 0 in _dimensions(sample, signatures).values(),
        lambda sample: _in_front(sample, signatures),
    )
    yield Form(
        "a place from the end",
        lambda sample: any(map(_is_from_the_end, _places(sample, signatures).values())),
        lambda sample: _elsewhere(sample, signatures, lambda place, size: place - size),
    )
    yield Form(
        "a place beyond",
        lambda sample: any(n > max(first_of(sample).shape) for n in _places(sample, signatures).values()),
        lambda sample: _elsewhere(sample, signatures, lambda place, size: place + _FAR),
    )
    yield Form(
        "one along the dimension",
        lambda sample: any(first_of(sample).shape[dim] == 1 for dim in _along(sample, signatures)),
        lambda sample: _narrowed_along(sample, signatures),
    )
    yield Form(
        "one along each of several dimensions",
        lambda sample: any(_is_several(value) and set(_sizes_along(sample, value)) == {1}
                           for value in _dimensions(sample, signatures).values()),
        lambda sample: _narrowed_along(sample, signatures, together=True),
    )  # fmt: skip


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


def _has_steps(sample: Sample, signatures: Sequence[Signature]) -> bool:
    stride = (bound(sample, signatures) or {}).get("stride") if sample.program is None else None
    return stride is not None and max(_each(stride), default=1) > 1


def _window(sample: Sample) -> Sequence[int]:
    """How large the second tensor is where it is laid on the first: behind two dimensions."""
    tensors = tensors_of((sample.args, sample.kwargs))
    return tensors[1].shape[2:] if len(tensors) > 1 else ()


def _with_window_of_one(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    if _has_steps(sample, signatures) and _window(sample):
        first, second, *others = tensors_of((sample.args, sample.kwargs))
        one = second.flatten(2)[..., 0].reshape(*second.shape[:2], *[1] * (second.dim() - 2))
        yield with_tensors(sample, [first, one, *others])


def _is_alone(sample: Sample) -> bool:
    """Whether a module is called with a tensor and nothing else."""
    return not isinstance(sample.args[0], nn.Module) or (len(sample.args) == 2 and not sample.kwargs)


def _alone(sample: Sample) -> Iterator[Sample]:
    if isinstance(sample.args[0], nn.Module):
        yield replace(sample, args=tuple(sample.args[:2]), kwargs={})


def _optional(signatures: Sequence[Signature]) -> list[str]:
    """What may be left out, unless it changes no value, or makes a call random."""
    return [p.name for p in parameters_of(signatures) if p.default is not REQUIRED and p.name not in {*IDLE, *GIVEN}]


def _with_option(name: str, signatures: Sequence[Signature], several: str = "") -> Form:
    """One option said, and no other: beside others a fault of it may not show. `several`: with more than one value."""

    def has(sample: Sample) -> bool:
        options, given = _options(sample, signatures), bound(sample, signatures) or {}
        said = {other for other, default in options.items() if not _is_default(given[other], default)}
        is_alone = name in given and said == {name} & set(options)  # in another overload it may be no option
        return is_alone and (not several or _is_several(given[name]))

    def make(sample: Sample) -> Iterator[Sample]:
        given = bound(sample, signatures) or {}
        if name in given and not isinstance(sample.args[0], nn.Module):
            for plain in _without_options(sample, signatures):
                yield changed(plain, signatures, {name: given[name]})

    return Form(f"{several}{name} alone", has, make)


def _is_several(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 1


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (not isinstance(value, torch.Tensor) and value == default)


def _places(sample: Sample, signatures: Sequence[Signature]) -> Mapping[str, int]:
    """The arguments that say where something begins, ends or is."""
    given = bound(sample, signatures) or {} if sample.program is None else {}
    return {name: value for name, value in given.items() if name in _PLACES and type(value) is int}


def _elsewhere(sample: Sample, signatures: Sequence[Signature], move: Callable[[int, int], int]) -> Iterator[Sample]:
    """One place after the other moved; by the first tensor's sizes, where that matters."""
    for name, place in _places(sample, signatures).items():
        yield from (
            changed(sample, signatures, {name: move(place, size)}) for size in dict.fromkeys(first_of(sample).shape)
        )


def _dimensions(sample: Sample, signatures: Sequence[Signature]) -> Mapping[str, Any]:
    """The arguments that say which dimension."""
    if sample.program is not None:
        return {}
    given = bound(sample, signatures) or {}
    return {name: value for name, value in given.items() if name in _DIMENSIONS and _is_dimension(value)}


def _along(sample: Sample, signatures: Sequence[Signature]) -> list[int]:
    """The dimensions that arguments name, of a first tensor that has several."""
    rank = first_of(sample).dim()
    named = [n for value in _dimensions(sample, signatures).values() for n in _each(value)]
    return [n for n in named if rank > 1 and -rank <= n < rank]


def _sizes_along(sample: Sample, dims: Sequence[int]) -> list[int]:
    first = first_of(sample)
    return [first.shape[dim] for dim in dims if -first.dim() <= dim < first.dim()]


def _narrowed_along(sample: Sample, signatures: Sequence[Signature], together: bool = False) -> Iterator[Sample]:
    """A size of one in the dimension that an argument names; or in all of them."""
    dims = [] if has_places(sample) else _along(sample, signatures)
    for some in [dims] if together else [[dim] for dim in dims]:

        def narrow(x: torch.Tensor, some: Sequence[int] = some) -> torch.Tensor:
            for dim in some:
                x = x.narrow(dim, 0, min(1, x.shape[dim]))
            return x

        yield from with_changed(sample, narrow)


def _in_front(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    """The dimension that an argument names, and that of all tensors of the first one's rank, made the first."""
    rank = first_of(sample).dim()
    for name, dim in _dimensions(sample, signatures).items():
        if type(dim) is int and -rank <= dim < rank:
            tensors = tensors_of((sample.args, sample.kwargs))
            turned = [x.movedim(dim, 0) if x.dim() == rank else x for x in tensors]
            yield changed(with_tensors(sample, turned), signatures, {name: 0})


def _each(value: Any) -> Sequence[int]:
    return value if isinstance(value, (tuple, list)) else [value]


def _is_dimension(value: Any) -> bool:
    return all(type(n) is int for n in (value if isinstance(value, (tuple, list)) and value else [value]))


def _is_from_the_end(value: Any) -> bool:
    return any(n < 0 for n in _each(value))


def _from_the_end(sample: Sample, signatures: Sequence[Signature]) -> Iterator[Sample]:
    """The same dimensions, or one less of what has one more behind."""
    rank = first_of(sample).dim()
    for name, value in _dimensions(sample, signatures).items():
        many = isinstance(value, (tuple, list))
        turned = tuple(n - rank if n >= 0 else n for n in _each(value))
        yield changed(sample, signatures, {name: turned if many else turned[0]})
