"""`--nobuco-xfails`: known gaps, from a file that people write.

A line is `PATTERN  # REASON [; CONDITION]`. The pattern, in which `*` and `?` stand for any text, is matched with
what an item's id has behind `::`. The condition is Python as in `pytest.mark.xfail`, which knows `version("torch")`
besides. Marks are strict, and a line that matches no item is a failing item, so that the file says no more than
what is true.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nobuco.files import text_of
from pytest_nobuco.ids import IDS


@dataclass(frozen=True)
class Gap:
    """One line of a file."""

    pattern: str
    reason: str
    condition: str | None
    path: Path
    line: int

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.path.name}:{self.line}"

    def matching(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """The items that it speaks of."""
        wild = re.compile(re.escape(self.pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        return [item for item in items if wild.fullmatch(item.nodeid.partition("::")[2])]

    @property
    def mark(self) -> pytest.MarkDecorator:
        """What its items get."""
        conditions = () if self.condition is None else (self.condition,)
        return pytest.mark.xfail(*conditions, reason=f"{self.reason} ({self.place})", strict=True)


XFAILS = pytest.StashKey[list[Gap]]()


def read_all(config: pytest.Config) -> list[Gap]:
    """The known gaps of all files that the ini file and the command line name.

    Raises:
        pytest.UsageError: a file is missing, or a line is not of the form.
    """
    base = config.invocation_params.dir
    named = {base / name: "--nobuco-xfails" for name in config.getoption("nobuco_xfails")}
    places = {Path(name): "ini key nobuco_xfails:" for name in config.getini("nobuco_xfails")} | named
    return [gap for path, place in places.items() for gap in read(path, place)]


def read(path: Path, place: str) -> list[Gap]:
    """The known gaps of a file that stands at this place; empty lines and those of `#` are left to the reader."""
    try:
        lines = text_of(path).splitlines()
    except OSError as error:
        raise pytest.UsageError(f"{place} {path}: {error.strerror}") from None
    return [_parsed(path, number, text) for number, text in enumerate(lines, 1) if text.strip()[:1] not in ("", "#")]


def _parsed(path: Path, number: int, text: str) -> Gap:
    pattern, hash_, rest = text.partition("  #")
    reason, semicolon, condition = rest.partition(";")
    place = f"{path}:{number}"
    if not hash_ or not reason.strip():
        raise pytest.UsageError(
            f"{place}: {text.strip()!r} gives no reason; the form is PATTERN  # REASON [; CONDITION]"
        )
    if semicolon:
        try:
            compile(condition.strip(), place, "eval")
        except SyntaxError as error:
            wrong = f"{condition.strip()!r} is none: {error.msg}"
            raise pytest.UsageError(f"{place}: what stands behind ';' is a condition in Python, and {wrong}") from None
    return Gap(pattern.strip(), reason.strip(), condition.strip() if semicolon else None, path, number)


def mark(session: pytest.Session, items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Mark the items that are known gaps; returns an item that fails for each line that matches none of them."""
    stale = []
    for gap in session.config.stash.get(XFAILS, []):
        matched = gap.matching(items)
        for item in matched:
            item.add_marker(gap.mark)
        if not matched and _collects_all(session, gap.path):
            stale.append(gap)
    return [
        StaleItem.from_parent(session, name=gap.place, nodeid=f"{gap.path.name}::line-{gap.line}", gap=gap)
        for gap in stale
    ]


class StaleItem(pytest.Item):
    """Fails, since there is nothing that its line could speak of."""

    def __init__(self, *, gap: Gap, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gap = gap

    def reportinfo(self) -> tuple[Path, int, str]:
        """The line in the file."""
        return self.gap.path, self.gap.line - 1, self.name

    def runtest(self) -> None:
        """Say so."""
        pytest.fail(f"{self.gap.place}: {self.gap.pattern!r} matches no item; remove the line", pytrace=False)


def _collects_all(session: pytest.Session, path: Path) -> bool:
    """Whether everything that a file of gaps may speak of was collected: nothing narrows the run.

    The paths of the command line must hold the file itself, as `pytest conformance` does with
    `conformance/xfails.txt`.
    """
    config = session.config
    narrowing = ("keyword", "markexpr", "deselect", "lf", "stepwise")
    if session.testsfailed or config.stash[IDS] or any(config.getoption(name, None) for name in narrowing):
        return False
    if set(config.getoption("nobuco_converters")) - {"*"}:
        return False
    paths = config.workerinput["nobuco_paths"] if hasattr(config, "workerinput") else paths_given(config)
    folders = [Path(config.invocation_params.dir, name) for name in paths]
    inside = [folder for folder in folders if folder.is_dir() and path.resolve().is_relative_to(folder.resolve())]
    return bool(inside) or not paths


def paths_given(config: pytest.Config) -> list[str]:
    """The paths on the command line; none where the ini file or the plugin chose what to collect.

    A worker of xdist is given paths in any case, so the controller has to tell it.
    """
    return list(config.args) if config.args_source is config.ArgsSource.ARGS else []


def version(distribution: str) -> tuple[int, ...]:
    """The numbers of an installed distribution's version, for conditions: `version("torch") < (2, 9)`."""
    numbers = re.match(r"[\d.]*", importlib.metadata.version(distribution))
    assert numbers is not None
    return tuple(int(part) for part in numbers[0].split(".") if part)
