"""The state of a session: what is built and converted already, so that no graph is converted twice."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from pytest_nobuco.baseline import Baseline
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.isolation.limits import Limits
from pytest_nobuco.models.leftovers import Surroundings
from pytest_nobuco.options import Options

if TYPE_CHECKING:
    from pytest_nobuco.backends.session import All
    from pytest_nobuco.models.backend import Form, Subject
    from pytest_nobuco.models.named import NamedModel

# Items of one model follow one another, so a few models at a time are enough, and a long list of large ones
# does not fill the memory. More than one, for a plugin that shuffles items.
_KEPT = 4


@dataclass(frozen=True)
class _Failed:
    """An error to raise again, with the traceback that it had, which grows each time."""

    error: Exception
    trace: TracebackType | None

    def again(self) -> NoReturn:
        raise self.error.with_traceback(self.trace)


Made = TypeVar("Made")


@dataclass
class Entry:
    """A model of this session, at its own sizes and at others, with its conversions (or why one failed)."""

    subject: Subject
    elsewhere: dict[Hashable, Subject | _Failed | None] = field(default_factory=dict)
    conversions: dict[Form, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """The models of a session, and how many conversions they took."""

    options: Options
    tell: Callable[[str], None] = lambda stage: None
    """Takes what the running item is about, for whoever watches this process."""
    limits: Limits = field(default_factory=Limits)
    """What the processes of other converters may take."""
    _backend: All | None = None
    _entries: OrderedDict[str, Entry | _Failed] = field(default_factory=OrderedDict)
    _unimportable: dict[str, _Failed] = field(default_factory=dict)
    conversions: int = 0
    baseline: Baseline = field(default_factory=Baseline)
    surroundings: Surroundings = field(default_factory=Surroundings)

    @property
    def backend(self) -> All:
        """The frameworks, and other converters; the first to ask loads them."""
        if self._backend is None:
            from nobuco.subject.resolve import resolve
            from pytest_nobuco.backends.session import All

            frameworks = resolve(self.options.backend)()
            self._backend = All(frameworks, self.options.others, self.options.seed, self.limits)
        return self._backend

    def imported(self, model: NamedModel) -> Any:
        """What a name stands for, `SuiteError` if there is no such thing; an import that fails is not tried again."""
        from nobuco.errors import InputError
        from nobuco.subject.resolve import resolve

        if model.name in self._unimportable:
            self._unimportable[model.name].again()
        try:
            return resolve(model.name)
        except InputError as error:
            failed = SuiteError(str(error))
            failed.__cause__ = error.__cause__
        self._unimportable[model.name] = _Failed(failed, None)
        raise failed

    def entry(self, key: str, make: Callable[[], Subject]) -> Entry:
        """The model of this key, made if it is not there; one that cannot be made fails again, by the same error."""
        if key not in self._entries:
            try:
                self._entries[key] = Entry(make())
            except Exception as error:
                self._entries[key] = _Failed(error, error.__traceback__)
        self._entries.move_to_end(key)
        while len(self._entries) > _KEPT:
            self._entries.popitem(last=False)
        found = self._entries[key]
        if isinstance(found, _Failed):
            found.again()
        return found

    def converted(self, entry: Entry, form: Form, arguments: dict[str, Any]) -> Any:
        """The conversion of a model to this form, made if it is not there; a failed one fails again."""

        def convert() -> Any:
            self.conversions += form.backend not in dict(self.options.others.artifacts)
            return self.backend.convert(entry.subject, form, arguments)

        return _remembered(entry.conversions, form, convert)

    def elsewhere(self, entry: Entry, what: Hashable, make: Callable[[], Made]) -> Made:
        """The model on inputs that it was not converted with, tried once; `what` says which."""
        return _remembered(entry.elsewhere, what, make)


BENCH = pytest.StashKey[Bench]()


def _remembered(found: dict[Any, Any], what: Hashable, make: Callable[[], Made]) -> Made:
    if what not in found:
        try:
            found[what] = make()
        except SuiteError as error:
            found[what] = _Failed(error, error.__traceback__)
    made: Made | _Failed = found[what]
    if isinstance(made, _Failed):
        made.again()
    return made


def cap_threads(environ: MutableMapping[str, str]) -> None:
    """Share the cores among xdist's workers; must come before PyTorch and TensorFlow are imported."""
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    workers = int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            environ.setdefault(name, threads)
