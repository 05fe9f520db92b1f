"""Numbers that were sizes: `len(x)` and `int(x.shape[0])` are plain numbers to Python, which keep no record.

Where a call was given a number that in every run was a size met before it, that size is what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nobuco.ir import Graph, Node, Value, ValueKind, leaves, map_leaves


def with_lengths(graphs: Sequence[Graph]) -> list[Graph]:
    """The graphs of runs that made the same calls, with sizes in the places of numbers that differ as they do."""
    finder = _Finder([graph.samples for graph in graphs])
    rows = finder.rewritten([graph.nodes for graph in graphs])
    return [replace(graph, nodes=tuple(nodes)) for graph, nodes in zip(graphs, rows)]


@dataclass
class _Finder:
    """Walks all runs in step; `met` has the sizes so far by what they were in each run, the latest of equal ones."""

    samples: Sequence[Any]
    met: dict[tuple[int, ...], tuple[Value, ...]] = field(default_factory=dict)

    def rewritten(self, rows: Sequence[Sequence[Node]]) -> list[list[Node]]:
        """The nodes of one call in each run."""
        found: list[list[Node]] = [[] for _ in rows]
        for nodes in zip(*rows):
            given = [self._size(numbers) for numbers in zip(*map(_given, nodes))]
            children = self.rewritten([node.children for node in nodes])
            for run, node in enumerate(nodes):
                own = [None if sizes is None else sizes[run] for sizes in given]
                found[run].append(replace(_given_instead(node, own), children=tuple(children[run])))
            self._meet(nodes)
        return found

    def _size(self, numbers: tuple[Any, ...]) -> tuple[Value, ...] | None:
        """The size, in each run, that an argument was; None where it is none, or always the same."""
        plain = all(type(number) is int for number in numbers)
        return self.met.get(numbers) if plain and len(set(numbers)) > 1 else None

    def _meet(self, nodes: Sequence[Node]) -> None:
        for sizes in zip(*(node.results for node in nodes)):
            if sizes[0].kind is ValueKind.SIZE:
                self.met[tuple(samples[size.id] for samples, size in zip(self.samples, sizes))] = sizes


def _given(node: Node) -> list[Any]:
    return list(leaves((node.args, dict(node.kwargs))))


def _given_instead(node: Node, sizes: Sequence[Value | None]) -> Node:
    if not any(sizes):
        return node
    queue = iter(sizes)
    args, kwargs = map_leaves(lambda leaf: next(queue) or leaf, (node.args, dict(node.kwargs)))
    return replace(node, args=args, kwargs=kwargs)
