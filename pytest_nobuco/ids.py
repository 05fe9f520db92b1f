"""Ids on the command line, as pytest prints them for models and converters: `nobuco::Net[nhwc-nhwc-static-keras]`.

No file is called `nobuco`, so they are taken out of the paths before pytest looks for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_nobuco.options import Options

IDS = pytest.StashKey[tuple[str, ...]]()
"""The ids that were given; none where all items run."""
_PREFIX = "nobuco::"


def take_ids(config: pytest.Config, options: Options) -> None:
    """Take the ids out of the paths; `pytest.UsageError` where no model or converter was asked for, or another."""
    ids = [arg for arg in config.args if arg.startswith(_PREFIX)]
    config.stash[IDS] = ()
    if not ids or Path(config.invocation_params.dir, "nobuco").is_file():
        return
    if not options.models and not options.converters:
        raise pytest.UsageError(f"{ids[0]}: to run it say what it is: --nobuco-model NAME, --nobuco-models FILE, ...")
    shorts = {model.name: model.short for model in options.models}
    wanted = []
    for id_ in ids:
        name, bracket, case = id_.removeprefix(_PREFIX).partition("[")
        name = shorts.get(name, name)
        if not options.converters and name not in shorts.values():
            raise pytest.UsageError(f"{id_}: there is no such item{_near(name, list(shorts.values()))}")
        wanted.append(f"{_PREFIX}{name}{bracket}{case}")
    config.stash[IDS] = tuple(wanted)
    config.args = [arg for arg in config.args if not arg.startswith(_PREFIX)]


def keep_ids(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what the ids name of the models and converters; `pytest.UsageError` for an id of no item."""
    ids = config.stash[IDS]
    if not ids:
        return
    stems = {item.nodeid: {item.nodeid, item.nodeid.partition("[")[0]} for item in items}
    known = {stem for nodeid, found in stems.items() if nodeid.startswith(_PREFIX) for stem in found}
    missing = [id_ for id_ in ids if id_ not in known]
    if missing and not hasattr(config, "workerinput"):
        raise pytest.UsageError(f"{missing[0]}: there is no such item{_near(missing[0], sorted(known))}")
    items[:] = [i for i in items if not i.nodeid.startswith(_PREFIX) or stems[i.nodeid].intersection(ids)]


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"; did you mean {near[0]!r}?" if near else ""
