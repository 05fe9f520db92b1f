"""What one item of a suite does: build the model, convert it, run it, hold it against PyTorch."""

from __future__ import annotations

import inspect
import math
import os
import shlex
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_nobuco.backend import Backend, Subject
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import Bound, Difference, Failure, bound_for, describe_output, render_failure
from pytest_nobuco.inputs import read_inputs
from pytest_nobuco.matrix import Case
from pytest_nobuco.options import Options
from pytest_nobuco.resolve import resolve

MARKER_ARGUMENTS = ("inputs", "kwargs", "orders", "runtimes", "max_abs_diff", "max_rel_diff")
# Items of one model follow one another, so a few models at a time are enough, and a long list of large ones
# does not fill the memory. More than one, for a plugin that shuffles items.
_KEPT = 4


@dataclass
class Entry:
    """A model of this session, with its conversions by channel order (or why one failed)."""

    subject: Subject
    conversions: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """The state of a session: what is built and converted already, so that no graph is converted twice."""

    options: Options
    _backend: Backend | None = None
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    conversions: int = 0

    @property
    def backend(self) -> Backend:
        """The frameworks; the first to ask loads them."""
        if self._backend is None:
            self._backend = resolve(self.options.backend)()
        return self._backend

    def entry(self, key: str, make: Callable[[], Subject]) -> Entry:
        """The model of this key, made if it is not there."""
        if key not in self._entries:
            self._entries[key] = Entry(make())
        self._entries.move_to_end(key)
        while len(self._entries) > _KEPT:
            self._entries.popitem(last=False)
        return self._entries[key]

    def converted(self, entry: Entry, order: str) -> Any:
        """The conversion of a model in this order, made if it is not there; a failed one fails again."""
        if order not in entry.conversions:
            self.conversions += 1
            try:
                entry.conversions[order] = self.backend.convert(entry.subject, order)
            except SuiteError as error:
                entry.conversions[order] = error
        if isinstance(entry.conversions[order], SuiteError):
            raise entry.conversions[order]
        return entry.conversions[order]


BENCH = pytest.StashKey[Bench]()


def cap_threads(environ: MutableMapping[str, str]) -> None:
    """Share the cores among xdist's workers; must come before PyTorch and TensorFlow are imported."""
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    workers = int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            environ.setdefault(name, threads)


def case_of(item: pytest.Item) -> Case | None:
    """The case that an item of a suite runs; None for anybody else's item."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("nobuco_case") if callspec else None


def settings_of(item: pytest.Item) -> list[Mapping[str, Any]]:
    """The arguments of the item's `convert` markers, nearest first."""
    return [checked_arguments(marker) for marker in item.iter_markers("convert")]


def checked_arguments(marker: pytest.Mark) -> Mapping[str, Any]:
    """The marker's arguments; `SuiteError` for one that there is not."""
    unknown = [name for name in marker.kwargs if name not in MARKER_ARGUMENTS]
    if unknown or marker.args:
        what = f"no argument {unknown[0]!r}" if unknown else "no positional arguments"
        raise SuiteError(f"pytest.mark.convert takes {what}; it takes {', '.join(MARKER_ARGUMENTS)}")
    return marker.kwargs


def run_item(item: pytest.Function, name: str | None) -> None:
    """Run an item of a suite; `name` is what `--nobuco-model` called the model, None for a marked factory."""
    __tracebackhide__ = True
    case, bench = case_of(item), item.config.stash[BENCH]
    assert case is not None
    skipped = None
    try:
        failure = _measure(item, case, bench, name)
    except UnavailableError as error:
        skipped, failure = str(error), None
    except SuiteError as error:
        if error.__cause__ is not None and not _is_ours(error.__cause__):
            raise  # the traceback of the user's own code says more than we can
        failure = f"{item.name}: {error}\n  reproduce: {_command(item, case, bench.options, name)}"
    # Outside the handlers, so that pytest does not show the message twice, as an error during another.
    if skipped:
        pytest.skip(skipped)
    if failure:
        pytest.fail(failure, pytrace=False)


def _measure(item: pytest.Function, case: Case, bench: Bench, name: str | None) -> str | None:
    """Convert, run and compare; the text of the failure, None if all is well."""
    settings, backend, before = settings_of(item), bench.backend, bench.conversions
    entry = bench.entry(_key(item, case), lambda: _subject(item, bench, settings, name))
    try:
        converted = bench.converted(entry, case.order)
    finally:
        item.user_properties.append(("nobuco_conversions", bench.conversions - before))
    got = backend.run(converted, entry.subject, case.runtime)
    expected = entry.subject.expected
    if not expected:
        raise SuiteError("the model returns no tensor, so there is nothing to compare")
    bound = bound_for(settings, bench.options)
    differences = [backend.compare(ours, theirs, bound) for ours, theirs in zip(got, expected)]
    _record(item, differences, bound)
    problems = [describe_output(i, d, bound) for i, d in enumerate(differences) if not bound.admits(d)]
    if len(got) != len(expected):
        problems.insert(0, f"{len(got)} outputs, PyTorch gives {len(expected)}")
    if not problems:
        return None
    return render_failure(
        Failure(
            title=f"{item.name}: {case.runtime} differs from PyTorch",
            model=name or item.nodeid.partition("[")[0],
            orders=f"inputs {case.order}, outputs {case.order}",
            outputs=tuple(problems),
            worst_node=backend.worst_node(converted),
            command=_command(item, case, bench.options, name),
        )
    )


def _subject(item: pytest.Function, bench: Bench, settings: list[Mapping[str, Any]], name: str | None) -> Subject:
    backend, seed = bench.backend, bench.options.seed

    def make() -> Any:
        wanted = inspect.signature(item.obj).parameters
        made = item.obj(**{arg: value for arg, value in item.funcargs.items() if arg in wanted})
        return made if name is None or backend.is_model(made) else made()

    def nearest(argument: str, default: Any) -> Any:
        return next((given[argument] for given in settings if given.get(argument) is not None), default)

    inputs = nearest("inputs", None)
    try:
        inputs = None if inputs is None else read_inputs(inputs() if callable(inputs) else inputs)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    return backend.subject(backend.build(make, seed), inputs, nearest("kwargs", {}), seed)


def _key(item: pytest.Item, case: Case) -> str:
    """What the items of one model have in common: their id without the case, which stands last in it."""
    return item.nodeid.removesuffix(f"{case.id}]")


def _record(item: pytest.Item, found: list[Difference], bound: Bound) -> None:
    """Leave the figures where JUnit and the xdist controller find them: scalars only."""
    item.user_properties += [
        (
            "nobuco_max_abs_diff",
            max((math.inf if d.is_broken else d.max_abs for d in found), default=math.inf),
        ),
        ("nobuco_bound", bound.source),
    ]


def _command(item: pytest.Item, case: Case, options: Options, name: str | None) -> str:
    """The command line that runs this item alone, with everything that its outcome depends on."""
    words = ["pytest"]
    if name is None:
        words.append(item.nodeid)
    else:
        words += ["--nobuco-model", name]
        words += [word for spec in options.inputs for word in ("--nobuco-input", str(spec))]
        words += ["-k", case.id]
    for option, given in (
        ("--nobuco-max-abs-diff", options.max_abs_diff),
        ("--nobuco-max-rel-diff", options.max_rel_diff),
        ("--nobuco-max-abs-limit", options.max_abs_limit),
        ("--nobuco-seed", options.seed or None),
    ):
        words += [] if given is None else [option, f"{given:g}"]
    return shlex.join(words)


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("nobuco", "pytest_nobuco")
