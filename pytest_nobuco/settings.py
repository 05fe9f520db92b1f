"""What holds for one model: its markers, then the command line, then the ini file, made one."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from nobuco.kinds import BOUND, FLAG, NOTHING, TEXT, Kind, each, function_of, instance, mapping, refusal
from nobuco.program.switches import SWITCHES
from nobuco.subject.inputs import arranged, read_inputs, tensor_leaves
from pytest_nobuco.errors import SuiteError, of_the_user
from pytest_nobuco.gate import OF_OUTPUT
from pytest_nobuco.matrix import STATIC, Case, cases, quick, read_order, read_runtime
from pytest_nobuco.models.dynamic import (
    AUTO,
    NONE,
    FreeAxes,
    Shape,
    Wish,
    free_axes,
    name_of,
    read_letters,
    read_shapes,
)
from pytest_nobuco.options import Options

MARKER_ARGUMENTS = (
    "inputs", "kwargs", "input_shapes", "dynamic", "orders", "runtimes", "max_abs_diff", "max_rel_diff", "min_snr",
    "outputs", "comparator", "representative", "backend", "xfail",
)  # fmt: skip
# Of `pytorch_to_keras`, as they are there; the others are the suite's to choose.
CONVERSION_ARGUMENTS = ("input_names", "output_names", *SWITCHES)


def _can_be_inputs(value: Any) -> bool:
    return not callable(value) or function_of("", 0).fits(value)


_BOUNDS: Mapping[str, Kind] = dict.fromkeys(OF_OUTPUT, BOUND) | {
    "comparator": function_of("a function of (got, expected)", 2)
}
_SAMPLES = each("a list of argument tuples", Kind("a tuple of tensors", lambda value: bool(tensor_leaves([value]))))
# What each argument may be, where code that reads it later would stumble over another value, or take it for something.
_KINDS: Mapping[str, Kind] = {
    **_BOUNDS,
    **SWITCHES,
    "inputs": Kind("a list of inputs, such as ['1,3,224,224'], or a function without parameters", _can_be_inputs),
    "kwargs": mapping("a dict of arguments by name"),
    "input_shapes": instance("shapes with None at each dynamic axis, such as {0: (None, 3)}", Mapping, list, tuple),
    "dynamic": FLAG | instance("the letters of axes, such as 'HW'", str),
    "orders": each("a list of channel orders, such as ['nhwc']", TEXT),
    "runtimes": each("a list of runtimes, such as ['keras', 'tflite']", TEXT),
    "outputs": Kind(
        "a dict of bounds by output, such as {'boxes': {'max_abs_diff': 1e-2}}",
        lambda value: isinstance(value, Mapping) and all(isinstance(bounds, Mapping) for bounds in value.values()),
    ),
    "representative": _SAMPLES | function_of("a function without parameters that gives one", 0),
    "backend": instance("the name of a backend", str) | each("a list of names", TEXT),
    "input_names": each("a list of texts, one for each input", TEXT | NOTHING),
    "output_names": each("a list of texts, one for each output", TEXT | NOTHING)
    | mapping("a dict of texts by the output's number", int),
}


@dataclass(frozen=True)
class Settings:
    """What the `convert` markers of an item say, nearest first, over the options."""

    markers: tuple[Mapping[str, Any], ...]
    options: Options

    def nearest(self, argument: str, default: Any = None) -> Any:
        """What the nearest marker says that says something."""
        return next((given[argument] for given in self.markers if given.get(argument) is not None), default)

    @property
    def arguments(self) -> dict[str, Any]:
        """What goes to `pytorch_to_keras` unchanged."""
        return {name: self.nearest(name) for name in CONVERSION_ARGUMENTS if self.nearest(name) is not None}

    def inputs(self) -> tuple[Any, ...] | None:
        """The model's positional arguments; None where its own `example_inputs()` shall say."""
        given = self.nearest("inputs")
        try:
            if callable(given):
                with of_the_user("inputs()"):
                    given = given()
            return None if given is None else read_inputs(given)
        except ValueError as error:
            raise SuiteError(f"inputs: {error}") from None

    def samples(self) -> tuple[Any, ...]:
        """Further arguments, from which a runtime that quantises takes its ranges."""
        given = self.nearest("representative", ())
        if not callable(given):
            return tuple(given)
        with of_the_user("representative()"):
            found = tuple(given())
        if not _SAMPLES.fits(found):
            raise SuiteError(refusal("what representative() gives", found, _SAMPLES))
        return found

    def _tensors(self) -> list[Any] | None:
        """The tensors among the inputs, by keyword last; None where only running code will tell them."""
        if callable(self.nearest("inputs")) or (inputs := self.inputs()) is None:
            return None
        try:
            return tensor_leaves(arranged(inputs))
        except ValueError as error:
            raise SuiteError(str(error)) from None

    def wish(self) -> Wish:
        """Which axes shall be dynamic: shapes before marks in the inputs, and those before letters."""
        shapes, letters = self.nearest("input_shapes"), self.nearest("dynamic")
        if shapes is not None:
            return Wish(shapes=read_shapes(shapes), strict=True)
        tensors = self._tensors() or []
        if any(getattr(tensor, "free", ()) for tensor in tensors):
            return Wish(shapes=dict(enumerate(map(_with_gaps, tensors))), strict=True)
        if letters is not None:
            named = {True: AUTO, False: NONE}[letters] if isinstance(letters, bool) else read_letters(letters)
            return Wish(named, strict=True)
        return Wish(self.options.dynamic or AUTO, strict=self.options.dynamic not in (None, AUTO))

    def free_axes(self, shapes: Sequence[Shape]) -> FreeAxes:
        """The dynamic axes of inputs of these shapes; `ValueError` where the settings do not fit them."""
        return free_axes(shapes, self.wish())

    def cases(self) -> list[Case]:
        """The matrix; `ValueError` says what is wrong with what was asked for."""
        orders = self.nearest("orders") or self.options.orders or None
        runtimes = self._runtimes()
        shapes = sorted({STATIC, self._dynamic_name()})
        others = self.options.others
        if self.nearest("backend") is None and others.is_default:
            matrix = cases(orders, shapes, runtimes)
            return quick(matrix) if self.options.quick else matrix
        from pytest_nobuco.backends.session import cases_of

        return cases_of(self.nearest("backend"), others, (orders, shapes, runtimes), self.options.quick)

    def _runtimes(self) -> Sequence[str] | None:
        """What is asked for; `ValueError` names the argument, the option or the ini key with an unknown name."""
        options = self.options
        given = {
            "runtimes": self.nearest("runtimes"),
            "--nobuco-runtime": options.runtimes,
            "ini key nobuco_runtimes": options.ini_runtimes,
        }
        where, names = next(((where, names) for where, names in given.items() if names), ("", None))
        if self.nearest("backend") is None and options.others.is_default:
            _read(where, names or (), read_runtime)
        return names

    def _dynamic_name(self) -> str:
        """What the dynamic form is called; `dyn` alone where only the running model will tell its axes."""
        wish = self.wish()
        if wish.letters == NONE:
            return STATIC
        tensors = self._tensors()
        if tensors is not None:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            return name_of(shapes, self.free_axes(shapes))
        return "dyn" if wish.letters == AUTO else f"dyn{wish.letters}"

    def xfail_of(self, case: Case) -> str | None:
        """The reason why this case is expected to fail, if it is."""
        given = self.nearest("xfail")
        if given is None or isinstance(given, str):
            return given
        return next((reason for pattern, reason in given.items() if fnmatch.fnmatchcase(case.id, pattern)), None)


def settings_of(markers: Iterable[pytest.Mark], options: Options) -> Settings:
    """The settings that these `convert` markers make, nearest first; `SuiteError` for an argument there is not."""
    return Settings(tuple(_checked(marker) for marker in markers), options)


def check_xfail(settings: Settings, matrix: Sequence[Case]) -> None:
    """Refuse an `xfail` that gives no reason or speaks of no case."""
    given = settings.nearest("xfail")
    if given is None or (isinstance(given, str) and given):
        return
    if not isinstance(given, Mapping) or not all(isinstance(reason, str) and reason for reason in given.values()):
        raise SuiteError(f"xfail={given!r}: give the reason as text, or a dict of reasons by pattern of cases")
    for pattern in given:
        if not fnmatch.filter([case.id for case in matrix], pattern):
            raise SuiteError(f"xfail: {pattern!r} is none of {', '.join(case.id for case in matrix)}")


def _checked(marker: pytest.Mark) -> Mapping[str, Any]:
    unknown = [name for name in marker.kwargs if name not in MARKER_ARGUMENTS + CONVERSION_ARGUMENTS]
    if unknown or marker.args:
        what = f"no argument {unknown[0]!r}" if unknown else "no positional arguments"
        known = ", ".join(MARKER_ARGUMENTS + CONVERSION_ARGUMENTS)
        raise SuiteError(f"pytest.mark.convert takes {what}; it takes {known}")
    _check_kinds("", marker.kwargs, _KINDS)
    dynamic = marker.kwargs.get("dynamic")
    _read("orders", marker.kwargs.get("orders") or (), read_order)
    _read("dynamic", [dynamic] if isinstance(dynamic, str) else (), read_letters)
    for name, bounds in (marker.kwargs.get("outputs") or {}).items():
        where = f"outputs[{name!r}]: "
        unknown = [key for key in bounds if key not in OF_OUTPUT]
        if unknown:
            raise SuiteError(f"{where}there is no bound {unknown[0]!r}; there are {', '.join(OF_OUTPUT)}")
        _check_kinds(where, bounds, _BOUNDS)
    return marker.kwargs


def _read(name: str, values: Iterable[str], read: Callable[[str], Any]) -> None:
    """Refuse values that are unknown, naming what they were given as."""
    for value in values:
        try:
            read(value)
        except ValueError as error:
            raise SuiteError(f"{name}: {error}") from None


def _check_kinds(where: str, given: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    for name, kind in kinds.items():
        if not (kind | NOTHING).fits(given.get(name)):
            raise SuiteError(where + refusal(name, given[name], kind))


def _with_gaps(tensor: Any) -> tuple[int | None, ...]:
    free = getattr(tensor, "free", ())
    return tuple(None if axis in free else size for axis, size in enumerate(tensor.shape))
