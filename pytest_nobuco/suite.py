"""What one item of a suite does: build the model, convert it, run it, hold it against PyTorch."""

from __future__ import annotations

import inspect
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from nobuco.subject.inputs import InputSpec
from nobuco.subject.mistakes import in_a_line
from pytest_nobuco.backend import Form, Subject
from pytest_nobuco.bench import BENCH, Bench, Entry
from pytest_nobuco.cases import case_of, label_of
from pytest_nobuco.collect import model_name, named_model
from pytest_nobuco.dynamic import FreeAxes, other_shapes
from pytest_nobuco.errors import InapplicableError, SuiteError, UnavailableError
from pytest_nobuco.fuzz import Found, smallest_failure
from pytest_nobuco.gate import Bound, Difference, Failure, bound_for, describe_output, render_failure, snr_of
from pytest_nobuco.matrix import QUANTISED, STATIC, Case
from pytest_nobuco.results import RESULT, ItemResult, OutputResult
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
    model = named_model(item)
    words = ["pytest", *(model.words if model else ()), *item.config.stash[BENCH].options.words(), item.nodeid]
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
    item.stash[RESULT] = ItemResult("parity", trial.model, case.id, asdict(case), command=trial.command)
    skipped = None
    try:
        failure = _measure(trial)
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
    if bench.options.tries:
        subjects = [*subjects, bench.backend.redrawn(entry.subject, bench.options.tries)]
    for subject in subjects:
        differences, wrong = _compared(trial, converted, subject, bound)
        found += differences
        problems += [f"at inputs {_sizes(subject)}, {text}" if len(subjects) > 1 else text for text in wrong]
    drawn = None if problems else _drawn(trial, entry, form, converted, bound)
    command = trial.command
    if drawn is not None:
        command = f"{command} {shlex.join(drawn.words)}"
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], command=command)
        again, _ = _compared(trial, converted, bench.backend.redrawn(entry.subject, drawn.inputs), bound)
        found += again
        problems += [f"at drawn inputs {' '.join(map(str, drawn.inputs))}, {text}" for text in drawn.problems]
    worst_node = bench.backend.worst_node(converted) if problems else None
    _record(trial, found, bound, form)
    if made or problems:
        graph = bench.backend.graph(converted)
        trial.item.stash[RESULT] = replace(trial.item.stash[RESULT], graph=graph, worst_node=worst_node)
    if not problems:
        return None
    return render_failure(
        Failure(
            title=f"{trial.item.name}: {trial.case.runtime} differs from PyTorch",
            model=trial.model,
            orders=f"inputs {trial.case.inputs}, outputs {trial.case.outputs}",
            sizes=_sizes_of_form(form, subjects),
            outputs=tuple(problems),
            worst_node=worst_node,
            command=command,
        )
    )


def _drawn(trial: Trial, entry: Entry, form: Form, converted: Any, bound: Bound) -> Found | None:
    """The smallest failing input of those that `--nobuco-fuzz` draws; what quantises is right near its samples only."""
    bench = trial.bench
    if not bench.options.fuzz or trial.case.runtime in QUANTISED:
        return None

    def problems_of(specs: tuple[InputSpec, ...]) -> list[str]:
        subject = bench.backend.redrawn(entry.subject, specs)
        try:
            return _compared(trial, converted, subject, bound)[1]
        except Exception as error:
            return [f"{trial.case.runtime} raises {in_a_line(error)}"]

    domains = bench.backend.domains(entry.subject, form.free)
    return smallest_failure(domains, problems_of, bench.options.fuzz, bench.options.seed)


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
        return Form(inputs, outputs), [subject]
    try:
        free = trial.settings.free_axes(subject.shapes)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if not any(free):
        raise InapplicableError(f"no axis of inputs {_sizes(subject)} is one that is dynamic by default")
    form = Form(inputs, outputs, free)
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
        named = named_model(item)
        if named is not None:
            made = trial.bench.imported(named)
            return made if backend.is_model(made) else made()
        wanted = inspect.signature(item.obj).parameters
        return item.obj(**{arg: value for arg, value in item.funcargs.items() if arg in wanted})

    inputs, kwargs = trial.settings.inputs(), trial.settings.nearest("kwargs", {})
    samples = trial.settings.nearest("representative", ())
    subject = backend.subject(backend.build(make, seed), inputs, kwargs, seed)
    return replace(subject, samples=tuple(samples() if callable(samples) else samples))


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
