"""`--nobuco-converters`: an item for every registered converter and case.

Only the standard library and pytest here; what meets the frameworks is `NobucoConverters`, which loads them when
converters are listed. The plugin's own tests put a pure-Python one in its place.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from nobuco.subject.resolve import resolve
from pytest_nobuco.errors import SuiteError, UnavailableError, outlived
from pytest_nobuco.options import Options
from pytest_nobuco.results import ABOVE_LIMIT, RESULT, ItemResult, OutputResult
from pytest_nobuco.session import BENCH, cap_threads

ORDERS = ("nchw", "nhwc")
SHAPES = ("dynamic", "static")
RUNTIMES = ("keras", "tflite")


@dataclass(frozen=True)
class Entry:
    """A registered converter: its name, all its spellings, and the dtypes that it is tried in, the main one first.

    `dtypes` is empty where the samples have the dtypes that they have.
    """

    name: str
    spellings: tuple[str, ...]
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConverterCase:
    """One form; inputs and outputs lie alike, and `dtype` is None where the samples have what they have."""

    order: str
    shape: str
    dtype: str | None
    runtime: str

    @property
    def id(self) -> str:
        """How the case is written in a test's id."""
        return "-".join(part for part in (self.order, self.shape, self.dtype, self.runtime) if part)


@dataclass(frozen=True)
class BadSample:
    """A sample whose outputs do not match, and what is wrong with it."""

    sample: str
    problems: tuple[str, ...]
    culprit: str | None = None


@dataclass(frozen=True)
class Finding:
    """What one item found over all its samples, the worst first among the bad ones; `graph` is of that one.

    parameters: how many of the operation's parameters samples vary, of how many: `7/8`; empty where none are made.
    idle: the others, each with its reason.
    """

    samples: int
    outputs: tuple[OutputResult, ...]
    bad: tuple[BadSample, ...]
    bound: str
    conversion: str = ""
    graph: Mapping[str, Any] | None = None
    parameters: str = ""
    idle: str = ""


class Converters(Protocol):
    """What the items need of the frameworks."""

    def listed(self) -> list[Entry]:
        """All registered converters."""

    def tried(self, entry: Entry, case: ConverterCase, options: Options) -> Finding:
        """Run one item.

        Raises:
            SuiteError: it has no sample that could be tried.
            UnavailableError: there is no such case, or not here.
        """


@dataclass
class Catalogue:
    """The converters of this session, listed once."""

    options: Options
    _converters: Converters | None = None
    _entries: list[Entry] | None = None

    @property
    def converters(self) -> Converters:
        """The frameworks; the first to ask loads them."""
        if self._converters is None:
            cap_threads(os.environ)
            self._converters = resolve(self.options.converters_backend)()
        return self._converters

    def chosen(self, patterns: Sequence[str]) -> list[Entry]:
        """The converters with a spelling that one of the patterns matches, by name.

        Raises:
            SuiteError: a module that should be imported cannot be, or a pattern matches nothing.
        """
        if self._entries is None:
            for module in self.options.converters_from:
                _import(module)
            self._entries = sorted(self.converters.listed(), key=lambda entry: entry.name)
        for pattern in patterns:
            if not any(_matches(entry, pattern) for entry in self._entries):
                raise SuiteError(_nothing_like(pattern, self._entries))
        return [entry for entry in self._entries if any(_matches(entry, pattern) for pattern in patterns)]


_CATALOGUE = pytest.StashKey[Catalogue]()


def catalogue_of(config: pytest.Config) -> Catalogue:
    """The session's catalogue, made when first asked for: by the option, or by a file of converters."""
    return config.stash.setdefault(_CATALOGUE, Catalogue(config.stash[BENCH].options))


def cases_of(entry: Entry) -> Iterator[ConverterCase]:
    """All forms in the main dtype, and the further dtypes in one form; those that share a conversion side by side."""
    main = entry.dtypes[0] if entry.dtypes else None
    for order in ORDERS:
        for shape in SHAPES:
            for runtime in RUNTIMES:
                yield ConverterCase(order, shape, main, runtime)
    for dtype in entry.dtypes[1:]:
        yield ConverterCase("nhwc", "static", dtype, "keras")


class ConverterModule(pytest.File):
    """The items of all converters, or of those that the options name."""

    @classmethod
    def of(cls, session: pytest.Session) -> ConverterModule:
        """Collect what was named on the command line."""
        # No such file exists; the path is only what ids begin with.
        return cls.from_parent(session, path=session.config.rootpath / "nobuco", nodeid="nobuco")

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each converter and case."""
        catalogue = catalogue_of(self.config)
        try:
            chosen = catalogue.chosen(catalogue.options.converters or ("*",))
        except SuiteError as error:
            raise self.CollectError(str(error)) from None
        for entry in chosen:
            for case in cases_of(entry):
                # The id as text, from which pytest reads that the brackets hold parameters.
                name = f"{entry.name}[{case.id}]"
                yield ConverterItem.from_parent(
                    self, name=name, nodeid=f"{self.nodeid}::{name}", entry=entry, case=case
                )


class ConverterItem(pytest.Item):
    """One case of one converter."""

    def __init__(self, *, entry: Entry, case: ConverterCase, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entry, self.case = entry, case

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where it is, and what it is called: not as the id ends, since pytest would print other separators for it."""
        return self.path, None, f"converter {self.name}"

    def runtest(self) -> None:
        """Convert, run and compare all samples."""
        __tracebackhide__ = True
        catalogue = catalogue_of(self.config)
        self.stash[RESULT] = self._result()
        skipped = failure = None
        try:
            with outlived():
                finding = catalogue.converters.tried(self.entry, self.case, catalogue.options)
        except UnavailableError as error:
            skipped = str(error)
        except SuiteError as error:
            failure = f"{self.name}: {error}\n  reproduce: {self.command}"
        else:
            self._record(finding)
            failure = _failure_text(self, finding) if finding.bad else None
            limit = catalogue.options.max_abs_limit
            above = [one.text for one in finding.outputs if limit is not None and (one.max_abs or 0.0) > limit]
            if above:
                self.stash[ABOVE_LIMIT] = above
        # Outside the handlers, so that pytest does not show the message twice, as an error during another.
        if skipped:
            pytest.skip(skipped)
        if failure:
            pytest.fail(failure, pytrace=False)

    @property
    def command(self) -> str:
        """The command line that runs this item alone."""
        options = catalogue_of(self.config).options
        words = ["pytest", "--nobuco-converters", self.entry.name]
        for module in options.converters_from:
            words += ["--nobuco-converters-from", module]
        if options.samples is not None:
            words += ["--nobuco-samples", str(options.samples)]
        return shlex.join([*words, *options.words(), "-k", self.case.id])

    def _result(self, **found: Any) -> ItemResult:
        axes = {"inputs": self.case.order, "outputs": self.case.order, "shape": self.case.shape}
        axes |= {"dtype": self.case.dtype or "", "runtime": self.case.runtime}
        return ItemResult("converter", self.entry.name, self.case.id, axes, command=self.command, **found)

    def _record(self, finding: Finding) -> None:
        """Leave the figures where JUnit and the reports find them."""
        self.user_properties += [
            ("nobuco_spellings", ", ".join(self.entry.spellings)),
            ("nobuco_samples", finding.samples),
            ("nobuco_samples_passed", finding.samples - len(finding.bad)),
        ]
        if finding.parameters:
            self.user_properties += [("nobuco_parameters", finding.parameters), ("nobuco_idle", finding.idle)]
        self.stash[RESULT] = self._result(
            outputs=finding.outputs,
            bound=finding.bound,
            conversion=finding.conversion,
            worst_node=finding.bad[0].culprit if finding.bad else None,
            graph=finding.graph,
        )


def _failure_text(item: ConverterItem, finding: Finding) -> str:
    first, *others = finding.bad
    lines = [f"{item.name}: {len(finding.bad)} of {finding.samples} samples differ from PyTorch"]
    lines += [f"  sample: {first.sample}", *(f"    {problem}" for problem in first.problems)]
    if first.culprit:
        lines.append(f"  culprit: {first.culprit}")
    lines += [f"  also: {bad.sample}: {bad.problems[0]:.300}" for bad in others]
    lines.append(f"  channel order: inputs {item.case.order}, outputs {item.case.order}")
    lines.append(f"  reproduce: {item.command}")
    return "\n".join(lines)


def check_patterns(config: pytest.Config) -> None:
    """Refuse patterns that match nothing, before any item runs, and on the controller before workers start.

    Raises:
        pytest.UsageError: naming what is near.
    """
    catalogue = catalogue_of(config)
    # Listing loads the frameworks, which the controller of xdist's workers need not do to take all.
    if not catalogue.options.converters or (
        set(catalogue.options.converters) == {"*"} and not catalogue.options.converters_from
    ):
        return
    if hasattr(config, "workerinput"):
        return
    try:
        catalogue.chosen(catalogue.options.converters)
    except SuiteError as error:
        raise pytest.UsageError(f"--nobuco-converters: {error}") from None


def _matches(entry: Entry, pattern: str) -> bool:
    return bool(fnmatch.filter(entry.spellings, pattern))


def _nothing_like(pattern: str, entries: Sequence[Entry]) -> str:
    names = [spelling for entry in entries for spelling in entry.spellings]
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    lasts = {name.rpartition(".")[2]: name for name in names}
    near += [lasts[last] for last in difflib.get_close_matches(pattern.rpartition(".")[2], lasts, n=3, cutoff=0.7)]
    hint = f"; near are {', '.join(dict.fromkeys(near))}" if near else ""
    return f"{pattern!r} matches none of {len(names)} operations that have a converter{hint}"


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise SuiteError(f"--nobuco-converters-from {module}: {type(error).__name__}: {error}") from error
