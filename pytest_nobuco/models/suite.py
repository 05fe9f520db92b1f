"""What one item of a suite does: build the model, convert it, run it, hold it against PyTorch."""

from __future__ import annotations

import inspect
import math
import os
import shlex
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from nobuco.errors import NobucoError
from nobuco.subject.inputs import InputSpec
from nobuco.subject.mistakes import in_a_line
from pytest_nobuco.errors import InapplicableError, SuiteError, UnavailableError, of_the_user, outlived
from pytest_nobuco.gate import Failure, render_failure, snr_of
from pytest_nobuco.matrix import QUANTISED, SIDE_BY_SIDE, STATIC, Case
from pytest_nobuco.models.backend import Form, Subject
from pytest_nobuco.models.cases import case_of, label_of
from pytest_nobuco.models.collect import model_name, named_model
from pytest_nobuco.models.dynamic import FreeAxes, other_shapes
from pytest_nobuco.models.findings import Attempt, Result, raising, result_of, sizes_of, tried
from pytest_nobuco.models.fuzz import Found, smallest_failure
from pytest_nobuco.models.judging import Judged
from pytest_nobuco.models.leftovers import process_kept
from pytest_nobuco.results import ABOVE_LIMIT, RESULT, ItemResult, OutputResult
from pytest_nobuco.session import BENCH, Bench, Entry
from pytest_nobuco.settings import Settings, settings_of


@dataclass(frozen=True)
class Trial:
    """One item: a case of a model; `name` is what reports call it if it was named, None for a marked factory."""

    item: pytest.Function
    case: Case
    name: str | None
    bench: Bench
    settings: Settings

    @property
    def key(self) -> str:
        """What the items of one model have in common: their id without the case, which stands last in it."""
        return self.item.nodeid.removesuffix(f"{self.case.id}]")

    @property
    def model(self) -> str:
        """The model's name in reports."""
        return self.name or label_of(self.item, self.case)

    @property
    def command(self) -> str:
        """The command line that runs this item alone."""
        return reproducing(self.item)


def reproducing(item: pytest.Item) -> str:
    """The command line that runs this item alone, with everything that its outcome depends on."""
    model, case, options = named_model(item), case_of(item), item.config.stash[BENCH].options
    backend = options.others.words(case.backend if case else "")
    words = ["pytest", *(model.words if model else ()), *options.words(), *backend, item.nodeid]
    return shlex.join(words)


def trial_of(item: pytest.Function) -> Trial:
    """What an item of a suite tries."""
    case, bench = case_of(item), item.config.stash[BENCH]
    assert case is not None
    return Trial(item, case, model_name(item), bench, settings_of(item.iter_markers("convert"), bench.options))


def run_item(item: pytest.Function) -> None:
    """Run an item of a suite."""
    __tracebackhide__ = True
    trial = trial_of(item)
    case = trial.case
    item.stash[RESULT] = ItemResult("parity", trial.model, case.id, case.axes, command=trial.command)
    skipped, process = None, os.getpid()
    trial.bench.surroundings.become(trial.key)
    try:
        with process_kept(), outlived():
            failure = compare_backends(trial) if case.runtime == SIDE_BY_SIDE else _measure(trial)
    except (UnavailableError, InapplicableError) as error:
        skipped, failure = str(error), None
    except SuiteError as error:
        if error.__cause__ is not None and item.config.option.fulltrace:
            raise
        failure = f"{item.name}: {error}{_hint(error)}\n  reproduce: {trial.command}"
    if os.getpid() != process:  # the model forked, and its child came back: the session is the parent's
        os._exit(0)
    # Outside the handlers, so that pytest does not show the message twice, as an error during another.
    if skipped:
        pytest.skip(skipped)
    if failure:
        pytest.fail(failure, pytrace=False)


def compare_backends(trial: Trial) -> str | None:
    """The item that puts the backends side by side."""
    from pytest_nobuco.backends.side_by_side import compare

    entry = trial.bench.entry(trial.key, lambda: subject_of(trial))
    return compare(trial, entry, lambda case: form_of(replace(trial, case=case), entry)[0])


def _measure(trial: Trial) -> str | None:
    """Convert, run and compare; the text of the failure, None if all is well."""
    bench, before = trial.bench, trial.bench.conversions
    bench.tell("running the PyTorch model")
    entry = bench.entry(trial.key, lambda: subject_of(trial))
    if not entry.subject.expected:
        raise SuiteError("the model returns no tensor, so there is nothing to compare")
    form, subjects = form_of(trial, entry)
    bench.tell("converting it")
    try:
        converted = bench.converted(entry, form, trial.settings.arguments)
    finally:
        made = bench.conversions - before
        trial.item.user_properties.append(("nobuco_conversions", made))
    if bench.options.tries:
        subjects = [*subjects, bench.backend.redrawn(entry.subject, bench.options.tries)]
    found = [tried(trial, converted, subject) for subject in subjects]
    if not _any_wrong(found):
        found += _varied(trial, entry, converted)
    drawn = None if _any_wrong(found) else _drawn(trial, entry, form, converted)
    command = trial.command
    if drawn is not None:
        command = f"{command} {shlex.join(drawn[0].words)}"
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], command=command)
        found.append(drawn[1])
    _record(trial, [one for attempt in found for one in attempt.outputs], form)
    result = result_of(trial, converted, found)
    _leave(trial, converted, result, made)
    orders = getattr(converted, "orders", "")
    if orders:  # found, in somebody's file
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], extra={"orders": orders})
    if not result.problems:
        return None
    if result.randomness is not None:
        return f"{trial.item.name}: {result.randomness}\n  model: {trial.model}\n  reproduce: {trial.command}"
    return render_failure(
        Failure(
            title=f"{trial.item.name}: {result.title}",
            model=trial.model,
            orders=orders or f"inputs {trial.case.inputs}, outputs {trial.case.outputs}",
            sizes=_sizes_of_form(subjects),
            outputs=result.problems,
            culprit=result.culprit,
            command=command,
        )
    )


def _any_wrong(found: Sequence[Attempt]) -> bool:
    return any(any(attempt.wrong) for attempt in found)


def _attempted(trial: Trial, converted: Any, subject: Subject) -> Attempt:
    """Run a converted model on inputs that it may fail on."""
    try:
        return tried(trial, converted, subject)
    except Exception as error:
        return raising(trial, subject, f"{trial.case.runtime} raises {in_a_line(error)}")


def _varied(trial: Trial, entry: Entry, converted: Any) -> Iterator[Attempt]:
    """A run on other values than the example's, where a model that holds on to those is wrong.

    What quantises is right near its samples only.
    """
    backend = trial.bench.backend
    subject = trial.bench.elsewhere(entry, "other values", lambda: backend.varied(entry.subject))
    if subject is not None and trial.case.runtime not in QUANTISED:
        yield replace(_attempted(trial, converted, subject), where="with other values, ")


def _drawn(trial: Trial, entry: Entry, form: Form, converted: Any) -> tuple[Found, Attempt] | None:
    """The smallest failing input of those that `--nobuco-fuzz` draws; what quantises is right near its samples only."""
    bench = trial.bench
    if not bench.options.fuzz or trial.case.runtime in QUANTISED:
        return None

    def attempt_on(specs: tuple[InputSpec, ...]) -> Attempt:
        return _attempted(trial, converted, bench.backend.redrawn(entry.subject, specs))

    def problems_of(specs: tuple[InputSpec, ...]) -> list[str]:
        return [text for text, _ in attempt_on(specs).wrong]

    try:
        domains = bench.backend.domains(entry.subject, form.free)
    except SuiteError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    found = smallest_failure(domains, problems_of, bench.options.fuzz, bench.options.seed)
    if found is None:
        return None
    return found, replace(attempt_on(found.inputs), where=f"at drawn inputs {' '.join(map(str, found.inputs))}, ")


def form_of(trial: Trial, entry: Entry) -> tuple[Form, list[Subject]]:
    """What to convert, and at which sizes to compare; an order that no tensor has changes nothing and is left out."""
    subject, case = entry.subject, trial.case
    inputs = case.inputs if any(len(shape) >= 3 for shape in subject.shapes) else ""
    outputs = case.outputs if any(len(shape) >= 3 for shape in subject.output_shapes) else ""
    if case.shape == STATIC:
        return Form(inputs, outputs, backend=case.backend), [subject]
    try:
        free = trial.settings.free_axes(subject.shapes)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if not any(free):
        raise InapplicableError(f"no axis of inputs {sizes_of(subject)} is one that is dynamic by default")
    form = Form(inputs, outputs, free, case.backend)
    return form, [subject, trial.bench.elsewhere(entry, free, lambda: _elsewhere(trial, subject, free))]


def _elsewhere(trial: Trial, subject: Subject, free: FreeAxes) -> Subject:
    """The model at other sizes of the free axes: the first that PyTorch itself takes."""
    refusals = []
    for shapes in other_shapes(subject.shapes, free):
        try:
            return trial.bench.backend.resized(subject, shapes)
        except SuiteError as error:
            refusals.append(str(error))
    text = f"it takes no other sizes than {sizes_of(subject)}: {refusals[0]}"
    if trial.settings.wish().strict:
        raise SuiteError(text)
    raise InapplicableError(text)


def subject_of(trial: Trial) -> Subject:
    """The model, built, with its inputs drawn."""
    backend, seed, item = trial.bench.backend, trial.bench.options.seed, trial.item

    def make() -> Any:
        named = named_model(item)
        if named is not None:
            made = trial.bench.imported(named)
            return made if backend.is_model(made) else made()
        wanted = inspect.signature(item.obj).parameters
        return item.obj(**{arg: value for arg, value in item.funcargs.items() if arg in wanted})

    inputs, kwargs = trial.settings.inputs(), trial.settings.nearest("kwargs", {})
    samples = trial.settings.samples()
    with of_the_user("making the model"):
        model = backend.build(make, seed)
    return replace(backend.subject(model, inputs, kwargs, seed), samples=samples, name=trial.name or "")


def _record(trial: Trial, found: Sequence[Judged], form: Form) -> None:
    """Leave the figures where the reports find them; scalars alone where JUnit does."""
    figures = [math.inf if one.difference.is_broken else one.difference.max_abs for one in found]
    bounds = list(dict.fromkeys(one.bound for one in found))
    source = "; ".join(dict.fromkeys(bound.source for bound in bounds))
    trial.item.user_properties += [("nobuco_max_abs_diff", max(figures, default=math.inf)), ("nobuco_bound", source)]
    above = [one.text for one in found if one.bound.exceeded_by(one.difference)]
    if above:
        trial.item.stash[ABOVE_LIMIT] = above
    result = trial.item.stash[RESULT]
    trial.item.stash[RESULT] = replace(
        result,
        outputs=tuple(map(output_result, found)),
        bound="; ".join(dict.fromkeys(map(str, bounds))),
        conversion=f"{trial.key}{form.name}",
    )


def output_result(one: Judged) -> OutputResult:
    """An output as reports have it."""
    d = one.difference
    max_abs, max_rel = (None, None) if d.is_broken else (d.max_abs, d.relative_to_peak)
    snr, cosine = snr_of(d) or (None, None)
    return OutputResult(max_abs, max_rel, one.fits, d.describe(), snr, cosine, one.name)


def _leave(trial: Trial, converted: Any, result: Result, made: int) -> None:
    """Leave the rest for the reports."""
    graph = trial.bench.backend.graph(converted) if made or result.problems else None
    told = trial.item.stash[RESULT]
    trial.item.stash[RESULT] = replace(told, graph=graph, worst_node=result.culprit, warnings=result.warnings)


def _sizes_of_form(subjects: Sequence[Subject]) -> str | None:
    if len(subjects) == 1:
        return None
    return f"converted at {sizes_of(subjects[0])}, tried at {sizes_of(subjects[1])}, too"


def _hint(error: SuiteError) -> str:
    """How to see more of what the user's own code raised."""
    return "" if isinstance(error.__cause__, (NobucoError, type(None))) else "; --full-trace shows more"
