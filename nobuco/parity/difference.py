"""What 'matches' means: a tolerance, the difference of two tensors, and what is wrong with it in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Index = tuple[int, ...]
Scalar = bool | int | float | complex

_DEFAULT_MAX_ABS = {
    "float64": 1e-8,
    "complex128": 1e-8,
    "float32": 1e-4,
    "complex64": 1e-4,
    "float16": 1e-2,
    "complex32": 1e-2,
    "bfloat16": 5e-2,
    "float8": 0.5,
}

# Between 1 and the next number.
_EPS = {
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float16": 2.0**-10,
    "complex32": 2.0**-10,
    "bfloat16": 2.0**-7,
}


@dataclass(frozen=True)
class Tolerance:
    """How large a difference may be, and who said so.

    |got - expected| may be `max_abs + max_rel * peak`, where the peak is the largest finite |expected|. With `scaled`,
    `max_abs` is meant for numbers of order one: it grows with an element beyond that, and with a tensor that is mostly
    beyond, and shrinks with a tensor that stays below, down to the size `smallest`. Integers and booleans are compared
    exactly, always.
    """

    max_abs: float
    max_rel: float | None
    source: str
    scaled: bool = False
    # Below it lies what is left where larger numbers cancelled out, and that is rounding noise in both frameworks.
    smallest: float = 1e-2

    def __post_init__(self) -> None:
        for name, bound in (("max_abs", self.max_abs), ("max_rel", self.max_rel)):
            if bound is not None and not bound >= 0:
                raise ValueError(f"{name} is {bound} ({self.source}); a tolerance is a number from 0 up")

    def __str__(self) -> str:
        absolute = f"max abs {self.max_abs:.1e}" + (" scaled" if self.scaled else "")
        relative = "" if self.max_rel is None else f"max rel {self.max_rel:.1e}"
        return (
            f"{' + '.join(filter(None, (absolute if self.max_abs or not relative else '', relative)))} ({self.source})"
        )

    def in_figures(self, peak: float, scale: float) -> str:
        """The bound of an element, as it is made up for an element of this scale in a tensor with this peak."""
        absolute = f"max abs {self.max_abs:.1e}" + (f" · scale {scale:.1e}" if self.scaled else "")
        if self.max_rel is None:
            return f"{absolute} ({self.source})"
        relative = f"max rel {self.max_rel:.1e} · peak {peak:.6g}"
        return f"{absolute} + {relative} ({self.source})" if self.max_abs else f"{relative} ({self.source})"


@dataclass(frozen=True)
class Tried:
    """How a finished model fared with other arguments than the example's.

    `about` says which, `difference` is the gravest of its outputs', `error` what TensorFlow raised in place of them.
    """

    about: str
    difference: Difference | None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every output matches."""
        return self.error is None and (self.difference is None or self.difference.matches)

    def describe(self) -> str:
        """What came of it, in words."""
        return self.error or ("no output" if self.difference is None else self.difference.describe())


def default_tolerance(dtype_name: str) -> Tolerance:
    """The bound of a dtype where no other is set: room for another order of summation, no more."""
    source = f"default of {dtype_name}"
    kind = "float8" if dtype_name.startswith("float8_") else dtype_name
    if kind in _DEFAULT_MAX_ABS:
        return Tolerance(_DEFAULT_MAX_ABS[kind], None, source, scaled=True)
    if dtype_name.startswith(("bool", "int", "uint")):
        return Tolerance(0.0, None, source)
    known = ", ".join((*_DEFAULT_MAX_ABS, "integers", "bool"))
    raise ValueError(f"no default tolerance for dtype {dtype_name!r}; there is one for {known}")


def tolerances(max_abs: float | None, source: str) -> Callable[[str], Tolerance]:
    """The bound for each dtype: the largest absolute difference that `source` gave, or for None the dtype's default."""
    return default_tolerance if max_abs is None else lambda dtype_name: Tolerance(max_abs, None, source)


@dataclass(frozen=True)
class Places:
    """Where a special value (NaN, or infinity) stands in both tensors, and where only one has it."""

    got: int = 0
    expected: int = 0
    differing: int = 0
    first: Index | None = None
    got_there: Scalar | None = None
    expected_there: Scalar | None = None

    def describe(self, what: str) -> str:
        """One sentence about places that disagree."""
        return (
            f"{what} in {_count(self.got, 'element')} where {self.expected} expected, "
            f"{self.differing} in the wrong place, first at {self.first}: "
            f"expected {_number(self.expected_there)}, got {_number(self.got_there)}."
        )


@dataclass(frozen=True)
class Difference:
    """What `compare` measured. Figures are taken over the elements that are finite in both tensors.

    `relative_to_peak` is `max_abs` divided by `peak`, the largest finite |expected|; `max_rel` is the largest
    |got - expected| / |expected| of a single element. Both are infinite where something stands in place of
    zeros; all three are where the shapes differ, since nothing can be compared. `worst_index` is the element
    that comes nearest to, or goes furthest beyond, what the tolerance allows it; `bound` is what that is
    there, and `outside` counts the elements that go beyond.
    """

    tolerance: Tolerance
    got_shape: tuple[int, ...]
    expected_shape: tuple[int, ...]
    got_dtype: str
    expected_dtype: str
    max_abs: float = 0.0
    relative_to_peak: float = 0.0
    max_rel: float = 0.0
    peak: float = 0.0
    worst_index: Index | None = None
    got: Scalar | None = None
    expected: Scalar | None = None
    bound: float = 0.0
    outside: int = 0
    nan: Places = Places()
    inf: Places = Places()
    scale: float = 1.0
    """What a scaled tolerance took for the size of the worst element."""

    @property
    def matches(self) -> bool:
        """Whether shape, dtype, NaN, infinities and values all agree."""
        return not self.is_broken and self.outside == 0

    @property
    def is_broken(self) -> bool:
        """Whether it differs in kind and not in degree: in shape, dtype, NaN or infinities."""
        return (
            self.got_shape != self.expected_shape
            or self.got_dtype != self.expected_dtype
            or self.nan.differing > 0
            or self.inf.differing > 0
        )

    @property
    def severity(self) -> float:
        """A number to order differences by: the relative error, infinite where it is broken."""
        if self.is_broken:
            return math.inf
        return self.max_abs if self.peak == 0 else self.relative_to_peak

    @property
    def eps(self) -> float:
        """How far apart the numbers of the dtype are at 1; 0 of integers."""
        return _EPS.get(self.expected_dtype, 0.0)

    @property
    def resolution(self) -> float:
        """How far apart the numbers of the dtype are at the peak; 0 of integers."""
        return math.ldexp(self.eps, math.frexp(self.peak)[1] - 1) if self.peak else 0.0

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each kind of mismatch; none where all matches."""
        sentences = []
        if self.got_shape != self.expected_shape:
            sentences.append(_shape_problem(self.got_shape, self.expected_shape))
        if self.got_dtype != self.expected_dtype:
            sentences.append(f"Dtype is {self.got_dtype}, expected {self.expected_dtype}.")
        if self.nan.differing:
            sentences.append(self.nan.describe("NaN"))
        if self.inf.differing:
            sentences.append(self.inf.describe("Infinity"))
        if self.outside:
            sentences.append(self._value_problem())
        return tuple(sentences)

    def describe(self) -> str:
        """The problems as text, or a sentence saying how well it matches."""
        if not self.matches:
            return " ".join(self.problems)
        if self.max_abs == 0:
            return "Matches exactly."
        of_peak = "" if self.peak == 0 else f", {self.relative_to_peak:.1e} of the peak {_number(self.peak)}"
        return f"Matches: max abs difference {self.max_abs:.1e}{of_peak}; allowed {self.tolerance}."

    def _value_problem(self) -> str:
        total = _count(math.prod(self.expected_shape), "element")
        where = f" at {self.worst_index}" if self.worst_index else ""
        expected, got = _apart(self.expected, self.got)
        text = f"Values differ in {self.outside} of {total}, worst{where}: expected {expected}, got {got}"
        if is_exact(self.got_dtype) and is_exact(self.expected_dtype):
            return f"{text}; {'booleans' if self.expected_dtype == 'bool' else 'integers'} must be equal."
        off = abs(complex(self.got or 0) - complex(self.expected or 0))
        of_peak = "" if self.peak == 0 else f" ({_share(off / self.peak)} of the peak {_number(self.peak)})"
        allowed = f"allowed {self.bound:.1e}: {self.tolerance.in_figures(self.peak, self.scale)}."
        return f"{text}, off by {off:.1e}{of_peak}; {allowed}{self._hint_at_resolution()}"

    def _hint_at_resolution(self) -> str:
        if self.tolerance.scaled or self.bound >= self.resolution:
            return ""
        apart = f"numbers near {_number(self.peak)} are {self.resolution:.1e} apart"
        return f" The bound is below {self.expected_dtype}'s resolution here: {apart}."


def worst(differences: Iterable[Difference]) -> Difference | None:
    """The gravest of several differences, the first of equals; None of none."""
    return max(differences, key=lambda d: (not d.matches, d.severity), default=None)


def is_exact(dtype_name: str) -> bool:
    """Whether numbers of the dtype are not rounded, so that they match only when equal."""
    return dtype_name.startswith(("bool", "int", "uint"))


def _shape_problem(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    hint = ""
    if len(got) >= 3 and sorted(got) == sorted(expected):
        hint = " (the same sizes in another order: is the channel order right?)"
    return f"Shape is {got}, expected {expected}{hint}."


def _number(value: Scalar | None) -> str:
    return str(value) if value is None or isinstance(value, int) else f"{value:.6g}"


def _apart(one: Scalar | None, other: Scalar | None) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    texts = _number(one), _number(other)
    for digits in (9, 12, 17):
        if texts[0] != texts[1] or isinstance(one, int) or one is None or other is None:
            break
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
    return texts


def _share(part: float) -> str:
    return f"{part:.1%}" if part >= 1e-3 else f"{part:.1e}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
