"""The error along a conversion, as a strip of bars: a bar for each call, in order of execution, on a log scale."""

from __future__ import annotations

import math

from nobuco.report.html.calls import Call, Error
from nobuco.report.html.markup import Markup, tag
from nobuco.report.html.view import View

_FLOOR, _CEILING = -8, 0
"""The ends of the strip's scale as powers of ten: float32's rounding, and an error as large as the values."""


def strip_html(view: View) -> Markup | None:
    """The strip; None where nothing was measured."""
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


def _bar(view: View, call: Call) -> Markup:
    assert call.accumulated is not None
    text = f"{call.label}: {error_text(call.accumulated)}"
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
    text = f"{words}: {call.label}, {error_text(call.accumulated)}"
    if place < 0.5:
        return tag("p", f"▲ {text}", class_="pointer left", style=f"--place: {100 * place:.2f}%")
    return tag("p", f"{text} ▲", class_="pointer right", style=f"--place: {100 * (1 - place):.2f}%")


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else f"1e{exponent}"


def error_text(error: Error) -> str:
    """An error in a few words."""
    if math.isinf(error.of_peak):
        return error.text
    return "exact" if error.max_abs == 0 else f"{error.of_peak:.1e} of the peak, {error.max_abs:.1e} absolute"
