"""The graph view: the line map drawn, a line of text beside each stop."""

from __future__ import annotations

import re
from math import prod

from nobuco.report.html.lanes import Lane, LineMap, Stop, line_map, order_of
from nobuco.report.html.markup import Markup, tag
from nobuco.report.html.tree import mark_html, shortened, size_text
from nobuco.report.html.view import View

_ROW = 24
_WIDEST = 320
"""Height of a row and the most that the lanes take, in pixels."""
_KINDS = {"TENSORFLOW": "last", "PYTORCH": "first", "": "plain"}
_WORDS = {"TENSORFLOW": "channels last", "PYTORCH": "channels first"}
_TENSOR = re.compile(r"(\w+?)(\d*)\[([\d, ]*)\]")


def flow_html(view: View) -> Markup:
    """The graph of a conversion, inputs at the top."""
    lines = line_map(view.graph)
    gap = min(14.0, _WIDEST / lines.width)
    width, height = gap * (lines.width + 0.5), _ROW * len(lines.stops)
    lanes = [_lane(lane, lines, gap) for lane in lines.lanes]
    dots = [_dot(row, stop, lines, gap) for row, stop in enumerate(lines.stops)]
    drawing = tag(
        "svg", lanes, dots, width=f"{width:.0f}", height=str(height), viewBox=f"0 0 {width:.0f} {height}",
        aria_hidden="true", focusable="false",
    )  # fmt: skip
    rows = [_row(view, stop) for stop in lines.stops]
    body = tag("div", drawing, tag("ol", rows, class_="stops"), class_="map", style=f"--row: {_ROW}px")
    return tag("div", _legend(), body, class_="flow")


def _legend() -> Markup:
    def swatch(kind: str) -> Markup:
        line = tag("path", d="M2 8 H26", class_=f"lane {kind}")
        return tag("svg", line, width="28", height="16", viewBox="0 0 28 16", aria_hidden="true")

    entries = [(swatch("last"), "channels last"), (swatch("first"), "channels first"), (swatch("plain"), "no order")]
    shown = [tag("span", drawn, " ", words) for drawn, words in entries]
    return tag("p", shown, tag("span", tag("b", "⇄", class_="turn-mark"), " transposition"), class_="legend")


def _at(column: int, row: int, gap: float) -> tuple[float, float]:
    return round(gap * (column + 0.75), 1), _ROW * (row + 0.5)


def _lane(lane: Lane, lines: LineMap, gap: float) -> Markup:
    """From the dot that makes a tensor along its lane, and off to each dot that reads it."""
    x, top = _at(lane.column, lane.made, gap)
    start, _ = _at(lines.columns[lane.made], lane.made, gap)
    ends = [_at(lines.columns[row], row, gap) for row in lane.read]
    near = [end for end in ends if end[0] != x and end[1] == top + _ROW]
    far = [end for end in ends if end not in near]
    path = "".join(f"M{start} {top}{_bend(start, top, *end)}" for end in near)
    if far:
        path += f"M{start} {top}" + (_bend(start, top, x, top + _ROW) if start != x else "")
    for dot_x, y in far:
        path += f"V{y}" if dot_x == x else f"V{y - _ROW}{_bend(x, y - _ROW, dot_x, y)}M{x} {y - _ROW}"
    return tag("path", d=path, class_=f"lane {_KINDS[lane.order]}")


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (y + to_y) / 2
    return f"C{x} {middle} {to_x} {middle} {to_x} {to_y}"


def _dot(row: int, stop: Stop, lines: LineMap, gap: float) -> Markup:
    x, y = _at(lines.columns[row], row, gap)
    if _turns(stop):
        return tag("path", d=f"M{x - 6} {y} L{x} {y - 6} L{x + 6} {y} L{x} {y + 6}Z", class_="dot turn")
    kind = "port" if stop.port is not None else stop.call.status.lower() if stop.call is not None else ""
    return tag("circle", cx=str(x), cy=str(y), r="4", class_=f"dot {kind.replace('_', '-')}")


def _turns(stop: Stop) -> bool:
    """Whether data is transposed here: between calls, or by a call that moves data."""
    if stop.call is None:
        return stop.port is None
    return stop.call.transposed > len(stop.call.turned)


def _row(view: View, stop: Stop) -> Markup:
    shape = tag("span", shortened(stop.tensor), class_="shape")
    if stop.port is not None:
        mark = tag("span", "▷" if stop.makes else "◁", class_="mark", aria_hidden="true")
        return tag("li", tag("span", mark, tag("b", stop.port.name), shape, class_="stop"), class_="port")
    if stop.call is None:
        order = order_of(stop.tensor)
        words = f"transposed to {_WORDS.get(order, 'another order')}, {size_text(_bytes(stop.tensor))}"
        mark = tag("span", "⇄", class_="mark", aria_hidden="true")
        return tag("li", tag("span", mark, tag("b", words), shape, class_="stop"), class_="turn")
    turns = [tag("b", " ⇄ moves data", class_="turn-mark")] if _turns(stop) else []
    name = tag("span", stop.call.place, turns, class_="name")
    link = tag("a", mark_html(stop.call.status), name, shape, href=f"#{view.id(stop.call)}", class_="stop")
    return tag("li", link, class_="turn" if turns else None, data_call=view.id(stop.call))


def _bytes(tensor: str) -> int:
    match = _TENSOR.match(tensor)
    if match is None:
        return 0
    return int(match[2] or 8) // 8 * prod(int(size) for size in match[3].split(",") if size.strip())
