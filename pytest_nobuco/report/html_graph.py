"""A conversion on the page: where to look, the error along it as a strip, and the tree of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nobuco.report.html.calls import MEANINGS, read_graph
from nobuco.report.html.markup import Markup, tag
from nobuco.report.html.strip import strip_html
from nobuco.report.html.tree import tree_html
from nobuco.report.html.view import View
from pytest_nobuco.report.data import Cell, runtime_of


def graph_html(data: Mapping[str, Any], cell: Cell, name: str, more: int) -> Markup | None:
    """The conversion that a form of a model came from; `more` is how many others are not shown."""
    graph = read_graph(data)
    if not graph.calls:
        return None
    view = View.of(graph, name)
    body = [tag("p", _lesson(view, cell), class_="lesson"), strip_html(view), tree_html(view)]
    if more:
        body.append(tag("p", f"The JSON report has {more} more of this model's conversions.", class_="dim"))
    title = tag("summary", tag("h3", "Conversion"), " ", tag("span", cell.case, class_="dim"))
    return tag("details", title, body, class_="graph", open=cell.fails)


def _lesson(view: View, cell: Cell) -> list[str | Markup]:
    """Where to look, in a sentence."""
    if view.culprit is not None:
        link = tag("a", view.culprit.label, href=f"#{view.id(view.culprit)}")
        return ["Goes wrong first in ", link, f": {MEANINGS[view.culprit.status]}."]
    if cell.fails and cell.worst_node:
        return [f"Culprit: {cell.worst_node}."]
    if cell.fails and runtime_of(cell) == "keras":
        return ["Each call of the Keras model is within its bound by itself; see what the failure says."]
    if cell.fails:
        return ["Each call of the Keras model is within its bound, so look at the runtime, not at a converter."]
    return ["Each call is within its bound."]
