"""Latency on the page: a bar for each runtime of each model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nobuco.report.html.markup import Markup, tag
from pytest_nobuco.latency.table import milliseconds
from pytest_nobuco.report.latency import by_model, facts, notes, runtime_text, speed_up_text
from pytest_nobuco.results import LatencyRow

_LOGARITHMIC_FROM = 30
"""Beyond this ratio of the slowest to the fastest, a linear bar of the fastest could not be seen."""


_CLASSES = {"median": "number", "± IQR": "number", "speed-up": "number", "what ran": "told"}


def latency_html(rows: Sequence[LatencyRow]) -> Markup:
    """The section with a group of bars per model."""
    groups = [_model(model, members) for model, members in by_model(rows).items()]
    remarks = [tag("p", note) for note in notes(rows)]
    return tag("section", tag("h2", "Latency"), groups, tag("div", remarks, class_="notes"), id="latency")


def _model(model: str, rows: Sequence[LatencyRow]) -> Markup:
    times = [row.median for row in rows]
    logarithmic = min(times) > 0 and max(times) / min(times) > _LOGARITHMIC_FROM
    start = 10.0 ** math.floor(math.log10(min(times)) - 0.01) if logarithmic else 0.0
    lines = [_line(row, rows, start, max(times)) for row in rows]
    ends = f"{milliseconds(start)} to {milliseconds(max(times))}"
    scale = f"logarithmic, {ends}" if logarithmic else f"linear, {ends}"
    heads = ["runtime", scale, "median", "± IQR", "speed-up", "what ran"]
    head = tag("tr", [tag("th", word, scope="col", class_=_CLASSES.get(word)) for word in heads])
    table = tag("table", tag("thead", head), tag("tbody", lines))
    # Narrow screens have no heads.
    return tag("div", tag("h3", model), tag("p", f"bars: {scale}", class_="scale dim"), table, class_="latency")


def _line(row: LatencyRow, rows: Sequence[LatencyRow], start: float, longest: float) -> Markup:
    bar = tag("span", class_="length", style=f"width: {100 * _share(row.median, start, longest):.1f}%")
    device = tag("span", row.device, class_="dim")
    text = facts(row)
    return tag(
        "tr",
        tag("th", runtime_text(row), scope="row"),
        tag("td", bar, class_="bar", aria_hidden="true"),
        tag("td", milliseconds(row.median), class_="number"),
        tag("td", milliseconds(row.iqr), class_="number dim"),
        tag("td", speed_up_text(row, rows), class_="number"),
        tag("td", text, " · " if text else None, device, class_="told"),
        class_=row.runtime,
    )


def _share(time: float, start: float, longest: float) -> float:
    if start:
        return math.log(time / start) / math.log(longest / start)
    return time / longest if longest else 0.0
