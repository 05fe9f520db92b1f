"""Samples made from an operation's signature by rule: each parameter at another value, where PyTorch says it matters.

PyTorch decides: a value counts if the operation takes it and gives something else than without. As many parameters as
go together are varied in one sample, since a conversion costs far more than a call; what another parameter then hides
is tried in the next one.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.calls import RefusedError, observed, tensors_of, with_tensors
from pytest_nobuco.domains import GIVEN, IDLE, OF_MODULES, UNCHANGING, Choice, Together, choices_for
from pytest_nobuco.signatures import REQUIRED, ModuleSample, Parameter, Signature, bound, changed, parameters_of
from pytest_nobuco.special import special

# How many samples of others are varied, and how many are made of them at most.
_BASES, _MOST = 4, 8
# How much of itself an element changes by before a change counts: more than any bound hides.
_NOTICEABLE = 2e-3
# Odd, and no two alike.
_SIZES = (7, 9, 5)


@dataclass(frozen=True)
class Varied:
    """Samples in which parameters differ from those of others.

    matter: the parameters of which another value gives another output, and is among the samples.
    reasons: why the others are not.
    """

    samples: tuple[Sample, ...] = ()
    matter: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def share(self) -> str:
        """How many are varied, of how many."""
        return f"{len(self.matter)}/{len(self.matter) + len(self.reasons)}"


@dataclass(frozen=True)
class _Wish:
    """A parameter that is to have a value of a choice."""

    parameter: Parameter
    choice: Choice


@dataclass(frozen=True)
class _Step:
    """A sample, what PyTorch makes of it, and the wishes that it fulfils."""

    sample: Sample
    outputs: list[torch.Tensor]
    fulfilled: tuple[_Wish, ...] = ()


def varied(
    operation: Operation,
    samples: Sequence[Sample],
    signatures: Sequence[Signature],
    accepts: Callable[[Sample], bool] = lambda sample: True,
    seed: int = 0,
) -> Varied:
    """Vary all parameters of an operation, beginning with samples that PyTorch takes.

    `accepts` says whether a sample comes to the converter: some arguments lead to another one.
    """
    idle = {**IDLE, **OF_MODULES} if isinstance(operation, type) else IDLE
    parameters = [p for p in parameters_of(signatures) if p.name not in idle]
    reasons = {p.name: idle[p.name] for p in parameters_of(signatures) if p.name in idle}
    bases = list(_bases(operation, samples, signatures, seed))
    if not bases:
        return Varied(reasons={**reasons, **{p.name: "no sample has its arguments by name" for p in parameters}})
    wishes = list(_wishes(parameters, bases[0].sample, samples, signatures))
    found: list[Sample] = []
    matter: set[str] = set()
    for base in bases:
        fitting = list(_fitting(operation, base, wishes, signatures, seed))
        while fitting and len(found) < _MOST:
            step = _packed(operation, base, fitting, signatures, seed)
            if len(step.fulfilled) > 1 and not accepts(step.sample):
                step = _packed(operation, base, fitting[:1], signatures, seed)
            names = {wish.parameter.name for wish in step.fulfilled}
            if accepts(step.sample):
                found.append(step.sample)
                matter |= names
            else:
                reasons |= dict.fromkeys(names, "another converter serves it with any other value")
            fitting = [(wish, changes) for wish, changes in fitting if wish not in step.fulfilled]
            wishes = [wish for wish in wishes if wish not in step.fulfilled]
    matter |= {p.name for p in parameters if _is_data(operation, p, bases[0], signatures, seed)}
    for p in parameters:
        if p.name not in matter:
            given = _given(operation, p, samples, signatures, seed)
            if given is not None and len(found) < _MOST:
                found.append(given)
                matter.add(p.name)
    left = [p.name for p in parameters if p.name not in matter]
    reasons = {**dict.fromkeys(left, "no value that was tried changes the output"), **reasons}
    reasons = {name: reason for name, reason in reasons.items() if name not in matter}
    return Varied(tuple(found), tuple(p.name for p in parameters if p.name in matter), reasons)


def _bases(
    operation: Operation, samples: Sequence[Sample], signatures: Sequence[Signature], seed: int
) -> Iterator[_Step]:
    """Samples to begin with, those first that tell most: a batch of several, larger sizes, odd ones."""
    known = [sample for sample in samples if bound(sample, signatures) is not None and sample.program is None]
    count = 0
    for sample in _unlike_first(sorted(known[:64], key=_plainness)):
        for candidate in (*_batched(sample), _roomy(sample), sample):
            outputs = None if candidate is None else _outputs(operation, candidate, seed)
            if candidate is not None and outputs and all(_is_telling(tensor) for tensor in outputs):
                count += 1
                yield _Step(candidate, outputs)
                break
        if count == _BASES:
            break
    yield from _tied(operation, known, seed)
    for sample in special(operation, samples, seed)[:2]:
        outputs = _outputs(operation, sample, seed)
        if outputs and bound(sample, signatures) is not None:
            yield _Step(sample, outputs)


def _tied(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[_Step]:
    """A sample of two tensors of which one has values of the other, for what compares them."""
    for sample in samples[:16]:
        tensors = tensors_of((sample.args, sample.kwargs))
        if len(tensors) < 2 or tensors[0].dtype != tensors[1].dtype or not tensors[0].numel() * tensors[1].numel():
            continue
        generator = torch.Generator().manual_seed(seed)
        for one, other in ((0, 1), (1, 0)):
            places = torch.randint(tensors[other].numel(), tensors[one].shape, generator=generator)
            tied = list(tensors)
            tied[one] = tensors[other].flatten()[places]
            made = with_tensors(sample, tied)
            outputs = _outputs(operation, made, seed)
            if outputs and all(map(_is_telling, outputs)):
                yield _Step(made, outputs)
        return


def _unlike_first(samples: Sequence[Sample]) -> list[Sample]:
    """One sample of each pattern of arguments, then the others."""
    seen: dict[Any, Sample] = {}
    for sample in samples:
        tensors = tensors_of((sample.args, sample.kwargs))
        seen.setdefault((tuple(x.dim() for x in tensors), tuple(sample.kwargs)), sample)
    first = list(seen.values())
    return [*first, *(sample for sample in samples if not any(sample is one for one in first))]


def _batched(sample: Sample) -> Iterator[Sample]:
    """A module's sample without a batch, with one: PyTorch has one of most recurrent layers only without."""
    tensors = tensors_of((sample.args[1:], sample.kwargs))
    if not isinstance(sample, ModuleSample) or not all(x.dim() < 3 and x.is_floating_point() for x in tensors):
        return
    generator = torch.Generator().manual_seed(0)
    for dim in (1, 0):
        if all(x.dim() >= dim for x in tensors):
            yield with_tensors(
                sample, [torch.stack([x, *(torch.randn(x.shape, generator=generator) for _ in "12")], dim) for x in tensors]
            )


def _plainness(sample: Sample) -> tuple[int, ...]:
    """Small where a sample has a batch of several and several dimensions, at sizes that are odd."""
    tensors = tensors_of((sample.args, sample.kwargs))
    shape = tensors[0].shape if tensors else ()
    lacking = sum((len(shape) < 2, 0 in shape, len(shape) > 0 and shape[0] == 1))
    return lacking, -min(len(shape), 4)


def _roomy(sample: Sample) -> Sample | None:
    """The sample with a larger first tensor, of odd and unequal sizes behind batch and channels; None for others."""
    first, *others = tensors_of((sample.args, sample.kwargs)) or (None,)
    if first is None or first.dim() not in (3, 4, 5) or not first.numel() or not first.is_floating_point():
        return None
    # No dimension gets smaller: another tensor may hold places along it.
    spatial = [size if n < size else n + 1 - n % 2 for n, size in zip(first.shape[2:], _SIZES)]
    shape = (max(first.shape[0], 2), first.shape[1], *spatial)
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(first.numel(), shape, generator=generator)
    grown = first.detach().flatten()[places] * (1 + 0.1 * torch.randn(shape, generator=generator)).to(first.dtype)
    return with_tensors(sample, [grown, *others])


def _wishes(
    parameters: Sequence[Parameter], base: Sample, samples: Sequence[Sample], signatures: Sequence[Signature]
) -> Iterator[_Wish]:
    """What a table says of each parameter, and the values that other samples give it."""
    own = bound(base, signatures) or {}
    others = [bound(sample, signatures) or {} for sample in _some(samples)]
    for p in parameters:
        if isinstance(own.get(p.name), torch.Tensor) or p.name in GIVEN:
            continue
        current = own.get(p.name, p.default)
        choices = choices_for(p.name, p.default, current)
        seen = [given[p.name] for given in others if p.name in given and not _holds_tensors(given[p.name])]
        for choice in choices or (tuple(value for value in seen[:6] if value != current),):
            if choice:
                yield _Wish(p, choice)


def _fitting(
    operation: Operation, base: _Step, wishes: Sequence[_Wish], signatures: Sequence[Signature], seed: int
) -> Iterator[tuple[_Wish, Mapping[str, Any]]]:
    """The wishes that a sample can fulfil, each alone, and what is changed for it."""
    for wish in wishes:
        for value in wish.choice:
            changes = dict(value.values) if isinstance(value, Together) else {wish.parameter.name: value}
            step = _stepped(operation, base, changes, signatures, seed)
            if step is not None and (len(changes) == 1 or _lasts(operation, step, base, wish.parameter, signatures, seed)):
                yield wish, changes
                break


def _packed(
    operation: Operation,
    base: _Step,
    fitting: Sequence[tuple[_Wish, Mapping[str, Any]]],
    signatures: Sequence[Signature],
    seed: int,
) -> _Step:
    """As many wishes in one sample as go together, the first at least."""
    step, taken = base, set[str]()
    for wish, changes in fitting:
        more = None if taken & set(changes) else _stepped(operation, step, changes, signatures, seed)
        if more is not None:
            step = _Step(more.sample, more.outputs, (*step.fulfilled, wish))
            taken |= set(changes)
    first, *others = step.fulfilled
    lasting = (w for w in others if _lasts(operation, step, base, w.parameter, signatures, seed))
    return _Step(step.sample, step.outputs, (first, *lasting))


def _stepped(
    operation: Operation, step: _Step, changes: Mapping[str, Any], signatures: Sequence[Signature], seed: int
) -> _Step | None:
    """The sample with these changes, if PyTorch takes them and gives something else."""
    try:
        sample = changed(step.sample, signatures, changes)
    except Exception:  # a module's constructor says what it likes
        return None
    outputs = _outputs(operation, sample, seed)
    if outputs is None or not all(map(_is_telling, outputs)) or not _differ(outputs, step.outputs):
        return None
    return _Step(sample, outputs)


def _lasts(
    operation: Operation, step: _Step, base: _Step, p: Parameter, signatures: Sequence[Signature], seed: int
) -> bool:
    """Whether a parameter makes a difference beside all others that were changed: without it PyTorch gives another."""
    if p.name in UNCHANGING:
        return True
    before = (bound(base.sample, signatures) or {}).get(p.name, p.default)
    if before is REQUIRED:
        return True
    try:
        outputs = _outputs(operation, changed(step.sample, signatures, {p.name: before}), seed)
    except Exception:
        return True
    return outputs is None or _differ(outputs, step.outputs)


def _given(
    operation: Operation, p: Parameter, samples: Sequence[Sample], signatures: Sequence[Signature], seed: int
) -> Sample | None:
    """A sample in which a parameter has a value that matters: with its default the output is another."""
    if p.default is REQUIRED:
        return None
    for sample in _some(samples):
        value = (bound(sample, signatures) or {}).get(p.name)
        if value is None or (not isinstance(value, torch.Tensor) and value == p.default):
            continue
        outputs = _outputs(operation, sample, seed)
        try:
            without = _outputs(operation, changed(sample, signatures, {p.name: p.default}), seed)
        except Exception:
            continue
        if outputs and without and _differ(outputs, without):
            return sample
    return None


def _some(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Not all of hundreds, but from all over."""
    return samples[:: max(1, len(samples) // 64)]


def _is_data(operation: Operation, p: Parameter, base: _Step, signatures: Sequence[Signature], seed: int) -> bool:
    """Whether a parameter is a tensor that is in all samples; its values differ between them."""
    value = (bound(base.sample, signatures) or {}).get(p.name)
    return p.default is REQUIRED and isinstance(value, (torch.Tensor, list, tuple)) and _holds_tensors(value)


def _holds_tensors(value: Any) -> bool:
    return bool(tensors_of(value if isinstance(value, (list, tuple, dict)) else (value,)))


def _outputs(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor] | None:
    try:
        return observed(operation, sample, seed)
    except RefusedError:
        return None


def _is_telling(tensor: torch.Tensor) -> bool:
    """Whether there is something to compare in it, and not one number for all."""
    return bool(tensor.numel()) and bool(torch.isfinite(tensor.abs() if tensor.is_complex() else tensor).any())


def _differ(outputs: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    """Whether two runs of PyTorch differ, by more than what a bound would hide."""
    if [(x.shape, x.dtype) for x in outputs] != [(x.shape, x.dtype) for x in others]:
        return True
    return any(not _near(a, b) for a, b in zip(outputs, others))


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    wide = torch.complex128 if a.is_complex() else torch.float64
    a, b = a.to(wide), b.to(wide)
    sizes = b.abs()[torch.isfinite(b.abs()) & (b != 0)]
    usual = float(sizes.quantile(0.25)) if sizes.numel() else 0.0
    return torch.allclose(a, b, rtol=_NOTICEABLE, atol=_NOTICEABLE * max(min(usual, 1.0), 1e-2), equal_nan=True)
