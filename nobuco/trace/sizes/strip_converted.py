"""Dropping the insides of converted calls, such as loops, so that runs can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nobuco.ir import Graph, Node, ValueKind, values


def strip_converted(graphs: Sequence[Graph], stands_for_all: Callable[[Node], bool]) -> list[Graph]:
    """The graphs of several runs, without the insides of converted calls that went differently in them.

    A loop over a dynamic axis makes other calls in each run; with a converter of its own, that is no matter.
    Graphs that need those insides elsewhere (a write to an argument) are given back as they are.
    """
    rows = _outsides([graph.nodes for graph in graphs], stands_for_all)
    found = [replace(graph, nodes=tuple(nodes)) for graph, nodes in zip(graphs, rows)]
    return found if all(map(_is_complete, found)) else list(graphs)


def _outsides(rows: Sequence[Sequence[Node]], stands_for_all: Callable[[Node], bool]) -> list[Sequence[Node]]:
    if len({len(row) for row in rows}) > 1:
        return list(rows)
    columns = [_outside(nodes, stands_for_all) for nodes in zip(*rows)]
    return [tuple(column[i] for column in columns) for i in range(len(rows))]


def _outside(nodes: Sequence[Node], stands_for_all: Callable[[Node], bool]) -> Sequence[Node]:
    """One call in each run."""
    if len({_calls(node) for node in nodes}) == 1 or len({node.op for node in nodes}) > 1:
        return nodes
    if stands_for_all(nodes[0]):
        return [replace(node, children=()) for node in nodes]
    inside = _outsides([node.children for node in nodes], stands_for_all)
    return [replace(node, children=tuple(children)) for node, children in zip(nodes, inside)]


def _calls(node: Node) -> tuple[Any, ...]:
    return tuple((getattr(inner.op, "__qualname__", str(inner.op)), inner.path) for inner in node.walk())


def _is_complete(graph: Graph) -> bool:
    """Whether all that is read in a graph is made in it."""
    nodes = list(graph.walk())
    made = {value.id for value in graph.inputs} | {value.id for node in nodes for value in node.results}
    made |= {before.id for before, _ in graph.states}
    read = [*values(graph.outputs), *(after for _, after in graph.states)]
    read += [value for node in nodes for value in node.inputs]
    return all(value.id in made for value in read if value.kind in (ValueKind.RESULT, ValueKind.SIZE))
