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
from pytest_nobuco.converters.bases import Base, Pattern, base_of, bases_of, pattern_of
from pytest_nobuco.converters.calls import tensors_of
from pytest_nobuco.converters.domains import GIVEN, IDLE, OF_MODULES, UNCHANGING, Choice, Together, choices_for
from pytest_nobuco.converters.signatures import REQUIRED, Parameter, Signature, bound, changed, parameters_of

# How many samples are made at most, and of how many others values are taken.
_MOST, _LOOKED_AT, _LAST = 8, 64, 4
# How much of itself an element changes by before a change counts: more than any bound hides.
_NOTICEABLE = 2e-3
_NO_VALUE = "no value that was tried changes the output"
_NOT_ASKED = "with any other value that was tried another converter serves it"

Accepts = Callable[[Sample], bool]


@dataclass(frozen=True)
class Varied:
    """Samples in which parameters differ from those of others.

    defaults: of PyTorch's, with one parameter at its default, where that gives another output.
    matter: the parameters whose other value gives another output, and is among the samples.
    reasons: why the others are not.
    """

    samples: tuple[Sample, ...] = ()
    defaults: tuple[Sample, ...] = ()
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


Fitting = tuple[_Wish, Mapping[str, Any]]


@dataclass(frozen=True)
class Trials:
    """What PyTorch is asked about one operation."""

    operation: Operation
    signatures: Sequence[Signature]
    seed: int

    def given(self, sample: Sample) -> Mapping[str, Any]:
        """A sample's arguments by name."""
        return bound(sample, self.signatures) or {}

    def stepped(self, base: Base, changes: Mapping[str, Any]) -> Base | None:
        """The sample with these changes, if PyTorch takes them and gives something else."""
        found = self.changed(base.sample, changes)
        return found if found is not None and differ(found.outputs, base.outputs) else None

    def changed(self, sample: Sample, changes: Mapping[str, Any]) -> Base | None:
        """The sample with these changes, if PyTorch takes them."""
        try:
            made = changed(sample, self.signatures, changes)
        except Exception:  # a module's constructor raises what it likes
            return None
        return base_of(self.operation, made, self.seed)

    def lasts(self, step: Base, base: Base, parameter: Parameter) -> bool:
        """Whether a parameter makes a difference beside all others: with what it was before PyTorch gives another."""
        before = self.given(base.sample).get(parameter.name, parameter.default)
        if parameter.name in UNCHANGING or before is REQUIRED:
            return True
        without = self.changed(step.sample, {parameter.name: before})
        return without is None or differ(without.outputs, step.outputs)

    def fitting(self, base: Base, wishes: Sequence[_Wish]) -> Iterator[Fitting]:
        """The wishes that a sample can fulfil, each alone, and what is changed for it."""
        for wish in wishes:
            for value in wish.choice:
                changes = dict(value.values) if isinstance(value, Together) else {wish.parameter.name: value}
                step = self.stepped(base, changes)
                if step is not None and (len(changes) == 1 or self.lasts(step, base, wish.parameter)):
                    yield wish, changes
                    break

    def without(self, base: Base, fitting: Sequence[Fitting]) -> Iterator[Sample]:
        """What differs from a sample that fulfils a wish in the parameter alone, which has its default there."""
        if any(len(changes) == 1 for _, changes in fitting):
            yield base.sample
        for wish, changes in fitting:
            rest = {name: value for name, value in changes.items() if name != wish.parameter.name}
            found = self.changed(base.sample, rest) if rest else None
            if found is not None:
                yield found.sample

    def packed(
        self, base: Base, fitting: Sequence[Fitting], granted: Sequence[Fitting] = ()
    ) -> tuple[Sample, list[_Wish]]:
        """As many wishes in one sample as go together, the first at least; and which these are.

        Beside them those that another sample has granted, as far as they hide nothing: some faults want two at once.
        """
        step, taken, fulfilled = base, set[str](), list[_Wish]()
        for wish, changes in fitting:
            more = None if taken & set(changes) else self.stepped(step, changes)
            if more is not None:
                step, taken = more, taken | set(changes)
                fulfilled.append(wish)
        if not fulfilled:  # PyTorch gave something else the second time
            return base.sample, [fitting[0][0]]
        first, *others = fulfilled
        lasting = [first, *(wish for wish in others if self.lasts(step, base, wish.parameter))]
        for _, changes in granted:
            more = None if taken & set(changes) else self.stepped(step, changes)
            if more is not None and all(self.lasts(more, base, wish.parameter) for wish in lasting):
                step, taken = more, taken | set(changes)
        return step.sample, lasting

    def with_value(self, parameter: Parameter, samples: Sequence[Sample]) -> Sample | None:
        """A sample in which a parameter has a value that matters: with its default the output is another.

        Or else one that PyTorch needs for the rest.
        """
        needing = None
        for sample in samples if parameter.default is not REQUIRED else ():
            value = self.given(sample).get(parameter.name)
            if value is None or (not isinstance(value, torch.Tensor) and value == parameter.default):
                continue
            base = base_of(self.operation, sample, self.seed)
            without = self.changed(sample, {parameter.name: parameter.default})
            if base is not None and without is not None and differ(without.outputs, base.outputs):
                return sample
            needing = needing or (sample if base is not None and without is None else None)
        return needing


def varied(
    operation: Operation,
    samples: Sequence[Sample],
    signatures: Sequence[Signature],
    accepts: Accepts = lambda sample: True,
    seed: int = 0,
) -> Varied:
    """Vary all parameters of an operation, beginning with samples that PyTorch takes.

    `accepts` says whether a sample comes to the converter: some arguments lead to another one.
    """
    idle = {**IDLE, **OF_MODULES} if isinstance(operation, type) else IDLE
    every = parameters_of(signatures)
    parameters = [p for p in every if p.name not in idle]
    reasons = {p.name: idle[p.name] for p in every if p.name in idle}
    trials = Trials(operation, signatures, seed)
    bases = list(bases_of(operation, samples, signatures, seed))
    if not bases:
        return Varied(reasons={**reasons, **{p.name: "no sample has its arguments by name" for p in parameters}})
    some = [*samples[:: max(1, len(samples) // _LOOKED_AT)], *samples[-_LAST:]]  # our own stand behind PyTorch's
    found, matter, refused = _made(trials, bases, list(_wishes(trials, parameters, bases[0], some)), accepts)
    matter |= {p.name for p in parameters if _is_data(trials.given(bases[0].sample).get(p.name))}
    defaults = list[Sample]()
    for p in parameters:
        sample = trials.with_value(p, some)
        if sample is None:
            continue
        if p.name not in matter:
            found.append(sample)
            matter.add(p.name)
        without = trials.changed(sample, {p.name: p.default})  # all of PyTorch's samples may have the other value
        if without is not None and accepts(without.sample):
            defaults.append(without.sample)
    for p in parameters:
        if p.name not in matter:
            reasons[p.name] = _NOT_ASKED if p.name in refused else _NO_VALUE
    return Varied(tuple(found), tuple(defaults[:_LAST]), tuple(p.name for p in parameters if p.name in matter), reasons)


def _made(
    trials: Trials, bases: Sequence[Base], wishes: Sequence[_Wish], accepts: Accepts
) -> tuple[list[Sample], set[str], set[str]]:
    """The samples, the parameters that they vary, and those with which the converter is not asked."""
    found, matter, refused = list[Sample](), set[str](), set[str]()
    without = list[Sample]()
    every, patterns = wishes, set[Pattern]()
    for base in bases:
        fitting, granted = list(trials.fitting(base, wishes)), list[Fitting]()
        earlier = [wish for wish in every if wish not in wishes]
        without += trials.without(base, fitting)
        while fitting and len(found) < _MOST:
            sample, fulfilled = trials.packed(base, fitting, granted)
            if (granted or len(fulfilled) > 1) and not accepts(sample):
                sample, fulfilled = trials.packed(base, fitting[:1])
            names = {wish.parameter.name for wish in fulfilled}
            if accepts(sample):
                found.append(sample)
                matter |= names
            else:
                refused |= names
            granted += [(wish, changes) for wish, changes in fitting if wish in fulfilled]
            fitting = [(wish, changes) for wish, changes in fitting if wish not in fulfilled]
            wishes = [wish for wish in wishes if wish not in fulfilled]
        # What another base has granted, once more: it may be wrong beside the arguments of this one alone.
        pattern = pattern_of(base.sample)
        again = list(trials.fitting(base, earlier))[::-1] if pattern not in patterns else []
        found += [sample for sample in [trials.packed(base, again)[0]] if accepts(sample)] if again else []
        patterns.add(pattern)
    return [*found, *filter(accepts, without[:_MOST])], matter, refused


def _wishes(trials: Trials, parameters: Sequence[Parameter], base: Base, samples: Sequence[Sample]) -> Iterator[_Wish]:
    """What the table says of each parameter, or else the values that other samples give it; first choices first."""
    own, others = trials.given(base.sample), [trials.given(sample) for sample in samples]
    found: list[tuple[int, _Wish]] = []
    for p in parameters:
        current = own.get(p.name, p.default)
        if isinstance(current, torch.Tensor) or p.name in GIVEN:
            continue
        seen = [given[p.name] for given in others if p.name in given and not _is_data(given[p.name])]
        choices = choices_for(p.name, p.default, current) or (tuple(value for value in seen[:6] if value != current),)
        found += [(number, _Wish(p, choice)) for number, choice in enumerate(choices) if choice]
    yield from (wish for _, wish in sorted(found, key=lambda numbered: numbered[0]))


def _is_data(value: Any) -> bool:
    """Whether there are tensors in an argument: their values differ between samples."""
    return bool(tensors_of(value if isinstance(value, (list, tuple, dict)) else (value,)))


def differ(outputs: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
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
