"""What an item finds of a converted model: its outputs, what is wrong with them, who is to blame, what else to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_nobuco.gate import Bound, bound_for, check_outputs
from pytest_nobuco.models.judging import Judged, judged, names_of

if TYPE_CHECKING:
    from pytest_nobuco.models.backend import Subject
    from pytest_nobuco.models.suite import Trial


@dataclass(frozen=True)
class Attempt:
    """A run on the inputs of a subject.

    `got` is how many outputs there were, `bound` what holds for any; `where` says what the inputs are, unless that is
    their sizes; `raised` is how it ended where it gave nothing.
    """

    subject: Subject
    outputs: tuple[Judged, ...]
    got: int
    bound: Bound
    where: str = ""
    raised: str | None = None

    @property
    def wrong(self) -> Iterator[tuple[str, Bound]]:
        """What is wrong, each with the bound that it leaves."""
        if self.raised is not None:
            yield self.raised, self.bound
        elif self.got != len(self.subject.expected):
            yield f"{self.got} outputs, PyTorch gives {len(self.subject.expected)}", self.bound
        yield from ((one.text, one.bound) for one in self.outputs if not one.fits)


@dataclass(frozen=True)
class Result:
    """What there is to say of an item beside its figures; with problems it fails.

    `randomness` is what PyTorch itself does differently from run to run, where something is wrong.
    """

    title: str
    problems: tuple[str, ...]
    culprit: str | None = None
    warnings: tuple[str, ...] = ()
    randomness: str | None = None


def tried(trial: Trial, converted: Any, subject: Subject) -> Attempt:
    """Run a converted model, and judge its outputs."""
    backend, settings = trial.bench.backend, trial.settings
    check_outputs(settings.markers, names_of(subject))
    trial.bench.tell(f"running it in {trial.case.runtime}")
    got = backend.run(converted, subject, trial.case.runtime)

    dtypes = dict(enumerate(backend.computed_in(converted)))

    def bound_of(name: str, number: int) -> Bound:
        bound = bound_for(settings.markers, trial.bench.options, trial.case.runtime, (name, number))
        return replace(bound, dtype=dtypes.get(number, ""))

    outputs = judged(backend, subject, got, bound_of, lambda: backend.imprecise(converted))
    return Attempt(subject, tuple(outputs), len(got), bound_of("", 0))


def raising(trial: Trial, subject: Subject, how: str) -> Attempt:
    """A run that has given nothing."""
    bound = bound_for(trial.settings.markers, trial.bench.options, trial.case.runtime, ("", 0))
    return Attempt(subject, (), 0, bound, raised=how)


def result_of(trial: Trial, converted: Any, attempts: Sequence[Attempt]) -> Result:
    """The verdict of an item: its outputs first, then an earlier session's, then its calls one by one."""
    backend, runtime = trial.bench.backend, trial.case.runtime
    imprecise = tuple(f"imprecise: {call}" for call in backend.imprecise(converted).values())
    held_to_calls = imprecise if trial.bench.options.strict_nodes else ()
    wrong = next(((attempt, bound) for attempt in attempts for _, bound in attempt.wrong), None)
    if wrong is not None:
        attempt, bound = wrong
        problems = (*_problems(attempts), *held_to_calls)
        culprit = None if attempt.raised else backend.culprit(converted, attempt.subject, bound, runtime)
        title = f"{runtime} differs from PyTorch"
        return Result(title, problems, culprit, _emptiness(attempts), _randomness(attempts))
    outputs = [one for attempt in attempts for one in attempt.outputs]
    grown = trial.bench.baseline.grown(trial.item.nodeid, outputs)
    if grown:
        title = f"{runtime} differs more from PyTorch than it did"
        return Result(title, (*grown, *held_to_calls), None, _emptiness(attempts))
    if held_to_calls:
        return Result("calls are imprecise, as --nobuco-strict-nodes forbids", held_to_calls)
    return Result("", (), None, (*_emptiness(attempts), *imprecise))


def sizes_of(subject: Subject) -> str:
    """The sizes of its inputs, in words."""
    return " and ".join("×".join(map(str, shape)) or "()" for shape in subject.shapes)


def _problems(attempts: Sequence[Attempt]) -> Iterator[str]:
    several = sum(not attempt.where for attempt in attempts) > 1
    for attempt in attempts:
        where = attempt.where or (f"at inputs {sizes_of(attempt.subject)}, " if several else "")
        yield from (f"{where}{text}" for text, _ in attempt.wrong)


def _emptiness(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Why nothing that the model does wrong would show."""
    witness = attempts[0].subject.witness
    return (witness.emptiness,) if witness is not None and witness.emptiness is not None else ()


def _randomness(attempts: Sequence[Attempt]) -> str | None:
    witnesses = [attempt.subject.witness for attempt in attempts]
    told = next((found for w in witnesses if w is not None and (found := w.randomness) is not None), None)
    return told and (
        f"the model itself is random: two runs in PyTorch on the same inputs differ, {told}, which says nothing of the "
        "conversion; call .eval(), fix what it draws, or give comparator=... in the convert marker"
    )
