"""The gate: which bound holds for an item and who set it, and what a failure says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pytest_nobuco.errors import SuiteError
from pytest_nobuco.matrix import QUANTISED
from pytest_nobuco.options import Options


class Difference(Protocol):
    """How far one output is from PyTorch's; `nobuco.parity.Difference` is the real one."""

    @property
    def matches(self) -> bool:
        """Whether it is within the bound, with the right shape, dtype and special values."""

    @property
    def is_broken(self) -> bool:
        """Whether it differs in shape, dtype, NaN or infinities, which no figure tells."""

    @property
    def max_abs(self) -> float:
        """The largest absolute difference."""

    @property
    def relative_to_peak(self) -> float:
        """The same as a fraction of the largest element."""

    def describe(self) -> str:
        """What is wrong, or how well it matches."""


def snr_of(difference: Difference) -> tuple[float, float] | None:
    """The signal-to-noise ratio in dB and the cosine, where a runtime quantises."""
    found = getattr(difference, "snr", None), getattr(difference, "cosine", None)
    return None if found[0] is None or found[1] is None or difference.is_broken else (found[0], found[1])


@dataclass(frozen=True)
class Bound:
    """The largest difference allowed, `max_abs + max_rel * peak`; with neither set, the default of an output's dtype.

    Of a runtime that quantises, it is the least signal-to-noise ratio, in decibels, and that alone; a comparator of
    the user's own stands in place of both. `noise` is how far rounding alone takes PyTorch from itself, which a default
    bound allows for; None where it is not known. `dtype` is what the numbers were computed in; empty: their own.
    """

    max_abs: float | None
    max_rel: float | None
    source: str
    ceiling: float | None = None
    min_snr: float | None = None
    comparator: Callable[[Any, Any], Any] | None = None
    noise: float | None = 0.0
    dtype: str = ""

    def __str__(self) -> str:
        if self.comparator is not None:
            return self.source
        if self.min_snr is not None:
            return f"min SNR {self.min_snr:g} dB, {self.source}"
        figures = [("abs", self.max_abs), ("rel", self.max_rel)]
        told = " + ".join(f"max {kind} diff {figure:g}" for kind, figure in figures if figure is not None)
        return f"{told}, {self.source}" if told else self.source

    @property
    def is_default(self) -> bool:
        """Whether no bound was set."""
        return self.max_abs is None and self.max_rel is None

    def admits(self, difference: Difference) -> bool:
        """Whether the difference is within the bound and under the ceiling."""
        return difference.matches and not self.exceeded_by(difference)

    def exceeded_by(self, difference: Difference) -> bool:
        """Whether the difference is above the ceiling, whatever the bound says; one without a figure is above any."""
        return self.ceiling is not None and (difference.is_broken or difference.max_abs > self.ceiling)


_BOUNDS = ("max_abs_diff", "max_rel_diff", "min_snr")
OF_OUTPUT = (*_BOUNDS, "comparator")


@dataclass(frozen=True)
class Failure:
    """Everything that the text of a failing item tells."""

    title: str
    model: str
    orders: str
    sizes: str | None
    outputs: tuple[str, ...]
    culprit: str | None
    command: str


def bound_for(
    markers: Iterable[Mapping[str, Any]], options: Options, runtime: str = "", output: tuple[str, int] = ("", 0)
) -> Bound:
    """Nearest marker, then command line, then ini, then the default of the dtype; each bound on its own.

    `markers` are the keyword arguments of the `convert` markers, nearest first; what one says of an output, by its name
    or number, goes before what it says of all. A runtime that quantises has another kind of bound, whose default is its
    own.
    """
    found: dict[str, tuple[Any, str]] = {}
    for source, given in _layers(markers, options, output):
        for key in OF_OUTPUT:
            if given.get(key) is not None:
                found.setdefault(key, (given[key], f"{key} of {source}"))
    if "comparator" in found:
        compares, source = found["comparator"]
        return Bound(None, None, source, options.max_abs_limit, comparator=compares)
    min_snr = found.pop("min_snr", None)
    if runtime in QUANTISED:
        least, source = min_snr or (QUANTISED[runtime], f"default of {runtime}")
        return Bound(None, None, source, options.max_abs_limit, least)
    max_abs, max_rel = found.get("max_abs_diff"), found.get("max_rel_diff")
    return Bound(
        max_abs=max_abs and max_abs[0],
        max_rel=max_rel and max_rel[0],
        source=" and ".join(source for _, source in found.values()) or "default of the dtype",
        ceiling=options.max_abs_limit,
    )


def _layers(
    markers: Iterable[Mapping[str, Any]], options: Options, output: tuple[str, int]
) -> list[tuple[str, Mapping[str, Any]]]:
    """What bounds an output, each with who says so, nearest first."""
    layers: list[tuple[str, Mapping[str, Any]]] = []
    for given in markers:
        of_outputs = given.get("outputs") or {}
        for key in output:
            if key in of_outputs:
                layers.append((f"the marker for output {key}", of_outputs[key]))
        layers.append(("the marker", given))
    return [
        *layers,
        ("the command line", {key: getattr(options, key) for key in _BOUNDS}),
        ("the ini file", {key: getattr(options, f"ini_{key}") for key in _BOUNDS}),
    ]


def check_outputs(markers: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuse bounds of an output that the model does not have; `SuiteError` names those that it has."""
    for given in markers:
        unknown = [key for key in given.get("outputs") or {} if key not in names and key not in range(len(names))]
        if unknown:
            raise SuiteError(f"outputs={{{unknown[0]!r}: ...}}: the model's outputs are {', '.join(names)}")


def describe_output(name: int | str, difference: Difference, bound: Bound) -> str:
    """One line about one output."""
    text = f"output {name}: {difference.describe()}"
    if bound.exceeded_by(difference):
        text += f" {_figure(difference)} is above --nobuco-max-abs-limit {bound.ceiling:.1e}."
    return text


def _figure(difference: Difference) -> str:
    return "What has no figure" if difference.is_broken else f"{difference.max_abs:.1e}"


def render_failure(failure: Failure) -> str:
    """The text of a failing item."""
    lines = [failure.title, f"  model: {failure.model}", f"  channel order: {failure.orders}"]
    if failure.sizes:
        lines.append(f"  sizes: {failure.sizes}")
    lines += [f"  {output}" for output in failure.outputs]
    if failure.culprit:
        lines.append(f"  culprit: {failure.culprit}")
    lines.append(f"  reproduce: {failure.command}")
    return "\n".join(lines)
