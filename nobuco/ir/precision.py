"""In which dtype numbers were computed, which tells how exact they can be: a float32 may be a float16 made wider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nobuco.ir.graph import Graph, Node, Value

# From the finest to the coarsest. Numbers of other dtypes are exact, or tell nothing.
_FLOATS = ("float64", "float32", "float16", "bfloat16")


def computed_in(graph: Graph) -> Mapping[int, str]:
    """By the id of each value that a call makes, the coarsest dtype among it and what it was computed of.

    What a program is given, or holds, is exact: only calls round.
    """
    coarsest: dict[int, str] = {}
    for node in graph.nodes:
        _follow(node, coarsest)
    return coarsest


def coarsest_inside(node: Node, value: Value) -> str:
    """The same of a value that a call makes of exact inputs."""
    inner = (v.dtype for call in node.walk() if call is not node for v in call.results)
    return _coarsest(value.dtype, inner)


def _follow(node: Node, coarsest: dict[int, str]) -> None:
    for call in (*node.children, *(call for region in node.regions for call in region.nodes)):
        _follow(call, coarsest)
    regions = [v for region in node.regions for call in region.walk() for v in call.results]
    dtypes = [coarsest[v.id] for v in (*node.inputs, *regions) if v.id in coarsest]
    for value in node.results:
        coarsest.setdefault(value.id, _coarsest(value.dtype, dtypes))


def _coarsest(own: str, others: Iterable[str]) -> str:
    """The coarsest of these dtypes, for a number that is rounded at all."""
    if own not in _FLOATS and not own.startswith("complex"):
        return own
    return max((own, *(dtype for dtype in others if dtype in _FLOATS)), key=_coarseness)


def _coarseness(dtype: str) -> int:
    return _FLOATS.index(dtype) if dtype in _FLOATS else 0
