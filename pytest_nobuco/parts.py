"""A part of a session's items: one shard of several, or what an earlier session left to do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nobuco.errors import InputError
from pytest_nobuco.deaths import CASE, model_of

DONE = pytest.StashKey[Collection[str]]()
"""The ids of the items that an earlier session has done."""


@dataclass(frozen=True)
class Shard:
    """The part `number` of `count`, from 1 up."""

    number: int
    count: int

    def of(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Its items: of models and converters every `count`th graph, so that none is converted twice.

        All that is not of a model or a converter is in the first shard.
        """
        graphs: dict[str, int] = {}
        kept = []
        for item in items:
            if model_of(item.nodeid) is None:
                place = 0
            else:
                place = graphs.setdefault(CASE.sub(r"\1-\2]", item.nodeid), len(graphs))
            if place % self.count == self.number - 1:
                kept.append(item)
        return kept


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
    """Learn which items are done already: of xdist's controller, or from the file."""
    if hasattr(config, "workerinput"):
        config.stash[DONE] = frozenset(config.workerinput["nobuco_done"])
        return
    path = results_path(config)
    config.stash[DONE] = frozenset()
    if not config.getoption("nobuco_resume") or path is None or not path.exists():
        return
    from pytest_nobuco.report.lines import read_lines

    try:
        config.stash[DONE] = read_lines([path]).done
    except InputError as error:
        raise pytest.UsageError(f"--nobuco-resume {error}") from None


def keep_part(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not of the shard, or is done."""
    shard, done = config.getoption("nobuco_shard"), config.stash[DONE]
    kept = shard.of(items) if shard else items
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
