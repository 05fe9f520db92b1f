"""A conversion's report as one HTML file that needs no network, and no script for reading."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nobuco.errors import OutputError
from nobuco.files import file_at, replacing
from nobuco.kinds import FLAG, PATH, Kind, takes
from nobuco.report.data import Report, report_to_dict
from nobuco.report.html.assets import asset
from nobuco.report.html.calls import MARKS, MEANINGS, Graph, read_graph
from nobuco.report.html.flow import flow_html
from nobuco.report.html.markup import Markup, tag
from nobuco.report.html.strip import strip_html
from nobuco.report.html.tree import mark_html, size_text, tree_html
from nobuco.report.html.view import View

EDITORS = {
    "": "no editor links",
    "vscode": "VS Code",
    "cursor": "Cursor",
    "idea": "IntelliJ IDEA",
    "pycharm": "PyCharm",
    "subl": "Sublime Text",
    "txmt": "TextMate",
    "emacs": "Emacs",
}
"""Editors that open `File "…", line N` from a link, by the scheme of their links."""


_EDITOR = Kind(f"one of {', '.join(map(repr, EDITORS))}", lambda given: isinstance(given, str) and given in EDITORS)
_REPORT = Kind(
    "a nobuco.Report, or what nobuco.report.report_to_dict made of one",
    lambda given: isinstance(given, Report) or (isinstance(given, Mapping) and "nodes" in given),
)


@takes(report=_REPORT, editor=_EDITOR)
def render_html(report: Report | Mapping[str, Any], *, editor: str = "") -> str:
    """The report as a page.

    Args:
        report: a `Report`, or what `report_to_dict` made of one (from a JSON file, say).
        editor: which editor source lines are links to at first, a key of `EDITORS`; a reader can choose another.

    Raises:
        InputError: no such editor is known.
    """
    data = report_to_dict(report) if isinstance(report, Report) else report
    graph = read_graph(data, inside=True)
    view = View.of(graph, "call")
    main = [_warnings(data), _lesson(view, data), strip_html(view), _views(view)] if graph.calls else [_warnings(data)]
    page = tag(
        "html",
        tag("head", _head(data)),
        tag("body", _header(data, graph, editor), tag("main", main), asset("strip.js"), asset("page.js")),
        lang="en",
        data_editor=editor,
    )
    return f"<!doctype html>\n{page}\n"


@takes(report=_REPORT, path=PATH, editor=_EDITOR, overwrite=FLAG)
def save_html(
    report: Report | Mapping[str, Any], path: str | os.PathLike[str], *, editor: str = "", overwrite: bool = True
) -> Path:
    """Write the page, the whole of it or nothing: until it is complete, what was at `path` stays.

    Raises:
        OutputError: there is no such directory; or what is at `path` is no regular file, or is there already and
            `overwrite` is False.
    """
    target = file_at(path, overwrite)
    text = render_html(report, editor=editor)
    # A source line may hold half of a surrogate pair, which no encoding has.
    with replacing(target, overwrite) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return target


def html_path(path: bool | str | os.PathLike[str]) -> Path | None:
    """Where to write: the path given, for True `trace.html` in the working directory, for False nowhere.

    Raises:
        OutputError: there is no such directory, or what is at the path is no regular file.
    """
    if path is False:
        return None
    try:
        return file_at("trace.html" if path is True else path)
    except OutputError as error:
        raise OutputError(f"cannot write the HTML trace to {path!r}", error.reason) from error


# What stands above the tree.


def _head(data: Mapping[str, Any]) -> list[Markup]:
    mark, _, words = _verdict(data)
    return [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{mark} {words}"),
        asset("base.css"),
        asset("trace.css"),
        asset("page.css"),
    ]


def _verdict(data: Mapping[str, Any]) -> tuple[str, str, str]:
    """Mark, class and words."""
    model = data.get("model", "")
    if data.get("error"):
        return "✗", "failed", f"{model} could not be converted"
    if not data.get("ok"):
        return "✗", "failed", f"{model} differs from PyTorch"
    return "✓", "passed", f"{model} matches PyTorch"


def _header(data: Mapping[str, Any], graph: Graph, editor: str) -> Markup:
    mark, kind, words = _verdict(data)
    title = [tag("span", mark, class_="mark", aria_hidden="true"), tag("span", words)]
    outputs = [
        tag("li", tag("span", "✓ " if output["matches"] else "✗ ", class_="mark"), f"output {number}: {output['text']}")
        for number, output in enumerate(data.get("outputs", ()))
    ]
    return tag(
        "header",
        tag("div", tag("p", "nobuco conversion trace", class_="brand"), _settings(editor), class_="top"),
        tag("h1", title, class_=kind),
        tag("p", " · ".join(_facts(data, graph)), class_="facts"),
        tag("pre", str(data["error"]), class_="error-text") if data.get("error") else None,
        tag("ul", outputs, class_="outputs") if outputs else None,
    )


def _facts(data: Mapping[str, Any], graph: Graph) -> list[str]:
    made = (call for top in graph.calls for call in top.walk() if call.direct and not call.absent)
    calls = sum(call.status in ("DONE", "IMPRECISE") for call in made)
    count = int(data.get("transpositions", 0))
    moving = f" ({size_text(graph.moved)} a run)" if graph.moved else ""
    turned = f"{count} transposition{'' if count == 1 else 's'}{moving}" if count else "no transpositions"
    stages = [f"{stage} {seconds:.1f} s" for stage, seconds in data.get("stages", {}).items()]
    return [f"{calls} {'call' if calls == 1 else 'calls'} converted", turned, *stages]


def _settings(editor: str) -> Markup:
    """How the page looks and where its links lead; hidden until the script that heeds them says otherwise."""
    themes = [tag("option", words, value=key) for key, words in (("", "auto"), ("light", "light"), ("dark", "dark"))]
    editors = [tag("option", words, value=key, selected=key == editor) for key, words in EDITORS.items()]
    return tag(
        "div",
        tag("label", "links to ", tag("select", editors, id="editor")),
        tag("label", "theme ", tag("select", themes, id="theme")),
        class_="settings",
        hidden=True,
    )


def _warnings(data: Mapping[str, Any]) -> Markup | None:
    lines = [tag("li", tag("span", "! ", class_="mark imprecise"), warning) for warning in data.get("warnings", ())]
    return tag("ul", lines, class_="warnings", aria_label="warnings") if lines else None


def _lesson(view: View, data: Mapping[str, Any]) -> Markup:
    """Where to look, in a sentence."""
    off = next((call for call in view.graph.measured if call.accumulated and not call.accumulated.matches), None)
    if view.culprit is not None:
        link = tag("a", view.culprit.place, href=f"#{view.id(view.culprit)}")
        return tag("p", "Goes wrong first in ", link, f": {MEANINGS[view.culprit.status]}.", class_="lesson")
    if off is not None:
        link = tag("a", off.place, href=f"#{view.id(off)}")
        words = "Each call alone is within its bound; what has added up leaves it first at "
        return tag("p", words, link, ".", class_="lesson")
    if data.get("error"):
        return tag("p", "No single call is known to be at fault.", class_="lesson")
    return tag("p", "Each call is within its bound, alone and in the running model.", class_="lesson")


# The two views of the calls, and what chooses among those.


def _views(view: View) -> Markup:
    tabs = [
        tag("button", words, type="button", role="tab", id=f"tab-{key}", aria_controls=key, data_view=key)
        for key, words in (("tree", "Tree"), ("graph", "Graph"))
    ]
    bar = tag(
        "div",
        tag("div", tabs, role="tablist", aria_label="view", class_="tabs"),
        tag("input", type="search", id="search", placeholder="search names", aria_label="search names (key: /)"),
        tag("div", _filters(view.graph), class_="filters", role="group", aria_label="show only"),
        tag(
            "div",
            tag("button", "unfold all", type="button", id="unfold"),
            tag("button", "fold all", type="button", id="fold"),
            class_="folds",
        ),
        tag("p", id="found", role="status"),
        class_="toolbar",
        hidden=True,
    )
    return tag(
        "section",
        bar,
        tag("div", tree_html(view), id="tree", role="tabpanel", aria_labelledby="tab-tree"),
        tag("div", flow_html(view), id="graph", role="tabpanel", aria_labelledby="tab-graph"),
        class_="views",
    )


def _filters(graph: Graph) -> list[Markup]:
    """A button for each status that occurs, and one for what transposes."""
    calls = [call for top in graph.calls for call in top.walk()]
    counts = Counter(call.status for call in calls if call.direct or not call.children or call.is_bad)
    shown = [
        tag(
            "button",
            mark_html(status),
            f" {MEANINGS[status]} ",
            tag("span", str(counts[status]), class_="dim"),
            type="button",
            aria_pressed="false",
            data_filter=status,
        )
        for status in MARKS
        if counts[status]
    ]
    turning = sum(bool(call.transposed) for call in calls)
    if turning:
        mark = tag("span", "⇄", class_="mark turn-mark", aria_hidden="true")
        words = [mark, " transposed ", tag("span", str(turning), class_="dim")]
        shown.append(tag("button", words, type="button", aria_pressed="false", data_filter="TURNS"))
    return shown
