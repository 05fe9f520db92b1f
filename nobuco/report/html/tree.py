"""The tree of calls as folding lines, each with its errors, its source and all that is known of it."""

from __future__ import annotations

from collections.abc import Iterator

from nobuco.report.html.calls import MARKS, MEANINGS, NO_ORDERS, Call, Choice, Error
from nobuco.report.html.markup import Markup, tag
from nobuco.report.html.view import View

_HEADS = ("", "call", "source", "own", "accum.", "time", "output")


def tree_html(view: View) -> Markup:
    """The tree."""
    heads = [tag("span", head, class_=f"h-{head.strip('.')}" if head else None) for head in _HEADS]
    return tag(
        "div",
        tag("div", heads, class_="call heads", aria_hidden="true"),
        [_call(view, call) for call in view.graph.calls],
        class_="tree",
    )


def mark_html(status: str, meaning: str = "") -> Markup:
    """The mark of a status, with its meaning for those who do not see it."""
    meaning = meaning or MEANINGS.get(status, status.lower())
    kind = status.lower().replace("_", "-")
    return tag("span", MARKS.get(status, "·"), class_=f"mark {kind}", role="img", aria_label=meaning, title=meaning)


def size_text(number: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def shortened(tensor: str) -> str:
    """A tensor in words that take less room."""
    return tensor.replace(" TENSORFLOW", " TF").replace(" PYTORCH", " PT").replace(", ", ",")


def _call(view: View, call: Call) -> Markup:
    special = [word for word, one in (("culprit", view.culprit), ("worst", view.worst)) if one is call]
    badges = [tag("span", _badge(word), class_=f"badge {word}") for word in special]
    summary = tag(
        "summary",
        _mark(call),
        tag("span", call.label, *((" ", badge) for badge in badges), _flags(call), class_="label"),
        tag("code", call.source, class_="source", title=call.source or None),
        _error_cell(call.own),
        _error_cell(call.accumulated),
        tag("span", _time_text(sum(inner.seconds for inner in call.walk())), class_="time"),
        tag("span", shortened(call.outputs[0]) if call.outputs else "", class_="shape"),
        class_="call",
    )
    facts = _where(call) if call.children and not call.direct and not call.is_bad else _facts(view, call)
    kinds = [*special, *(["inside"] if call.status == "INSIDE" else []), *(["absent"] if call.absent else [])]
    return tag(
        "details",
        summary,
        tag("div", facts, [_call(view, child) for child in call.children], class_="inner"),
        id=view.id(call),
        class_=" ".join(["node", *kinds]),
        open=call.number in view.open,
        data_status=call.status if call.direct or not call.children or call.is_bad else None,
        data_turns=bool(call.transposed),
    )


def _badge(word: str) -> str:
    return {"culprit": "goes wrong first", "worst": "worst accumulated"}[word]


def _mark(call: Call) -> Markup:
    status = call.gravest
    meaning = MEANINGS.get(status, status.lower())
    return mark_html(status, meaning if status == call.status else f"{meaning} within")


def _flags(call: Call) -> Markup | None:
    return tag("span", " ", " ".join(call.flags), class_="dim") if call.flags else None


def _error_cell(error: Error | None) -> Markup:
    if error is None:
        return tag("span", class_="error")
    text = "✗" if error.of_peak == float("inf") else f"{error.of_peak:.1e}" if error.of_peak else "0"
    return tag("span", text, class_="error" + ("" if error.matches else " off"), title=error.text)


def _time_text(seconds: float) -> str:
    return "" if seconds <= 0 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


# What stands below a line.


def _where(call: Call) -> Markup | None:
    """Of a call that was merely opened into its calls, the places, folded away."""
    if not call.places:
        return None
    places = [(tag("dt", word), tag("dd", _place(text))) for word, text in call.places]
    return tag("details", tag("summary", "source lines"), tag("dl", places, class_="facts"), class_="where")


def _facts(view: View, call: Call) -> Markup:
    return tag("dl", [(tag("dt", word), tag("dd", text)) for word, text in _told(view, call)], class_="facts")


def _told(view: View, call: Call) -> Iterator[tuple[str, str | Markup | list[Markup]]]:
    """What is known of a call beyond its line."""
    if call.message:
        yield "message", call.message
    for word, error in (("own error", call.own), ("accumulated", call.accumulated)):
        if error is not None:
            yield word, error.text
    if call.inputs:
        yield "inputs", "\n".join(call.inputs)
    if call.outputs:
        yield "outputs", "\n".join(call.outputs)
    if call.turned:
        yield "transposed", f"{len(call.turned)} of its inputs, on the way in"
    if any(choice.orders != NO_ORDERS for choice in call.choices):
        yield "planner", [_choice(choice, call, view.graph.moved) for choice in call.choices]
    if call.layer:
        yield "Keras layer", call.layer
    if call.source:
        yield "source", call.source
    for word, text in call.places:
        yield word, _place(text)


def _choice(choice: Choice, call: Call, moved: int) -> Markup:
    """A way to run, and what the model would move more with it."""
    more = choice.moved - moved
    if len(call.choices) == 1:
        words = "the only way"
    elif choice.chosen:
        words = "chosen"
    elif more:
        words = f"would move {size_text(abs(more))} {'more' if more > 0 else 'less'}"
    else:
        words = "would cost the same"
    mark = tag("span", "●" if choice.chosen else "○", aria_hidden="true")
    return tag("span", mark, f" {choice.orders}: {words}", class_="choice" + (" chosen" if choice.chosen else ""))


def _place(text: str) -> Markup:
    """A source line, which the script makes a link to an editor, with a button to copy it."""
    return tag("span", tag("a", text), class_="place")
