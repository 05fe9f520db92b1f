"""Parts of a tensor that Python takes one by one, as in `for row in x.unbind(1)`: each cut out where it is read.

How many parts there are depends on the tensor's size, and a call that gives them all is another at another size. Where
a loop over them is found, each round cuts its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch

from nobuco.ir import Graph, Node, Value, values
from nobuco.trace.calls import name_of
from nobuco.trace.sizes.unrolled import swapped


@dataclass(frozen=True)
class _Part:
    """A part of a tensor: the call that cuts it out, and its arguments."""

    op: Callable[..., Any]
    args: tuple[Any, ...]


def unlisted(graph: Graph) -> Graph:
    """The graph with each part of a tensor cut out by whoever reads it; parts that are written stay as they are."""
    written = {before.id for node in graph.walk() for before, _ in node.writes}
    ends = {value.id for value in values((graph.outputs, [after for _, after in graph.states]))}
    cutting = _Cutting(graph, written)
    nodes = cutting.row(graph.nodes, ends)
    return replace(graph, nodes=nodes, samples=graph.samples.plus(cutting.samples))


@dataclass
class _Cutting:
    """A graph while its lists of parts are replaced."""

    graph: Graph
    written: Collection[int]
    samples: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [i for node in self.graph.walk() for i in (abs(node.id), *(v.id for v in node.results))]
        self._ids = count(max([0, *ids, *self.graph.samples.kept]) + 1_000_000)

    def row(self, nodes: Sequence[Node], ends: Collection[int]) -> tuple[Node, ...]:
        """The calls of a row; `ends` are the values that are read behind it."""
        parts: dict[int, _Part] = {}
        found: list[Node] = []
        for node in nodes:
            mine = {} if any(value.id in self.written for value in node.results) else _parts(node)
            parts.update(mine)
            if mine:
                kept = [value for value in node.results if value.id in ends]
                found += [self._call(parts.pop(value.id), value, node) for value in kept]
                continue
            read = {v.id: v for inner in node.walk() for v in inner.inputs if v.id in parts}
            swap = {id: self._copied(value) for id, value in read.items()}
            found += [self._call(parts[id], value, node) for id, value in swap.items()]
            changed = swapped(node, swap)
            inner = {value.id for value in changed.results}
            found.append(replace(changed, children=self.row(changed.children, inner)))
        return tuple(found)

    def _call(self, part: _Part, value: Value, reader: Node) -> Node:
        return Node(-next(self._ids), part.op, part.args, {}, value, reader.site)

    def _copied(self, value: Value) -> Value:
        copied = replace(value, id=next(self._ids))
        if value.id in self.graph.samples:
            self.samples[copied.id] = self.graph.samples[value.id]
        return copied


def _parts(node: Node) -> Mapping[int, _Part]:
    """What a call that gives all parts of a tensor gives, by the id of each."""
    named = dict(zip(_NAMES.get(name_of(node.op), ()), node.args)) | dict(node.kwargs)
    source, dim = named.get("self", named.get("input", named.get("tensor"))), named.get("dim", 0)
    if node.children or not isinstance(source, Value) or type(dim) is not int:
        return {}
    if name_of(node.op) == "unbind":
        return {value.id: _Part(torch.select, (source, dim, i)) for i, value in enumerate(node.results)}
    if type(named.get("split_size")) is int and named["split_size"] == 1:
        return {value.id: _Part(torch.narrow, (source, dim, i, 1)) for i, value in enumerate(node.results)}
    return {}


_NAMES = {"unbind": ("self", "dim"), "split": ("self", "split_size", "dim")}
