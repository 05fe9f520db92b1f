"""Rows in a file, one JSON object a line; of several of one network the last one counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from conformance.zoo.measure import Row


def read(path: Path) -> Mapping[tuple[str, str], Row]:
    """The rows of a file by zoo and name; none of a file that is not there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {(row.zoo, row.name): row for row in map(parsed, lines)}


def add(path: Path, row: Row) -> None:
    """Add a row to the end of a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(asdict(row))}\n")


def parsed(line: str) -> Row:
    """A row from its line."""
    fields = json.loads(line)
    return Row(**{**fields, "inputs": tuple(fields["inputs"]), "warned": tuple(fields["warned"])})
