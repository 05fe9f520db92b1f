"""Generated items: every suite's model on every runtime, through pytest-benchmark.

Hooks, registered beside the plugin's own. A suite gets, next to its items of parity, a second function of the
same name which has `benchmark` in its signature; that is how `--benchmark-only` and `--benchmark-skip` know it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import bound_for
from pytest_nobuco.latency.spec import OPTIONS, LatencyCase, case_named, has_benchmark, latency_cases
from pytest_nobuco.matrix import STATIC, Case
from pytest_nobuco.models.cases import marks_of
from pytest_nobuco.models.collect import model_name
from pytest_nobuco.session import BENCH, cap_threads
from pytest_nobuco.settings import settings_of

PARAMETER = "nobuco_latency_case"
# What pytest-benchmark remarks on an item that fails before anything could be timed.
_UNUSED = pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")


def latency_case_of(item: pytest.Item) -> LatencyCase | None:
    """The case that an item times; None for anybody else's item."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get(PARAMETER) if callspec else None
    return None if name is None else case_named(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Any, Any]:
    """Add the items of latency to a suite; with `--benchmark-only`, put them in the place of the others."""
    items = yield
    options = collector.config.stash[OPTIONS]
    if not options.wanted or not isinstance(items, list) or not any(_is_parity(item) for item in items):
        return items
    factory = obj.__func__ if type(obj) is staticmethod or type(obj) is classmethod else obj
    if "__test__" in vars(factory):
        return items  # what the collector shows to pytest in place of the factory, which is collected right now
    shown = _shown(factory, has_benchmark(collector.config))
    timed = collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=shown)
    return timed if options.only else [*items, *timed]


def _is_parity(item: Any) -> bool:
    return "nobuco_case" in getattr(getattr(item, "callspec", None), "params", {})


def _shown(factory: Any, with_benchmark: bool) -> Any:
    """The factory as pytest collects it: with a parameter for the case, and one that makes it a benchmark."""

    @functools.wraps(factory, updated=())
    def shown() -> None: ...

    signature = inspect.signature(factory)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    added = [PARAMETER, "benchmark"] if with_benchmark else [PARAMETER]
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in added]
    shown.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    # Without the marker that makes it a suite of parity; the items still find it on the factory.
    shown.pytestmark = [mark for mark in marks_of(factory) if mark.name != "convert"]  # type: ignore[attr-defined]
    shown.__test__ = True  # type: ignore[attr-defined]
    return shown


# Last, so that the case stands at the end of an id, after the function's own parameters.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the function that `_shown` made its cases."""
    if PARAMETER in metafunc.fixturenames:
        cases = latency_cases(metafunc.config.stash[OPTIONS].threads)
        metafunc.parametrize(PARAMETER, [pytest.param(case.name, id=case.id, marks=_UNUSED) for case in cases])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Time the model in place of the factory, which is no test itself."""
    case = latency_case_of(pyfuncitem)
    if case is None:
        return None
    run_latency_item(pyfuncitem, case)
    return True


def run_latency_item(item: pytest.Function, case: LatencyCase) -> None:
    """Build, convert, time and compare."""
    __tracebackhide__ = True
    from pytest_nobuco.latency.absent import NO_BENCHMARK
    from pytest_nobuco.latency.measure import measure, refuse_workers, runtimes_of
    from pytest_nobuco.models.suite import Trial

    skipped = failure = None
    bench = item.config.stash[BENCH]
    settings = settings_of(item.iter_markers("convert"), bench.options)
    trial = Trial(item, case, model_name(item), bench, settings)  # type: ignore[arg-type]
    cap_threads(os.environ)
    try:
        if "benchmark" not in item.funcargs:
            raise UnavailableError(NO_BENCHMARK)
        refuse_workers()
        measure(
            item,
            item.funcargs["benchmark"],
            runtimes_of(item.config),
            _deployed(trial),
            case,
            bench.backend,
            lambda *output: bound_for(settings.markers, bench.options, output=output),
        )
    except UnavailableError as error:
        skipped = str(error)
    except SuiteError as error:
        if error.__cause__ is not None and type(error.__cause__).__module__.partition(".")[0] != "nobuco":
            raise  # the traceback of the user's own code says more than we can
        failure = f"{item.name}: {error}\n  reproduce: {trial.command} --benchmark-only"
    # Outside the handlers, so that pytest does not show the message twice, as an error during another.
    if skipped:
        pytest.skip(skipped)
    if failure:
        pytest.fail(failure, pytrace=False)


def _deployed(trial: Any) -> Any:
    """The suite's model, converted as one would deploy it: channels last, unless the suite excludes that."""
    from pytest_nobuco.latency.deployed import Deployed
    from pytest_nobuco.models.suite import form_of, subject_of

    entry = trial.bench.entry(trial.key, lambda: subject_of(trial))
    static = [case for case in trial.settings.cases() if case.shape == STATIC]
    channels_last = next((case for case in static if (case.inputs, case.outputs) == ("nhwc", "nhwc")), static[0])
    form, _ = form_of(replace(trial, case=Case(channels_last.inputs, channels_last.outputs, STATIC, "tflite")), entry)
    return Deployed(trial.model, entry.subject, trial.bench.converted(entry, form, trial.settings.arguments))
