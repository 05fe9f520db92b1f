"""The calls of a conversion, read from what `nobuco.report.report_to_dict` wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARKS = {"DONE": "✓", "IMPRECISE": "≈", "FAILED": "✗", "NO_CONVERTER": "?", "INSIDE": "·"}
MEANINGS = {
    "DONE": "converted",
    "IMPRECISE": "imprecise",
    "FAILED": "failed",
    "NO_CONVERTER": "no converter",
    "INSIDE": "inside a converted call",
}
_BAD = ("IMPRECISE", "FAILED", "NO_CONVERTER")
_FLAGS = {"reused": "reused", "disconnected": "unused", "constant": "constant", "useless": "no effect"}


@dataclass(frozen=True)
class Error:
    """How far a call's output is from PyTorch's; the figures are infinite where something has no measure."""

    of_peak: float
    max_abs: float
    matches: bool
    text: str


@dataclass(frozen=True)
class Call:
    """One call of the traced programme. `number` is unique in its graph; `own` and `accumulated` as in `NodeReport`."""

    number: int
    label: str
    status: str
    own: Error | None
    accumulated: Error | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flags: tuple[str, ...]
    message: str
    places: tuple[tuple[str, str], ...]
    children: tuple[Call, ...]

    @property
    def is_bad(self) -> bool:
        """Whether a person should look at it."""
        return self.status in _BAD

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
    """The tree of calls."""

    model: str
    calls: tuple[Call, ...]

    @property
    def culprit(self) -> Call | None:
        """The call that went wrong first, which is where to look for the cause."""
        return next((call for call in self._in_order() if call.is_bad), None)

    @property
    def measured(self) -> tuple[Call, ...]:
        """The calls with an accumulated error, in order of execution."""
        return tuple(call for call in self._in_order() if call.accumulated is not None)

    @property
    def worst(self) -> Call | None:
        """The first of the calls with the largest accumulated error."""
        return max(self.measured, key=lambda call: call.accumulated.of_peak if call.accumulated else 0, default=None)

    def _in_order(self) -> Iterator[Call]:
        for call in self.calls:
            yield from call.in_order()


def read_graph(data: Mapping[str, Any]) -> Graph:
    """The graph of a conversion; what lies inside a call that was converted as a whole is left out."""
    numbers = iter(range(1_000_000))

    def read(node: Mapping[str, Any], parent: str) -> Call:
        number = next(numbers)
        path = str(node.get("path") or "")
        children = [child for child in node.get("children", ()) if child.get("status") != "INSIDE"]
        return Call(
            number=number,
            label=_label(str(node.get("name", "")), path, parent),
            status=str(node.get("status", "DONE")),
            own=_error(node.get("own")),
            accumulated=_error(node.get("accumulated")),
            inputs=tuple(node.get("inputs", ())),
            outputs=tuple(node.get("outputs", ())),
            flags=tuple(word for key, word in _FLAGS.items() if node.get(key)) + _transposed(node),
            message=str(node.get("message") or ""),
            places=tuple(_places(node)),
            children=tuple(read(child, path or parent) for child in children),
        )

    return Graph(str(data.get("model", "")), tuple(read(node, "") for node in data.get("nodes", ())))


def ancestors(calls: Sequence[Call], sought: Call) -> tuple[Call, ...]:
    """The calls that hold the one sought, outermost first."""
    for call in calls:
        if call is sought:
            return ()
        if any(inner is sought for inner in call.walk()):
            return (call, *ancestors(call.children, sought))
    return ()


def _label(name: str, path: str, parent: str) -> str:
    relative = "" if path == parent else path.removeprefix(f"{parent}.")
    return f"{relative}: {_short(name)}" if relative else _short(name)


def _short(name: str) -> str:
    """The name as one says it: a module's class, `F.relu`, `torch.cat`, `Tensor.add`."""
    if name.startswith("torch.nn.functional."):
        return "F." + name.rpartition(".")[2]
    parts = name.split(".")
    classes = [index for index, part in enumerate(parts) if part[:1].isupper()]
    if classes:
        return ".".join(parts[classes[0] :])
    return name if parts[0] == "torch" else parts[-1]


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
