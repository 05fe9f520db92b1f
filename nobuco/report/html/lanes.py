"""A graph as a line map: a row for each call in running order, a lane for each tensor from where it is made to where
it is read last. Transpositions are rows of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nobuco.report.html.calls import Call, Graph, Port

Key = tuple[int, bool]
"""A value by its id, and whether it is the transposed one."""


@dataclass(frozen=True)
class Stop:
    """A row: a call, a port of the model, or (neither) the transposition of a tensor.

    `makes` has each tensor with its channel order; `tensor` is the first in words.
    """

    reads: tuple[Key, ...]
    makes: tuple[tuple[Key, str], ...]
    call: Call | None = None
    port: Port | None = None
    tensor: str = ""


@dataclass(frozen=True)
class Lane:
    """A tensor's way: the row where it is made, those where it is read, its column and its order ("" for none)."""

    column: int
    made: int
    read: tuple[int, ...]
    order: str


@dataclass(frozen=True)
class LineMap:
    """Rows, the column of each row's dot, and lanes."""

    stops: tuple[Stop, ...]
    columns: tuple[int, ...]
    lanes: tuple[Lane, ...]

    @property
    def width(self) -> int:
        """How many columns there are."""
        return 1 + max((*self.columns, *(lane.column for lane in self.lanes)), default=0)


def line_map(graph: Graph) -> LineMap:
    """The map of a graph."""
    stops = tuple(_stops(graph))
    readers: dict[Key, list[int]] = {}
    for row, stop in enumerate(stops):
        for key in stop.reads:
            readers.setdefault(key, []).append(row)
    columns, lanes = [], []
    free: list[int] = []
    column_of: dict[Key, int] = {}
    width = 0
    for row, stop in enumerate(stops):
        entering = [key for key in stop.reads if key in column_of]
        ended = [column_of.pop(key) for key in entering if readers[key][-1] == row]
        free = sorted([*free, *ended[1:]])
        spare = ended[:1]
        dot = spare[0] if spare else None
        for key, order in stop.makes:
            if key not in readers or key in column_of:
                continue
            column = spare.pop() if spare else free.pop(0) if free else width
            width = max(width, column + 1)
            column_of[key] = column
            lanes.append(Lane(column, row, tuple(readers[key]), order))
            dot = column if dot is None else dot
        free = sorted([*free, *spare])
        columns.append(dot if dot is not None else column_of[entering[0]] if entering else free[0] if free else width)
    return LineMap(stops, tuple(columns), tuple(lanes))


def _stops(graph: Graph) -> Iterator[Stop]:
    """The rows: what enters, each call that is part of the model, what leaves."""
    tensors: dict[int, str] = {}
    turned: set[int] = set()
    for port in graph.sources:
        tensors[port.value] = port.tensor
        yield Stop((), (((port.value, False), order_of(port.tensor)),), port=port, tensor=port.tensor)
    for call in (call for top in graph.calls for call in _parts(top)):
        yield from _turning(call.turned, turned, tensors)
        tensors.update(zip(call.makes, call.outputs))
        makes = tuple(((value, False), order_of(tensor)) for value, tensor in zip(call.makes, call.outputs))
        reads = tuple(dict.fromkeys((value, value in call.turned) for value in call.reads))
        yield Stop(reads, makes, call=call, tensor=call.outputs[0] if call.outputs else "")
    for port in graph.results:
        yield from _turning([port.value] if port.turned else [], turned, tensors)
        yield Stop(((port.value, port.turned),), (), port=port, tensor=port.tensor)


def _parts(call: Call) -> Iterator[Call]:
    """The calls of the model in a call, in running order: those that were converted, or were to be."""
    if call.direct or not call.children:
        if not call.absent:
            yield call
        return
    for child in call.children:
        yield from _parts(child)


def _turning(values: Sequence[int], turned: set[int], tensors: Mapping[int, str]) -> Iterator[Stop]:
    """A row for each tensor that is transposed here for the first time."""
    for value in values:
        if value not in turned:
            turned.add(value)
            tensor = _other(tensors.get(value, ""))
            yield Stop(((value, False),), (((value, True), order_of(tensor)),), tensor=tensor)


def order_of(tensor: str) -> str:
    """The channel order among the words that describe a tensor."""
    order = tensor.rpartition(" ")[2]
    return order if order in ("TENSORFLOW", "PYTORCH") else ""


def _other(tensor: str) -> str:
    words, _, order = tensor.rpartition(" ")
    return f"{words} {'PYTORCH' if order == 'TENSORFLOW' else 'TENSORFLOW'}"
