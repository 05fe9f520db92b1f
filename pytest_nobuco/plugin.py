"""The hooks. Only the standard library and pytest may be imported here, or by what is imported here."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

from pytest_nobuco import suite
from pytest_nobuco.collect import Collected, ModelModule, collect_marked, model_name, parametrize_cases
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.options import MARKER, add_options, read_options
from pytest_nobuco.resolve import resolve
from pytest_nobuco.summary import summarize


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and let the models stand in for the paths where none was given."""
    options = read_options(config)
    config.addinivalue_line("markers", MARKER)
    config.stash[suite.BENCH] = suite.Bench(options)
    if not options.models:
        return
    # As `python -m` does: a package under development is found without being installed.
    directory = str(config.invocation_params.dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
        config.add_cleanup(lambda: sys.path.remove(directory) if directory in sys.path else None)
    if config.args_source is not config.ArgsSource.ARGS:
        config.args, config.args_source = [], config.ArgsSource.ARGS


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Put the models in front of the session's files.

    In front, since `--lf` skips files without failures as soon as it has met one with.
    """
    report = yield
    if isinstance(collector, pytest.Session) and report.passed:
        options = collector.config.stash[suite.BENCH].options
        if options.models:
            report.result = [ModelModule.of(collector, options), *report.result]
    return report


def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> Collected:
    """Collect what has the `convert` marker."""
    return collect_marked(collector, name, obj)


# Last, so that the case stands at the end of an id, after the function's own parameters.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a suite of what has the `convert` marker."""
    parametrize_cases(metafunc)


@pytest.fixture
def nobuco_imported(request: pytest.FixtureRequest) -> Any:
    """What `--nobuco-model` names.

    Imported in set-up, so that a wrong name is an error of its own items and not a failed comparison.
    """
    name = model_name(request.node)
    assert name is not None, "nobuco_imported is for the suites of --nobuco-model"
    try:
        return resolve(name)
    except SuiteError as error:
        if error.__cause__ is not None:
            raise
        pytest.fail(str(error), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say whose result it will be, also if set-up fails."""
    case = suite.case_of(item)
    if case is not None:
        suite.cap_threads(os.environ)
        label = model_name(item) or item.nodeid.partition("[")[0]
        item.user_properties += [("nobuco_model", label), ("nobuco_case", case.id)]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the suite in place of the factory, which is no test itself."""
    if suite.case_of(pyfuncitem) is None:
        return None
    suite.run_item(pyfuncitem, model_name(pyfuncitem))
    return True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print one line per model."""
    lines = list(summarize(terminalreporter.stats))
    if lines:
        terminalreporter.section("nobuco")
    for good, line in lines:
        terminalreporter.write_line(line, **({} if good else {"red": True}))
