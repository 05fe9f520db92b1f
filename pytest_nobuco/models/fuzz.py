"""`--nobuco-fuzz N`: the converted model on inputs that Hypothesis draws, and of those that fail the smallest.

The conversion is made once. An input is drawn as an `InputSpec`, so it is small to shrink, and prints as the words of a
command line that draw it again (`--nobuco-try`).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from nobuco.subject.inputs import DTYPES, FLOATS, InputSpec
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.models.dynamic import FreeAxes, Shape, axis_key

Problems = list[str]
# How far from the example's largest value floats are drawn, and how long a dynamic axis may get.
_STRETCH, _LONGEST = 4.0, 64


@dataclass(frozen=True)
class Domain:
    """What one input may be: its sizes, and the range of its values in the example."""

    shape: Shape
    free: tuple[int, ...]
    dtype: str
    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """The smallest input that fails, and how."""

    inputs: tuple[InputSpec, ...]
    problems: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The words of a command line that try it again."""
        return [word for spec in self.inputs for word in ("--nobuco-try", str(spec))]


def check_hypothesis() -> None:
    """Refuse `--nobuco-fuzz` where Hypothesis is not installed."""
    if importlib.util.find_spec("hypothesis") is None:
        raise pytest.UsageError("--nobuco-fuzz draws inputs with Hypothesis: pip install 'nobuco[fuzz]'")


def smallest_failure(
    domains: Sequence[Domain], problems_of: Callable[[tuple[InputSpec, ...]], Problems], count: int, seed: int
) -> Found | None:
    """Try so many inputs; `problems_of` raises `SuiteError` for one that PyTorch itself does not take."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, strategies

    found: list[Found] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, print_blob=False, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @hypothesis.given(strategies.data())
    def try_one(data: Any) -> None:
        specs = _drawn(data.draw, strategies, domains)
        try:
            problems = problems_of(specs)
        except SuiteError:
            hypothesis.reject()
        if problems:
            found.append(Found(specs, tuple(problems)))
            raise _FailsError

    try:
        try_one()
    except _FailsError:
        return found[-1]  # Hypothesis runs the smallest last
    except hypothesis.errors.Flaky:
        return found[-1] if found else None  # it does not fail each time, which is a failure as well
    except hypothesis.errors.Unsatisfiable:
        return None  # PyTorch took none of them
    return None


class _FailsError(Exception):
    pass


def _drawn(draw: Callable[[Any], Any], strategies: Any, domains: Sequence[Domain]) -> tuple[InputSpec, ...]:
    """Inputs with sizes of their own, equal where those of the example are, and values of their own."""
    sizes: dict[tuple[int, int], int] = {}
    specs = []
    for domain in domains:
        shape = list(domain.shape)
        for axis in domain.free:
            key = axis_key(domain.shape, axis)
            if key not in sizes:
                longest = max(2 * domain.shape[axis], min(domain.shape[axis] + 8, _LONGEST))
                sizes[key] = draw(strategies.integers(1, longest))
            shape[axis] = sizes[key]
        specs.append(InputSpec(tuple(shape), domain.dtype, values=draw(_values(strategies, domain))))
    return tuple(specs)


def _values(strategies: Any, domain: Domain) -> Any:
    """Some values one after another, or many at random."""
    if domain.dtype in FLOATS:
        largest = max(abs(domain.low), abs(domain.high), 1.0)
        width = 16 if domain.dtype == "float16" else 32
        # A power of two, which every dtype has exactly.
        stretch = int(2 ** min(math.log2(_STRETCH * largest) // 1, width - 1)) if math.isfinite(largest) else 4
        low, high = (0 if domain.low >= 0 else -stretch), (0 if domain.high <= 0 else stretch)
        value = strategies.floats(low, high, width=width, allow_subnormal=False) | strategies.integers(low, high)
        scale = strategies.sampled_from([1.0, high / 4 or 1.0, 1e-3]) if low < 0 < high else strategies.nothing()
        spread = strategies.builds(lambda seed, by: f"random:{seed}:{by:g}", strategies.integers(0, 999), scale)
    else:
        value = strategies.integers(int(domain.low), int(domain.high))
        spread = strategies.nothing()
    listed = strategies.lists(value, min_size=1, max_size=8).map(lambda found: ",".join(map(_text, found)))
    return listed | spread


def _text(value: float) -> str:
    return f"{value:.9g}"


def domains_of(tensors: Sequence[Any], free: FreeAxes) -> list[Domain]:
    """What inputs like these may be.

    Raises:
        SuiteError: there is one of a dtype that is not drawn.
    """
    found = []
    for position, tensor in enumerate(tensors):
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise SuiteError(f"--nobuco-fuzz draws no inputs of {dtype}")
        low, high = 0.0, 1.0
        if dtype != "bool" and tensor.numel():
            low, high = float(tensor.min()), float(tensor.max())
        axes = free[position] if position < len(free) else ()
        found.append(Domain(tuple(tensor.shape), axes, dtype, low, high))
    return found


def in_place_of(tensors: Sequence[Any], specs: Sequence[InputSpec], draw: Callable[[InputSpec, int], Any]) -> list[Any]:
    """The tensors that specs ask for in the place of these.

    Raises:
        SuiteError: there are more or fewer of them.
    """
    if len(tensors) != len(specs):
        raise SuiteError(f"--nobuco-try was given {len(specs)} times; the model has {len(tensors)} inputs")
    return [draw(replace(spec, name="", free=()), position) for position, spec in enumerate(specs)]
