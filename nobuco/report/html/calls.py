"""The calls of a conversion as a page shows them, read from what `nobuco.report.report_to_dict` gives.

From that form and not from `Report`, so that a page can be made of a JSON file, too, in a process without PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nobuco.report.naming import short, spoken

MARKS = {"DONE": "✓", "IMPRECISE": "≈", "FAILED": "✗", "NO_CONVERTER": "?", "INSIDE": "·", "UNREACHED": "–"}
MEANINGS = {
    "DONE": "converted",
    "IMPRECISE": "imprecise",
    "FAILED": "failed",
    "NO_CONVERTER": "no converter",
    "INSIDE": "inside a converted call",
    "UNREACHED": "not reached",
}
NO_ORDERS = "no order → no order"
_BAD = ("IMPRECISE", "FAILED", "NO_CONVERTER")
_GRAVEST_FIRST = ("FAILED", "NO_CONVERTER", "IMPRECISE", "UNREACHED")
_FLAGS = {"reused": "reused", "disconnected": "unused", "constant": "constant", "useless": "no effect"}


@dataclass(frozen=True)
class Error:
    """How far a call's output is from PyTorch's; the figures are infinite where something has no measure."""

    of_peak: float
    max_abs: float
    matches: bool
    text: str


@dataclass(frozen=True)
class Choice:
    """Channel orders that a call could run in, in words, and the bytes that the model would then move."""

    orders: str
    moved: int
    chosen: bool


@dataclass(frozen=True)
class Port:
    """An input or an output of the model."""

    name: str
    tensor: str
    value: int
    turned: bool
    computed: str = ""


@dataclass(frozen=True)
class Call:
    """One call of the traced program. `number` is unique in its graph; what bears a name of `NodeReport` is that.

    `place` is its label with the whole path of the module that it is or was made in.
    """

    number: int
    label: str
    place: str
    status: str
    own: Error | None
    accumulated: Error | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flags: tuple[str, ...]
    message: str
    places: tuple[tuple[str, str], ...]
    children: tuple[Call, ...]
    direct: bool = False
    absent: bool = False
    transposed: int = 0
    seconds: float = 0.0
    layer: str = ""
    source: str = ""
    choices: tuple[Choice, ...] = ()
    reads: tuple[int, ...] = ()
    makes: tuple[int, ...] = ()
    turned: tuple[int, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether a person should look at it."""
        return self.status in _BAD

    @property
    def gravest(self) -> str:
        """The gravest status in it: what a call that was opened into its calls has to show."""
        statuses = {inner.status for inner in self.walk()}
        return next((status for status in _GRAVEST_FIRST if status in statuses), self.status)

    def walk(self) -> Iterator[Call]:
        """Yield the call and all in it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def in_order(self) -> Iterator[Call]:
        """Yield all in it and then the call itself: the order in which calls returned."""
        for child in self.children:
            yield from child.in_order()
        yield self


@dataclass(frozen=True)
class Graph:
    """The tree of calls, and what enters and leaves the model."""

    model: str
    calls: tuple[Call, ...]
    sources: tuple[Port, ...] = ()
    results: tuple[Port, ...] = ()
    moved: int = 0

    @property
    def culprit(self) -> Call | None:
        """The call that went wrong first, which is where to look for the cause."""
        return next((call for call in self.in_order() if call.is_bad), None)

    @property
    def measured(self) -> tuple[Call, ...]:
        """The calls with an accumulated error, in order of execution."""
        return tuple(call for call in self.in_order() if call.accumulated is not None)

    @property
    def worst(self) -> Call | None:
        """The first of the calls with the largest accumulated error."""
        return max(self.measured, key=lambda call: call.accumulated.of_peak if call.accumulated else 0, default=None)

    def in_order(self) -> Iterator[Call]:
        """Yield every call in the order in which they returned."""
        for call in self.calls:
            yield from call.in_order()


def read_graph(data: Mapping[str, Any], inside: bool = False) -> Graph:
    """The graph of a conversion; what lies inside a call that was converted as a whole is left out unless `inside`."""
    numbers = iter(range(1_000_000))

    def read(node: Mapping[str, Any], parent: str) -> Call:
        number = next(numbers)
        path = str(node.get("path") or "")
        children = [child for child in node.get("children", ()) if inside or child.get("status") != "INSIDE"]
        name = str(node.get("name", ""))
        around = path or parent
        return Call(
            number=number,
            label=spoken(name, path, parent),
            place=f"{around}: {short(name)}" if around else short(name),
            status=str(node.get("status", "DONE")),
            own=_error(node.get("own")),
            accumulated=_error(node.get("accumulated")),
            inputs=tuple(node.get("inputs", ())),
            outputs=tuple(node.get("outputs", ())),
            flags=tuple(word for key, word in _FLAGS.items() if node.get(key)) + _transposed(node),
            message=str(node.get("message") or ""),
            places=tuple(_places(node)),
            children=tuple(read(child, around) for child in children),
            direct=bool(node.get("direct")),
            absent=any(node.get(key) for key in ("disconnected", "constant", "useless")),
            transposed=int(node.get("transposed", 0)),
            seconds=float(node.get("seconds", 0.0)),
            layer=str(node.get("layer", "")),
            source=str(node.get("source", "")),
            choices=tuple(map(_choice, node.get("choices", ()))),
            **{key: tuple(node.get(key, ())) for key in ("reads", "makes", "turned")},
        )

    return Graph(
        model=str(data.get("model", "")),
        calls=tuple(read(node, "") for node in data.get("nodes", ())),
        sources=tuple(Port(**port) for port in data.get("sources", ())),
        results=tuple(Port(**port) for port in data.get("results", ())),
        moved=int(data.get("moved", 0)),
    )


def ancestors(calls: Sequence[Call], sought: Call) -> tuple[Call, ...]:
    """The calls that hold the one sought, outermost first."""
    for call in calls:
        if call is sought:
            return ()
        if any(inner is sought for inner in call.walk()):
            return (call, *ancestors(call.children, sought))
    return ()


def _error(data: Mapping[str, Any] | None) -> Error | None:
    if data is None:
        return None
    numbers = [float(data.get(key, math.inf)) for key in ("relative_to_peak", "max_abs")]
    # Figures are taken where both are finite, so where NaN or infinity stands in the wrong place they tell nothing.
    broken = any(data.get(kind, {}).get("differing") for kind in ("nan", "inf"))
    broken = broken or any(data.get(f"got_{key}") != data.get(f"expected_{key}") for key in ("shape", "dtype"))
    of_peak, max_abs = (math.inf if broken or math.isnan(number) else number for number in numbers)
    return Error(of_peak, max_abs, bool(data.get("matches")), str(data.get("text", "")))


def _transposed(node: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"⇄{node['transposed']}",) if node.get("transposed") else ()


def _places(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    invoked = node.get("invoked")
    if invoked:
        yield "invoked", f'File "{invoked["file"]}", line {invoked["line"]}'
    for word in ("defined", "converted"):
        if node.get(word):
            yield word, str(node[word])


def _choice(data: Mapping[str, Any]) -> Choice:
    return Choice(f"{_lying(data['inputs'])} → {_lying(data['outputs'])}", data["moved"], data["chosen"])


def _lying(orders: Sequence[str]) -> str:
    """How tensors lie, in words; said once where all lie alike."""
    words = [{"TENSORFLOW": "channels last", "PYTORCH": "channels first"}[order] for order in orders if order]
    return ", ".join(words if len(set(words)) > 1 else words[:1]) or "no order"
