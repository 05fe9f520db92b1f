"""The outputs of a converted model judged one by one: each by its own bound, with what PyTorch tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nobuco.subject.mistakes import in_a_line
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.gate import Bound, Difference, describe_output

if TYPE_CHECKING:
    from pytest_nobuco.models.backend import Backend, Subject


@dataclass(frozen=True)
class Judged:
    """One output: its name, how far it is from PyTorch's, and the bound that it was held to."""

    name: str
    difference: Difference
    bound: Bound

    @property
    def fits(self) -> bool:
        """Whether it is within the bound and under the ceiling."""
        return self.bound.admits(self.difference)

    @property
    def text(self) -> str:
        """A line about it."""
        return describe_output(self.name, self.difference, self.bound)


@dataclass(frozen=True)
class Ruled:
    """A difference whose verdict another rule gave than a bound on each element; `told` is that verdict in words."""

    difference: Difference
    matches: bool
    told: str

    @property
    def is_broken(self) -> bool:
        """Whether it differs in kind, and the rule did not take it for right."""
        return self.difference.is_broken and not self.matches

    @property
    def max_abs(self) -> float:
        """The largest absolute difference."""
        return self.difference.max_abs

    @property
    def relative_to_peak(self) -> float:
        """The same as a fraction of the largest element."""
        return self.difference.relative_to_peak

    def describe(self) -> str:
        """The verdict."""
        return self.told


def names_of(subject: Subject) -> tuple[str, ...]:
    """What the outputs are called; their numbers where they have no name."""
    named = subject.witness.names if subject.witness is not None else ()
    return tuple(named) if len(named) == len(subject.expected) else tuple(map(str, range(len(subject.expected))))


def judged(
    backend: Backend,
    subject: Subject,
    got: Sequence[Any],
    bound_of: Callable[[str, int], Bound],
    imprecise: Callable[[], Mapping[str, str]],
) -> Iterator[Judged]:
    """Each output's verdict; what PyTorch tells is asked for only where an output leaves its bound without it.

    `imprecise` gives the operations whose calls are off by themselves.
    """
    for i, (name, ours, theirs) in enumerate(zip(names_of(subject), got, subject.expected)):
        bound = bound_of(name, i) if subject.witness is not None else replace(bound_of(name, i), noise=None)
        one = Judged(name, _compared(backend, ours, theirs, bound), bound)
        yield one if one.fits else _reconsidered(backend, subject, i, ours, one, imprecise)


def _compared(backend: Backend, ours: Any, theirs: Any, bound: Bound) -> Difference:
    if bound.comparator is None:
        return backend.compare(ours, theirs, bound)
    measured = backend.compare(ours, theirs, replace(bound, max_abs=float("inf")))
    problem = _problem_by(bound.comparator, ours, theirs)
    return Ruled(measured, problem is None, f"Matches by the {bound.source}." if problem is None else problem)


def _problem_by(comparator: Callable[[Any, Any], Any], ours: Any, theirs: Any) -> str | None:
    """What a comparator of the user's finds: it raises AssertionError or gives False where the two differ."""
    try:
        found = comparator(ours, theirs)
    except AssertionError as error:
        return "The comparator says: " + (str(error).strip() or "they differ").replace("\n", "\n    ")
    except Exception as error:
        raise SuiteError(f"the comparator raised {in_a_line(error)}") from error
    if found is None or isinstance(found, bool) or type(found).__name__ in ("bool_", "bool"):
        return None if found is None or found else "The comparator says that they differ."
    raise SuiteError(f"the comparator gives {found!r}; it takes (got, expected) and gives True or False, or asserts")


def _reconsidered(
    backend: Backend, subject: Subject, i: int, ours: Any, one: Judged, imprecise: Callable[[], Mapping[str, str]]
) -> Judged:
    """An output that left its bound, with what PyTorch has to say of it."""
    witness, bound = subject.witness, one.bound
    if witness is None or bound.comparator is not None or bound.min_snr is not None or one.difference.is_broken:
        return one
    pointed = witness.pointed.get(i)
    if pointed is not None:
        wrong = any(name.rpartition(".")[2] == pointed.operation for name in imprecise())
        values = None if wrong and pointed.is_first else pointed.at(ours)
        if values is None:
            return one
        by_value = backend.compare(values, pointed.at(subject.expected[i]), bound)
        told = f"Indices differ, {pointed.operation}'s values there do not. {by_value.describe()}"
        return replace(one, difference=Ruled(by_value, True, told)) if by_value.matches else one
    if not bound.is_default:
        return one
    noisy = replace(bound, noise=witness.noise[i])
    return Judged(one.name, backend.compare(ours, subject.expected[i], noisy), noisy)
