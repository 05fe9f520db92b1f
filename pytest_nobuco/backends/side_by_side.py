"""The item that puts all backends of a model side by side: what each made, what that took, and how fast it runs.

It measures and does not judge: whether each matches is for the items of its own. It fails only if no backend made
anything.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pytest_nobuco.backends.foreign import tensors_of
from pytest_nobuco.backends.held import Held
from pytest_nobuco.backends.registry import backend_named
from pytest_nobuco.backends.spec import Backend
from pytest_nobuco.backends.table import EAGER, BackendRow
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency.deployed import run_interpreter
from pytest_nobuco.latency.measure import refuse_workers
from pytest_nobuco.matrix import STATIC, Case
from pytest_nobuco.models.findings import tried
from pytest_nobuco.results import RESULT
from pytest_nobuco.session import Entry

if TYPE_CHECKING:
    from pytest_nobuco.models.backend import Form, Subject
    from pytest_nobuco.models.suite import Trial

Timed = Callable[[], Any]
# Seconds of runs for each artifact, and how many at least and at most.
_SECONDS, _LEAST, _MOST, _WARM_UPS = 2.0, 5, 300, 2


def compare(trial: Trial, entry: Entry, form_of: Callable[[Case], Form]) -> str | None:
    """Measure every backend, and leave the table with the item; words if nothing could be measured."""
    wanted = trial.settings.nearest("backend") or trial.bench.options.others.names
    made = {name: _made(trial, entry, backend_named(name), form_of) for name in wanted}
    medians = _medians(trial, entry.subject, {name: held for name, (held, _) in made.items() if held is not None})
    rows = [replace(row, median=medians.get(name)) for name, (_, row) in made.items()]
    if EAGER in medians:
        rows.append(BackendRow(EAGER, median=medians[EAGER]))
    fails = all(row.problem for _, row in made.values())
    result = replace(trial.item.stash[RESULT], extra={"backends": [asdict(row) for row in rows]})
    # What fails stands among the other items of the model.
    trial.item.stash[RESULT] = result if fails else replace(result, kind="backends")
    problems = [f"{name}: {row.problem}" for name, (_, row) in made.items()]
    return "\n  ".join(["no backend made anything:", *problems]) if fails else None


def _made(
    trial: Trial, entry: Entry, backend: Backend, form_of: Callable[[Case], Form]
) -> tuple[Held | None, BackendRow]:
    """What a backend makes of the model, and its row without the latency."""
    case = _nearest(trial.case, backend)
    trial.bench.tell(f"converting it with {backend.name}")
    try:
        held: Held = trial.bench.converted(entry, form_of(case), {})
    except SuiteError as error:
        return None, BackendRow(backend.name, str(error))
    row = BackendRow(backend.name, **held.facts, elsewhere=backend.load is not None)
    try:
        outputs = tried(replace(trial, case=case), held, entry.subject).outputs
    except SuiteError as error:
        return None, replace(row, problem=str(error))
    differences = [one.difference for one in outputs]
    wrong = [one.text for one in outputs if not one.fits]
    off = None if any(d.is_broken for d in differences) else max(float(d.relative_to_peak) for d in differences)
    return held, replace(row, max_rel=off, wrong=" ".join(wrong), orders=held.orders)


def _nearest(case: Case, backend: Backend) -> Case:
    """The case in the orders that the backend can give, as near to what is wanted as they are."""
    pairs = [tuple(pair.split("-")) for pair in backend.orders]
    inputs, outputs = max(pairs, key=lambda pair: (pair[0] == case.inputs, pair[1] == case.outputs))
    return Case(inputs, outputs, STATIC, backend.runtime, backend.name)


def _medians(trial: Trial, subject: Subject, made: dict[str, Held]) -> dict[str, float]:
    """Seconds of one run of each on one thread: in turns in this process, or, if it is run elsewhere, there."""
    try:
        refuse_workers()
    except UnavailableError:
        return {}
    trial.bench.tell("timing them in turns")
    here: dict[str, Timed] = {}
    medians = {}
    for name, held in made.items():
        served = trial.bench.backend.serving(name)
        if served.interpreter.backend.load is not None:
            medians[name] = statistics.median(served.timed(held, subject, _SECONDS))
        else:
            here[name] = _ready(held, subject)
    return medians | _in_turns(here, _eager(subject))


def _ready(held: Held, subject: Subject) -> Timed:
    feeds = held.feeds(tensors_of(subject))
    if held.path.suffix != ".tflite":
        return lambda: held.opened.run(feeds)
    from ai_edge_litert.interpreter import Interpreter

    return run_interpreter(Interpreter(model_path=str(held.path), num_threads=1), feeds)


def _eager(subject: Subject) -> Timed | None:
    """PyTorch itself, for comparison; None where there is none."""
    import copy

    import torch

    if not callable(subject.model):
        return None
    model, args, kwargs = copy.deepcopy((subject.model, subject.args, dict(subject.kwargs)))

    def run() -> Any:
        with torch.inference_mode():
            return model(*args, **kwargs)

    return run


def _in_turns(runs: dict[str, Timed], eager: Timed | None) -> dict[str, float]:
    import torch

    runs = {**runs, **({EAGER: eager} if eager else {})}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: statistics.median(times) for name, times in _rounds(runs).items()}
    finally:
        torch.set_num_threads(before)


def _rounds(runs: dict[str, Timed]) -> dict[str, Sequence[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in [*runs.values()] * _WARM_UPS:
        run()
    chance = random.Random(0)
    until, turns = time.perf_counter() + _SECONDS * len(runs), 0
    while turns < _LEAST or (turns < _MOST and time.perf_counter() < until):
        # Each finds the caches as whatever ran before it has left them; so none comes behind the same one always.
        for name, run in chance.sample(list(runs.items()), len(runs)):
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
        turns += 1
    return dict(times)
