"""The results of a session as they come: a file of JSON lines; an end at any moment loses one item at most.

The first line of a session has its command and environment, the last says that it ended, each other what one phase of
an item told. Sessions append: a later result of an item stands in for the earlier one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from nobuco.errors import InputError
from nobuco.files import file_at, text_of
from pytest_nobuco.report.data import SuiteReport
from pytest_nobuco.report.gather import Gathered, Told
from pytest_nobuco.results import from_wire, to_wire

FORMAT = 1


@dataclass
class ResultsFile:
    """Where a session writes; the file is made when there is something to write."""

    path: Path
    _file: TextIO | None = field(default=None, repr=False)

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Say what session this is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file_at(self.path)  # no device or pipe, which cannot be read again
        cut = _is_cut(self.path)
        self._file = self.path.open("a", encoding="ascii", newline="\n")
        if cut:  # the last session was killed in the middle of a line
            self._file.write("\n")
        self._write({"session": {"format": FORMAT, **facts}})

    def add(self, phase: Told) -> None:
        """Write a line, to the disk."""
        result = phase.result and to_wire(phase.result)
        self._write({**{name: value for name, value in vars(phase).items() if value is not None}, "result": result})

    def end(self, complete: bool) -> None:
        """Say that the session has ended, and whether it was by itself."""
        self._write({"end": {"complete": complete}})

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None, "begin comes first"
        # All of it in ASCII: a message may hold half of a surrogate pair, or what Python takes for the end of a line.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _is_cut(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


@dataclass(frozen=True)
class Lines:
    """What a file holds, or several together."""

    told: tuple[Told, ...] = ()
    sessions: tuple[Mapping[str, Any], ...] = ()
    complete: bool = True
    """Whether the last session of each file ran to its end."""

    @property
    def done(self) -> frozenset[str]:
        """The items that came to their end."""
        return frozenset(phase.nodeid for phase in self.told if phase.ends)

    def into(self, gathered: Gathered) -> Gathered:
        """Add what was told of the items that came to their end."""
        done = self.done
        for phase in self.told:
            if phase.nodeid in done:
                gathered.add(phase)
        return gathered


def read_lines(paths: Sequence[Path]) -> Lines:
    """Read files of results; of an item that several tell of, the last counts.

    Raises:
        InputError: a file is not there, or has a line that no session wrote, other than a last one cut short.
    """
    sessions: list[Mapping[str, Any]] = []
    by_item: dict[str, list[Told]] = {}
    open_items: set[str] = set()
    complete = True
    for path in paths:
        ended = False
        for line in _objects(path):
            if "session" in line or "end" in line:
                sessions += [line["session"]] if "session" in line else []
                ended = line.get("end", {}).get("complete", False)
                open_items.clear()
                continue
            phase = _told(line)
            if phase.nodeid not in open_items:
                by_item.pop(phase.nodeid, None)  # to its place at the end
                by_item[phase.nodeid] = []
                open_items.add(phase.nodeid)
            by_item[phase.nodeid].append(phase)
            if phase.ends:
                open_items.discard(phase.nodeid)
        complete = complete and ended
    return Lines(tuple(phase for phases in by_item.values() for phase in phases), tuple(sessions), complete)


def merged(paths: Sequence[Path]) -> SuiteReport:
    """The report of all sessions together: every item once."""
    lines = read_lines(paths)
    last = lines.sessions[-1] if lines.sessions else {}
    return lines.into(Gathered()).report(
        environment=last.get("environment", {}),
        command="\n".join(dict.fromkeys(session.get("command", "") for session in lines.sessions)),
        date=str(last.get("date", "")),
        seconds=sum(phase.seconds for phase in lines.told),
        complete=lines.complete,
    )


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = text_of(path).splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            valid = isinstance(entry, dict) and _is_of_ours(entry)
        except (json.JSONDecodeError, RecursionError):
            valid = False
        if valid:
            yield entry
        elif number == 1:
            raise InputError(f"{path}: this is no file of --nobuco-results: {line[:60]!r}")
        # Any other was cut short as its session was killed.


def _is_of_ours(line: Mapping[str, Any]) -> bool:
    kinds = {"session": dict, "end": dict, "nodeid": str}
    return any(isinstance(line.get(name), kind) for name, kind in kinds.items())


def _told(line: Mapping[str, Any]) -> Told:
    result = line.get("result")
    try:
        return Told(**{**line, "result": from_wire(result) if result else None})
    except (TypeError, KeyError, AttributeError, ValueError):
        raise InputError(
            f"the results of {line['nodeid']} are of another version of nobuco: write them again"
        ) from None
