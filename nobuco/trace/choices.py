"""`max` and `min` of dynamic sizes, which Python decides while tracing: found by comparing runs.

A call that was given one size in one run and another in the next was given a choice. Where the larger (or the
smaller) of the two stood there in every run, the choice is recorded as what it must have been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nobuco.ir import Graph, Node, Site, Value, ValueKind, leaves, map_leaves


def with_choices(graph: Graph, others: Sequence[Graph]) -> Graph:
    """The graph with `max` and `min` nodes where the other runs, which made the same calls, show them."""
    finder = _Finder(graph.samples, [dict(run) for run in graph.runs], [_back(graph, other) for other in others])
    nodes = finder.rewritten(graph.nodes, [other.nodes for other in others])
    if not finder.made:
        return graph
    return replace(
        graph,
        nodes=nodes,
        samples={**graph.samples, **finder.made},
        runs=tuple(finder.runs),
        baked=tuple(b for b in graph.baked if not (b.chooses and b.value in finder.chosen)),
    )


def _back(first: Graph, second: Graph) -> dict[int, Value]:
    """The first run's values by the ids of the second's."""
    return {
        theirs.id: mine
        for node, other in zip(first.walk(), second.walk())
        for mine, theirs in zip(node.results, other.results)
    }


@dataclass
class _Finder:
    """Walks all runs in step. `made` are the numbers of the choices found, `chosen` what they choose among."""

    samples: Mapping[int, Any]
    runs: list[dict[int, Any]]
    back: Sequence[Mapping[int, Value]]
    made: dict[int, Any] = field(default_factory=dict)
    chosen: set[int] = field(default_factory=set)

    def rewritten(self, nodes: Sequence[Node], others: Sequence[Sequence[Node]]) -> tuple[Node, ...]:
        """The nodes of one call, with the choices before those that use them."""
        found: list[Node] = []
        for node, *theirs in zip(nodes, *others):
            children = self.rewritten(node.children, [other.children for other in theirs])
            given = _given(node)
            choices = [self._choice(in_runs) for in_runs in zip(given, *map(_given, theirs))]
            found += [replace(choice, site=node.site) for choice in choices if choice is not None]
            if any(choices):
                node = _given_instead(
                    node, [choice.outputs if choice else leaf for choice, leaf in zip(choices, given)]
                )
            found.append(replace(node, children=children))
        return tuple(found)

    def _choice(self, in_runs: Sequence[Any]) -> Node | None:
        """The call that makes an argument what it was in every run, if a choice of two does."""
        mine, *theirs = in_runs
        if not all(map(_is_number, in_runs)):
            return None
        stood = [mine, *(back.get(t.id) if isinstance(t, Value) else t for back, t in zip(self.back, theirs))]
        among = list(dict.fromkeys(stood))
        if None in among or len(among) != 2 or not any(isinstance(c, Value) for c in among):
            return None
        runs = [{**self.samples, **self.made}, *self.runs]
        numbers = [[run[c.id] if isinstance(c, Value) else c for c in among] for run in runs]
        taken = [pair[among.index(s)] for pair, s in zip(numbers, stood)]
        for op in (max, min):
            if taken == [op(pair) for pair in numbers]:
                return self._made(op, among, taken)
        return None

    def _made(self, op: Callable[..., Any], among: Sequence[Any], numbers: Sequence[Any]) -> Node:
        values = [c for c in among if isinstance(c, Value)]
        value = Value(max((*self.samples, *self.made)) + 1, ValueKind.SIZE, (), values[0].dtype)
        self.chosen |= {v.id for v in values}
        self.made[value.id] = numbers[0]
        for run, number in zip(self.runs, numbers[1:]):
            run[value.id] = number
        return Node(-value.id, op, tuple(among), {}, value, Site("", 0))


def _given(node: Node) -> list[Any]:
    return list(leaves((node.args, dict(node.kwargs))))


def _given_instead(node: Node, arguments: Sequence[Any]) -> Node:
    queue = iter(arguments)
    args, kwargs = map_leaves(lambda _: next(queue), (node.args, dict(node.kwargs)))
    return replace(node, args=args, kwargs=kwargs)


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, Value):
        return leaf.kind is ValueKind.SIZE
    return isinstance(leaf, int) and not isinstance(leaf, bool)
