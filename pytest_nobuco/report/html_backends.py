"""Backends side by side on the page: a table for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nobuco.report.html.markup import Markup, tag
from pytest_nobuco.backends.table import HEADS, NOTE, BackendRow, words_of


def backends_html(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """The section of all tables."""
    sections = [_table(model, [BackendRow(**row) for row in rows]) for model, rows in tables.items()]
    return tag("section", tag("h2", "Backends"), sections, tag("div", tag("p", NOTE), class_="notes"), id="backends")


def _table(model: str, rows: Sequence[BackendRow]) -> Markup:
    head = tag("tr", [tag("th", word, scope="col", class_="number" if word else None) for word in HEADS])
    problems = [tag("p", f"{row.backend}: {row.problem or row.wrong}") for row in rows if row.problem or row.wrong]
    table = tag("table", tag("thead", head), tag("tbody", [_line(row) for row in rows]))
    return tag("div", tag("h3", model), table, problems, class_="latency")


def _line(row: BackendRow) -> Markup:
    name, *figures = words_of(row)
    return tag("tr", tag("th", name, scope="row"), [tag("td", figure, class_="number") for figure in figures])
