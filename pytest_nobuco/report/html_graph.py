"""A conversion on the page: the error along it as a strip, and the tree of its calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_nobuco.report.data import Cell
from pytest_nobuco.report.graph import MARKS, MEANINGS, Call, Error, Graph, ancestors, read_graph
from pytest_nobuco.report.markup import Markup, tag

_FLOOR, _CEILING = -8, 0
"""The ends of the strip's scale as powers of ten: float32's rounding, and an error as large as the values."""


@dataclass(frozen=True)
class _View:
    """A graph with what is special in it; `name` makes the ids of the page unique."""

    graph: Graph
    name: str
    culprit: Call | None
    worst: Call | None
    open: frozenset[int]

    def id(self, call: Call) -> str:
        return f"{self.name}-{call.number}"


def graph_html(data: Mapping[str, Any], cell: Cell, name: str, more: int) -> Markup | None:
    """The conversion that a form of a model came from; `more` is how many others are not shown."""
    graph = read_graph(data)
    if not graph.calls:
        return None
    culprit = graph.culprit
    above = ancestors(graph.calls, culprit) if culprit else graph.calls
    shown = frozenset(call.number for call in (*graph.calls, *above, *((culprit,) if culprit else ())))
    view = _View(graph, name, culprit, graph.worst, shown)
    body = [tag("p", _lesson(view, cell), class_="lesson"), _strip(view), _tree(view)]
    if more:
        body.append(tag("p", f"The JSON report has {more} more of this model's conversions.", class_="dim"))
    title = tag("summary", tag("h3", "Conversion"), " ", tag("span", cell.case, class_="dim"))
    return tag("details", title, body, class_="graph", open=cell.fails)


def _lesson(view: _View, cell: Cell) -> list[str | Markup]:
    """Where to look, in a sentence."""
    if view.culprit is not None:
        link = tag("a", view.culprit.label, href=f"#{view.id(view.culprit)}")
        return ["Goes wrong first in ", link, f": {MEANINGS[view.culprit.status]}."]
    if cell.fails:
        return ["Each call of the Keras model is within its bound, so look at the runtime, not at a converter."]
    return ["Each call is within its bound."]


# The strip.


def _strip(view: _View) -> Markup | None:
    calls = view.graph.measured
    if not calls:
        return None
    bars = [_bar(view, call) for call in calls]
    same = view.culprit is view.worst
    pointers = [
        _pointer(calls, view.culprit, "goes wrong first, and worst" if same else "goes wrong first"),
        None if same else _pointer(calls, view.worst, "worst"),
    ]
    caption = (
        "Accumulated error of each call in order of execution, as a fraction of its tensor's peak, on a log scale. "
        "Solid bars are beyond their bound, pale ones within."
    )
    scale = [tag("span", _power(exponent)) for exponent in (_CEILING, (_FLOOR + _CEILING) // 2, _FLOOR)]
    inner = tag("div", tag("div", bars, class_="bars"), pointers, class_="inner", style=f"--calls: {len(calls)}")
    return tag(
        "figure",
        tag("figcaption", caption),
        tag("div", scale, class_="scale", aria_hidden="true"),
        tag("div", inner, class_="scroll"),
        tag("p", "Point at a bar, or move with the keyboard, for its call.", class_="readout", aria_hidden="true"),
        class_="strip",
    )


def _bar(view: _View, call: Call) -> Markup:
    assert call.accumulated is not None
    text = f"{call.label}: {_error_text(call.accumulated)}"
    kinds = {
        "culprit": call is view.culprit,
        "off": not call.accumulated.matches,
        "broken": math.isinf(call.accumulated.of_peak),
    }
    classes = " ".join(["bar", *(kind for kind, holds in kinds.items() if holds)])
    style = f"--level: {_level(call.accumulated):.3f}"
    return tag("a", href=f"#{view.id(call)}", class_=classes, style=style, aria_label=text, title=text)


def _level(error: Error) -> float:
    """From 0, exact or below what the scale shows, to 1."""
    if error.of_peak <= 0:
        return 0.0
    if math.isinf(error.of_peak):
        return 1.0
    return min(max((math.log10(error.of_peak) - _FLOOR) / (_CEILING - _FLOOR), 0.02), 1.0)


def _pointer(calls: tuple[Call, ...], call: Call | None, words: str) -> Markup | None:
    """Words at the place of a call, on the side where there is more room."""
    if call is None or call.accumulated is None or call not in calls:
        return None
    place = (calls.index(call) + 0.5) / len(calls)
    text = f"{words}: {call.label}, {_error_text(call.accumulated)}"
    if place < 0.5:
        return tag("p", f"▲ {text}", class_="pointer left", style=f"--place: {100 * place:.2f}%")
    return tag("p", f"{text} ▲", class_="pointer right", style=f"--place: {100 * (1 - place):.2f}%")


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else f"1e{exponent}"


def _error_text(error: Error) -> str:
    if math.isinf(error.of_peak):
        return error.text
    return "exact" if error.max_abs == 0 else f"{error.of_peak:.1e} of the peak, {error.max_abs:.1e} absolute"


def _error_cell(error: Error | None) -> Markup:
    if error is None:
        return tag("span", class_="error")
    text = "✗" if math.isinf(error.of_peak) else f"{error.of_peak:.1e}" if error.of_peak else "0"
    return tag("span", text, class_="error" + ("" if error.matches else " off"), title=error.text)


# The tree.


def _tree(view: _View) -> Markup:
    heads = [tag("span"), tag("span", "call"), tag("span", "own"), tag("span", "accum."), tag("span", "output")]
    return tag(
        "div",
        tag("div", heads, class_="call heads", aria_hidden="true"),
        [_call(view, call) for call in view.graph.calls],
        class_="tree",
    )


def _call(view: _View, call: Call) -> Markup:
    special = [word for word, one in (("culprit", view.culprit), ("worst", view.worst)) if one is call]
    badges = [tag("span", _badge(word), class_=f"badge {word}") for word in special]
    summary = tag(
        "summary",
        _mark(call),
        tag("span", call.label, *((" ", badge) for badge in badges), _flags(call), class_="label"),
        _error_cell(call.own),
        _error_cell(call.accumulated),
        tag("span", call.outputs[0] if call.outputs else "", class_="shape"),
        class_="call",
    )
    inner = [_call(view, child) for child in call.children]
    return tag(
        "details",
        summary,
        tag("div", _facts(call), inner, class_="inner"),
        id=view.id(call),
        class_=" ".join(["node", *special]),
        open=call.number in view.open,
    )


def _badge(word: str) -> str:
    return {"culprit": "goes wrong first", "worst": "worst accumulated"}[word]


def _mark(call: Call) -> Markup:
    """What became of the call; of one that was opened into its calls, the gravest of those."""
    statuses = [inner.status for inner in call.walk()]
    status = next((status for status in ("FAILED", "NO_CONVERTER", "IMPRECISE") if status in statuses), call.status)
    meaning = MEANINGS.get(status, status.lower()) + ("" if status == call.status else " within")
    class_ = f"mark {status.lower().replace('_', '-')}"
    return tag("span", MARKS.get(status, "·"), class_=class_, role="img", aria_label=meaning, title=meaning)


def _flags(call: Call) -> Markup | None:
    return tag("span", " ", " ".join(call.flags), class_="dim") if call.flags else None


def _facts(call: Call) -> Markup | None:
    """What is known of the call beyond its line; nothing for one that was merely opened into its calls."""
    if call.children and not call.is_bad:
        return None
    facts = [("message", call.message)] if call.message else []
    for word, error in (("own error", call.own), ("accumulated", call.accumulated)):
        if error is not None:
            facts.append((word, error.text))
    facts += [("inputs", ", ".join(call.inputs))] if call.inputs else []
    facts += [("outputs", ", ".join(call.outputs))] if len(call.outputs) > 1 else []
    facts += call.places
    return tag("dl", [(tag("dt", word), tag("dd", text)) for word, text in facts], class_="facts")
