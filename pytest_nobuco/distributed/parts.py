"""A part of a session's items: one shard of several, or what an earlier session left to do."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nobuco.errors import InputError
from nobuco.files import is_there
from pytest_nobuco.distributed.deaths import CASE, model_of

DURATIONS = pytest.StashKey[Mapping[str, float]]()
"""How long items took in earlier sessions, in seconds by id."""
DONE = pytest.StashKey[Collection[str]]()
"""The ids of the items that an earlier session has done."""


@dataclass(frozen=True)
class Shard:
    """The part `number` of `count`, from 1 up."""

    number: int
    count: int

    def of(self, items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
        """Its items: of models and converters whole graphs, so that none is converted twice.

        `seconds` are what items took earlier, by id; with them all shards take about as long. All that is not of a
        model or a converter is in the first.
        """
        graphs: dict[str, list[str]] = {}
        for item in items:
            if model_of(item.nodeid) is not None:
                graphs.setdefault(_graph_of(item.nodeid), []).append(item.nodeid)
        others = sum(seconds.get(item.nodeid, 0.0) for item in items if model_of(item.nodeid) is None)
        shard_of = _dealt({graph: _duration(ids, seconds) for graph, ids in graphs.items()}, self.count, others)
        return [item for item in items if shard_of.get(_graph_of(item.nodeid), 0) == self.number - 1]


def _graph_of(nodeid: str) -> str:
    return CASE.sub(r"\1-\2]", nodeid) if model_of(nodeid) is not None else ""


def _duration(ids: Sequence[str], seconds: Mapping[str, float]) -> float | None:
    """How long a graph's items took; None for a new one."""
    known = [seconds[nodeid] for nodeid in ids if nodeid in seconds]
    return sum(known) * len(ids) / len(known) if known else None


def _dealt(durations: Mapping[str, float | None], count: int, others: float) -> dict[str, int]:
    """Which shard each graph goes to: the longest first, each to where least is; a new one counts as the mean.

    Without durations, one after another.
    """
    known = [duration for duration in durations.values() if duration is not None]
    mean = sum(known) / len(known) if known else 1.0
    loads = [others if known else 0.0, *[0.0] * (count - 1)]
    dealt = {}
    for graph in sorted(durations, key=lambda graph: -(mean if (seconds := durations[graph]) is None else seconds)):
        shard = loads.index(min(loads))
        duration = durations[graph]
        loads[shard] += mean if duration is None else duration
        dealt[graph] = shard
    return dealt


def add_part_options(group: Any) -> None:
    """Declare the options."""
    group.addoption(
        "--nobuco-shard",
        type=_shard,
        metavar="I/N",
        help="run the I-th of N parts of the items of models and converters, each graph's together; the parts of N "
        "sessions are all of them, each once",
    )
    group.addoption(
        "--nobuco-durations",
        action="append",
        default=[],
        metavar="FILE",
        help="results of an earlier session, by which the parts of --nobuco-shard take about as long; repeatable",
    )
    group.addoption(
        "--nobuco-results",
        metavar="FILE",
        help="add what each item found to this file of JSON lines as it comes; "
        "'python -m nobuco report' makes reports of such files",
    )
    group.addoption(
        "--nobuco-resume",
        metavar="FILE",
        help="as --nobuco-results, and the items that are done in this file already are not run again",
    )


def results_path(config: pytest.Config) -> Path | None:
    """Where results go as they come; None for nowhere."""
    resumed, wanted = config.getoption("nobuco_resume"), config.getoption("nobuco_results")
    if resumed and wanted:
        raise pytest.UsageError("--nobuco-resume FILE writes to FILE, too: leave --nobuco-results out")
    name = resumed or wanted
    return Path(config.invocation_params.dir, name) if name else None


def find_done(config: pytest.Config) -> None:
    """Learn which items are done already, and how long they took: of xdist's controller, or from files."""
    if hasattr(config, "workerinput"):
        config.stash[DONE] = frozenset(config.workerinput["nobuco_done"])
        config.stash[DURATIONS] = config.workerinput["nobuco_durations"]
        return
    config.stash[DURATIONS] = _durations(config)
    path = results_path(config)
    config.stash[DONE] = frozenset()
    if not config.getoption("nobuco_resume") or path is None or not is_there(path):
        return
    from pytest_nobuco.report.lines import read_lines

    try:
        config.stash[DONE] = read_lines([path]).done
    except InputError as error:
        raise pytest.UsageError(f"--nobuco-resume {error}") from None


def _durations(config: pytest.Config) -> Mapping[str, float]:
    names = config.getoption("nobuco_durations")
    if not names:
        return {}
    from pytest_nobuco.report.lines import read_lines

    try:
        phases = read_lines([Path(config.invocation_params.dir, name) for name in names]).told
    except InputError as error:
        raise pytest.UsageError(f"--nobuco-durations {error}") from None
    seconds = Counter[str]()
    for phase in phases:
        seconds[phase.nodeid] += phase.seconds  # type: ignore[assignment]
    return dict(seconds)


def keep_part(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not of the shard, or is done."""
    shard, done = config.getoption("nobuco_shard"), config.stash[DONE]
    kept = shard.of(items, config.stash[DURATIONS]) if shard else items
    kept = [item for item in kept if item.nodeid not in done]
    if len(kept) < len(items):
        chosen = set(map(id, kept))
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
        items[:] = kept


def _shard(text: str) -> Shard:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard; the first of four is 1/4")
    return Shard(int(match[1]), int(match[2]))
