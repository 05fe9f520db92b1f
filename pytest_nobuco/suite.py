"""What one item of a suite does: build the model, convert it, run it, hold it against PyTorch."""

from __future__ import annotations

import inspect
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pytest_nobuco.backend import Form, Subject
from pytest_nobuco.bench import BENCH, Bench, Entry
from pytest_nobuco.cases import case_of, label_of
from pytest_nobuco.dynamic import FreeAxes, other_shapes
from pytest_nobuco.errors import InapplicableError, SuiteError, UnavailableError
from pytest_nobuco.gate import Bound, Difference, Failure, bound_for, describe_output, render_failure, snr_of
from pytest_nobuco.matrix import SIDE_BY_SIDE, STATIC, Case
from pytest_nobuco.results import RESULT, ItemResult, OutputResult
from pytest_nobuco.settings import Settings, settings_of


@dataclass(frozen=True)
class Trial:
    """One item: a case of a model; `name` is what `--nobuco-model` called it, None for a marked factory."""

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
        return reproducing(self.item, self.case, self.name)


def reproducing(item: pytest.Item, case: Case, name: str | None) -> str:
    """The command line that runs this item alone, with everything that its outcome depends on."""
    options = item.config.stash[BENCH].options
    words = ["pytest", *options.words(), *options.others.words(case.backend)]
    if name is None:
        words.insert(1, item.nodeid)
    else:
        inputs = [word for spec in options.inputs for word in ("--nobuco-input", str(spec))]
        words[1:1] = ["--nobuco-model", name, *inputs, "-k", case.id]
    return shlex.join(words)


def run_item(item: pytest.Function, name: str | None) -> None:
    """Run an item of a suite; `name` is what `--nobuco-model` called the model, None for a marked factory."""
    __tracebackhide__ = True
    case, bench = case_of(item), item.config.stash[BENCH]
    assert case is not None
    trial = Trial(item, case, name, bench, settings_of(item.iter_markers("convert"), bench.options))
    item.stash[RESULT] = ItemResult("parity", trial.model, case.id, case.axes, command=trial.command)
    skipped = None
    try:
        failure = compare_backends(trial) if case.runtime == SIDE_BY_SIDE else _measure(trial)
    except (UnavailableError, InapplicableError) as error:
        skipped, failure = str(error), None
    except SuiteError as error:
        if error.__cause__ is not None and not _is_ours(error.__cause__):
            raise  # the traceback of the user's own code says more than we can
        failure = f"{item.name}: {error}\n  reproduce: {trial.command}"
    # Outside the handlers, so that pytest does not show the message twice, as an error during another.
    if skipped:
        pytest.skip(skipped)
    if failure:
        pytest.fail(failure, pytrace=False)


def compare_backends(trial: Trial) -> str | None:
    """The item that puts the backends side by side."""
    from pytest_nobuco.backends.side_by_side import compare

    return compare(trial)


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
    bound = bound_for(trial.settings.markers, bench.options, trial.case.runtime)
    found: list[Difference] = []
    problems: list[str] = []
    for subject in subjects:
        differences, wrong = _compared(trial, converted, subject, bound)
        found += differences
        problems += [f"at inputs {_sizes(subject)}, {text}" if len(subjects) > 1 else text for text in wrong]
    worst_node = bench.backend.worst_node(converted) if problems else None
    _record(trial, found, bound, form)
    orders = getattr(converted, "orders", "")
    if orders:  # found, in somebody's file
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], extra={"orders": orders})
    if made or problems:
        graph = bench.backend.graph(converted)
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], graph=graph, worst_node=worst_node)
    if not problems:
        return None
    return render_failure(
        Failure(
            title=f"{trial.item.name}: {trial.case.runtime} differs from PyTorch",
            model=trial.model,
            orders=orders or f"inputs {trial.case.inputs}, outputs {trial.case.outputs}",
            sizes=_sizes_of_form(form, subjects),
            outputs=tuple(problems),
            worst_node=worst_node,
            command=trial.command,
        )
    )


def _compared(trial: Trial, converted: Any, subject: Subject, bound: Bound) -> tuple[list[Difference], list[str]]:
    """How far each output is from PyTorch's, and what is wrong, in words."""
    backend = trial.bench.backend
    trial.bench.tell(f"running it in {trial.case.runtime}")
    got = backend.run(converted, subject, trial.case.runtime)
    differences = [backend.compare(ours, theirs, bound) for ours, theirs in zip(got, subject.expected)]
    problems = [describe_output(i, d, bound) for i, d in enumerate(differences) if not bound.admits(d)]
    if len(got) != len(subject.expected):
        problems.insert(0, f"{len(got)} outputs, PyTorch gives {len(subject.expected)}")
    return differences, problems


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
        raise InapplicableError(f"no axis of inputs {_sizes(subject)} is one that is dynamic by default")
    form = Form(inputs, outputs, free, case.backend)
    return form, [subject, trial.bench.elsewhere(entry, Form("", "", free), lambda: _elsewhere(trial, subject, free))]


def _elsewhere(trial: Trial, subject: Subject, free: FreeAxes) -> Subject:
    """The model at other sizes of the free axes: the first that PyTorch itself takes."""
    refusals = []
    for shapes in other_shapes(subject.shapes, free):
        try:
            return trial.bench.backend.resized(subject, shapes)
        except SuiteError as error:
            refusals.append(str(error))
    text = f"it takes no other sizes than {_sizes(subject)}: {refusals[0]}"
    if trial.settings.wish().strict:
        raise SuiteError(text)
    raise InapplicableError(text)


def subject_of(trial: Trial) -> Subject:
    """The model, built, with its inputs drawn."""
    backend, seed, item = trial.bench.backend, trial.bench.options.seed, trial.item

    def make() -> Any:
        wanted = inspect.signature(item.obj).parameters
        made = item.obj(**{arg: value for arg, value in item.funcargs.items() if arg in wanted})
        return made if trial.name is None or backend.is_model(made) else made()

    inputs, kwargs = trial.settings.inputs(), trial.settings.nearest("kwargs", {})
    samples = trial.settings.nearest("representative", ())
    subject = backend.subject(backend.build(make, seed), inputs, kwargs, seed)
    samples = tuple(samples() if callable(samples) else samples)
    return replace(subject, samples=samples, name=trial.name or "")


def _record(trial: Trial, found: Sequence[Difference], bound: Bound, form: Form) -> None:
    """Leave the figures where the reports find them; scalars alone where JUnit does."""
    worst = max((math.inf if d.is_broken else d.max_abs for d in found), default=math.inf)
    trial.item.user_properties += [("nobuco_max_abs_diff", worst), ("nobuco_bound", bound.source)]
    outputs = tuple(
        OutputResult(
            None if d.is_broken else d.max_abs,
            None if d.is_broken else d.relative_to_peak,
            bound.admits(d),
            d.describe(),
            *(snr_of(d) or ()),
        )
        for d in found
    )
    result = trial.item.stash[RESULT]
    conversion = f"{trial.key}{form.name}"
    trial.item.stash[RESULT] = replace(result, outputs=outputs, bound=str(bound), conversion=conversion)


def _sizes(subject: Subject) -> str:
    return " and ".join("×".join(map(str, shape)) or "()" for shape in subject.shapes)


def _sizes_of_form(form: Form, subjects: Sequence[Subject]) -> str | None:
    if len(subjects) == 1:
        return None
    return f"converted at {_sizes(subjects[0])}, tried at {_sizes(subjects[1])}, too"


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("nobuco", "pytest_nobuco")
