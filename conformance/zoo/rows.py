"""Rows in a file, one JSON object a line; of several of one network the last one counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar


class AnyRow(Protocol):
    """What one network came to, in one way of measuring; `error` is how its process ended."""

    name: str
    zoo: str
    error: str

    @property
    def is_right(self) -> bool:
        """Whether there is nothing left to do."""

    def line(self, verbose: bool) -> str:
        """The row in words."""


R = TypeVar("R", bound=AnyRow)


def read(path: Path, kind: type[R]) -> Mapping[tuple[str, str], R]:
    """The rows of a file by zoo and name; none of a file that is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {(row.zoo, row.name): row for row in (parsed(line, kind) for line in lines)}


def add(path: Path, row: Any) -> None:
    """Add a row to the end of a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(asdict(row))}\n")


def parsed(line: str, kind: type[R]) -> R:
    """A row from its line."""
    fields = json.loads(line)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
