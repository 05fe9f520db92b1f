"""The hooks. Only the standard library and pytest may be imported here, or by what is imported here.

Every session of every project that has the plugin installed loads this module, so what only suites need is imported
by the hooks that find one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nobuco.baseline import read_baseline
from pytest_nobuco.distributed.parts import DONE, DURATIONS, find_done, keep_part
from pytest_nobuco.ids import keep_ids, take_ids
from pytest_nobuco.isolation import child
from pytest_nobuco.isolation.limits import Limits, limits_of
from pytest_nobuco.latency import setup as latency
from pytest_nobuco.models.cases import case_of, label_of, marked_factory
from pytest_nobuco.models.wrong_markers import WrongMarkers
from pytest_nobuco.options import MARKER, NAMED, add_options, read_options
from pytest_nobuco.report import hooks
from pytest_nobuco.session import BENCH, Bench, cap_threads

if TYPE_CHECKING:
    from pytest_nobuco.models.collect import Collected

# How often xdist replaces a worker: xdist's own few would end a session of many models, though each is given up soon.
_RESTARTS = 10_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Keep benchmarks out of xdist, and what is the parent's out of a child, before other plugins are configured."""
    latency.turn_off_xdist(config)
    if child.is_child():
        child.leave_to_parent(config)
    elif config.getoption(NAMED) and getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = str(_RESTARTS)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and let the models stand in for the paths where none was given."""
    options = read_options(config)
    config.addinivalue_line("markers", MARKER)
    limits = limits_of(config)
    config.stash[BENCH] = Bench(options, baseline=read_baseline(config), limits=limits or Limits())
    find_done(config)
    hooks.register(config)
    config.pluginmanager.register(WrongMarkers(), "nobuco-wrong-markers")
    latency.register(config)
    in_child = child.is_child()
    if in_child:
        child.register(config)
    elif limits is not None:
        from pytest_nobuco.isolation.parent import Isolation

        config.pluginmanager.register(Isolation(config, limits), "nobuco-isolation")
    if options.fuzz:
        from pytest_nobuco.models.fuzz import check_hypothesis

        check_hypothesis()
    take_ids(config, options)
    if not options.models and not options.converters:
        return
    _refuse_copies(config)
    if options.models:
        from pytest_nobuco.models.collect import check_named

        check_named(options)
    # As `python -m` does: a package under development is found without being installed.
    directory = str(config.invocation_params.dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
        config.add_cleanup(lambda: sys.path.remove(directory) if directory in sys.path else None)
    if config.args_source is not config.ArgsSource.ARGS:
        config.args, config.args_source = [], config.ArgsSource.ARGS
    if options.models and not in_child:
        from pytest_nobuco.models import preflight

        preflight.register(config)


# First, since xdist starts its workers here.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse what cannot be right in any item: patterns without converters, and unreadable known gaps."""
    if _has_gaps(session.config):
        from pytest_nobuco import xfails

        session.config.stash[xfails.XFAILS] = xfails.read_all(session.config)
    if session.config.stash[BENCH].options.converters:
        from pytest_nobuco.converters.items import check_patterns

        check_patterns(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist what was asked for, which it cannot see."""
    from pytest_nobuco.xfails import paths_given

    node.workerinput["nobuco_paths"] = paths_given(node.config)
    node.workerinput["nobuco_done"] = sorted(node.config.stash[DONE])
    node.workerinput["nobuco_durations"] = dict(node.config.stash[DURATIONS])


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Mark the known gaps; leave out what is not of this part."""
    ours = [item for item in items if _is_ours(item)]
    if ours:
        _refuse_copies(session.config)
    if _has_gaps(session.config):
        from pytest_nobuco import xfails

        items += xfails.mark(session, ours)
    keep_ids(session.config, items)
    keep_part(session.config, items)


def _refuse_copies(config: pytest.Config) -> None:
    """Refuse pytest-forked, in whose copies of a process that has used PyTorch it waits for its threads for ever."""
    if config.getoption("forked", False):
        raise pytest.UsageError(
            "--forked: PyTorch does not run in a copy of a process that has used it; "
            "--nobuco-isolate runs each model in a process of its own"
        )


def _is_ours(item: pytest.Item) -> bool:
    if case_of(item) is not None:
        return True
    items = sys.modules.get("pytest_nobuco.converters.items")  # there are none of a converter where it is not loaded
    return items is not None and isinstance(item, items.ConverterItem)


def _has_gaps(config: pytest.Config) -> bool:
    return bool(config.getini("nobuco_xfails") or config.getoption("nobuco_xfails"))


def pytest_markeval_namespace(config: pytest.Config) -> dict[str, Any]:
    """What the conditions of known gaps may ask for besides pytest's own."""
    if not _has_gaps(config):
        return {}
    from pytest_nobuco.xfails import version

    return {"version": version}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Put the models in front of the session's files.

    In front, since `--lf` skips files without failures as soon as it has met one with.
    """
    report = yield
    if isinstance(collector, pytest.Session) and report.passed:
        options = collector.config.stash[BENCH].options
        if options.converters:
            from pytest_nobuco.converters.items import ConverterModule

            report.result = [ConverterModule.of(collector), *report.result]
        if options.models:
            from pytest_nobuco.models.collect import ModelModule

            report.result = [ModelModule.of(collector, options), *report.result]
    return report


def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> Collected:
    """Collect what has the `convert` marker."""
    if marked_factory(obj) is None:
        return None
    from pytest_nobuco.models.collect import collect_marked

    return collect_marked(collector, name, obj)


# Last, so that the case stands at the end of an id, after the function's own parameters.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a suite of what has the `convert` marker; one on its class or module makes none of it."""
    if any(mark.name == "convert" for mark in metafunc.definition.own_markers):
        from pytest_nobuco.models.collect import parametrize_cases

        parametrize_cases(metafunc)


@pytest.fixture
def nobuco_imported(request: pytest.FixtureRequest) -> Any:
    """What `--nobuco-model` names.

    Imported in set-up, so that a wrong name is an error of its own items and not a failed comparison.
    """
    from pytest_nobuco.errors import SuiteError
    from pytest_nobuco.models.collect import named_model

    model = named_model(request.node)
    assert model is not None, "nobuco_imported is for the suites of --nobuco-model"
    try:
        return request.config.stash[BENCH].imported(model)
    except SuiteError as error:
        message = f"{model.place or '--nobuco-model'}: {error}"
        if error.__cause__ is not None and request.config.option.fulltrace:
            raise
    pytest.fail(message, pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say whose result it will be, also if set-up fails."""
    case = case_of(item)
    if case is not None:
        from pytest_nobuco.models.collect import model_name

        cap_threads(os.environ)
        label = model_name(item) or label_of(item, case)
        item.user_properties += [("nobuco_model", label), ("nobuco_case", case.id)]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the suite in place of the factory, which is no test itself."""
    if case_of(pyfuncitem) is None:
        return None
    from pytest_nobuco.models.suite import run_item

    run_item(pyfuncitem)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the items of one graph together, unless the user chose how to distribute; outlive models that crash."""
    if config.stash[BENCH].options.models:
        from pytest_nobuco.distributed.scheduling import scheduling

        return scheduling(config, log)
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """Say what helps where an item ended a worker of xdist."""
    from pytest_nobuco.distributed.scheduling import tell_death

    tell_death(crashitem, report, sched)
