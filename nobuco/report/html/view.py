"""A graph of calls with what is special in it, for the parts of a page that show it."""

from __future__ import annotations

from dataclasses import dataclass

from nobuco.report.html.calls import Call, Graph, ancestors


@dataclass(frozen=True)
class View:
    """A graph, the calls that a reader should see, and those that stand open; `name` makes the ids of a page unique."""

    graph: Graph
    name: str
    culprit: Call | None
    worst: Call | None
    open: frozenset[int]

    @classmethod
    def of(cls, graph: Graph, name: str) -> View:
        """The view of a graph in which the way to the culprit stands open."""
        culprit = graph.culprit
        above = ancestors(graph.calls, culprit) if culprit else ()
        shown = (*graph.calls, *above, *((culprit,) if culprit else ()))
        return cls(graph, name, culprit, graph.worst, frozenset(call.number for call in shown))

    def id(self, call: Call) -> str:
        """The id of a call's element."""
        return f"{self.name}-{call.number}"
