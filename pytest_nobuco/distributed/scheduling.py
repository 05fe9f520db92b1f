"""Under xdist: items that share a conversion run on one worker, and a model that ends workers does so twice at most."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling, LoadGroupScheduling, LoadScopeScheduling
from xdist.workermanage import WorkerController

from pytest_nobuco.distributed.deaths import CASE, GIVEN_UP, MOST_DEATHS, failing, model_of
from pytest_nobuco.results import ItemResult, to_wire
from pytest_nobuco.session import BENCH


class SurvivingScheduling(LoadScopeScheduling):
    """As xdist's, but an item that ended its worker is not put back: it would end the next one, and so on."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._deaths: Counter[str] = Counter()

    def remove_node(self, node: WorkerController) -> str | None:
        """The item that the worker died of, if there is one; what it had yet to run goes to the others."""
        workload = self.assigned_work.pop(node)
        pending = [(unit, nodeid) for unit in workload.values() for nodeid, done in unit.items() if not done]
        if not pending:
            return None
        unit, crashed = pending[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in workload.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def _assign_work_unit(self, node: WorkerController) -> None:
        try:
            super()._assign_work_unit(node)
        except OSError:  # it has ended, which xdist learns later: what it never got is not what it died of
            scope, unit = self.assigned_work[node].popitem()
            self.workqueue[scope] = unit
            self.workqueue.move_to_end(scope, last=False)

    def _reschedule(self, node: WorkerController) -> None:
        """As xdist's, but never one item alone, where there are more.

        A worker runs an item once it knows the next one, or that there is none, so the session would wait for ever.
        xdist sees to it at the start; the rest of a unit that ended its worker may be one item, too.
        """
        if node not in self.registered_collections:  # it is about to start in place of one that ended
            return
        super()._reschedule(node)
        if self.workqueue and self._pending_of(self.assigned_work[node]) == 1:
            super()._reschedule(node)

    def abandoned(self, crashed: str) -> list[str]:
        """The items that are not run anymore since an item of the same model ended its worker."""
        model = model_of(crashed)
        if model is None:
            return []
        self._deaths[model] += 1
        if self._deaths[model] < MOST_DEATHS:
            return []
        items = [nodeid for unit in self.workqueue.values() for nodeid, done in unit.items() if not done]
        items = [nodeid for nodeid in items if model_of(nodeid) == model]
        for scope, unit in list(self.workqueue.items()):
            unit.update({nodeid: True for nodeid in items if nodeid in unit})
            if all(unit.values()):
                del self.workqueue[scope]
        return items


class GraphScheduling(SurvivingScheduling):
    """Hands out the items of one graph together, all others one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return CASE.sub(r"\1-\2]", nodeid)


class _ByFile(SurvivingScheduling, LoadFileScheduling): ...


class _ByGroup(SurvivingScheduling, LoadGroupScheduling): ...


_BY_NAME = {
    "load": GraphScheduling,
    "loadscope": SurvivingScheduling,
    "loadfile": _ByFile,
    "loadgroup": _ByGroup,
}


def scheduling(config: pytest.Config, log: Any) -> Any:
    """What distributes a session with models; None leaves it to xdist."""
    kind = _BY_NAME.get(config.getoption("dist"))
    return kind and kind(config, log)


def tell_death(crashed: str, report: pytest.TestReport, sched: Any) -> None:
    """Say in the report of an item that ended its worker what shows more, and fail those that are given up."""
    if model_of(crashed) is None:
        return
    report.longrepr = f"{report.longrepr}\n--nobuco-isolate shows where: it runs each model in a process of its own"
    _name(report, sched.config)
    for nodeid in sched.abandoned(crashed) if isinstance(sched, SurvivingScheduling) else ():
        given_up = failing(nodeid, report.location, GIVEN_UP, when=report.when)
        _name(given_up, sched.config)
        sched.config.hook.pytest_runtest_logreport(report=given_up)


def _name(report: pytest.TestReport, config: pytest.Config) -> None:
    """Put on a report of xdist's, which knows no more than an id, whose result it is."""
    stem, _, case = report.nodeid.partition("[")
    report.location = (report.location[0], None, report.nodeid.rpartition("::")[2])
    names = {f"nobuco::{model.short}": model.label for model in config.stash[BENCH].options.models}
    report.nobuco = to_wire(ItemResult("parity", names.get(stem, stem), case.removesuffix("]")))  # type: ignore[attr-defined]
