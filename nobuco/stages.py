"""The first stages of a conversion: from a programme to its calls, each with the converter that serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nobuco.arguments import Call
from nobuco.ir import Graph
from nobuco.registry import find_converter
from nobuco.select import Selection, select
from nobuco.serving import stands_for_all
from nobuco.trace import Input, Kept, trace_dynamic
from nobuco.trace.opening import opened


def traced(
    call: Call,
    shapes: Sequence[Sequence[int | None]],
    trace_shape: bool | None = None,
    paths: int = 0,
    validate_on: Sequence[Any] | None = None,
) -> Graph:
    """The calls that a programme makes; sizes stay symbolic where they vary, as where an input's shape has None.

    `validate_on` is as in `trace_dynamic`.
    """
    inputs = [Input(name, shape) for name, shape in zip(call.names, shapes)]
    sizes = Kept.ASKED if trace_shape is False else Kept.ALL
    return trace_dynamic(
        call.program.function, call.args, call.kwargs, inputs, sizes, paths,
        stands_for_all=lambda node: stands_for_all(node, find_converter), validate_on=validate_on,
    )  # fmt: skip


def selected(graph: Graph, decompose: bool = True) -> tuple[Graph, Selection, Mapping[int, str]]:
    """What becomes of each call of a graph: the graph with calls opened that have no converter, and the choice.

    Also why calls could not be opened, by the id of the node.
    """
    selection = select(graph, find_converter)
    if not decompose or not selection.gaps:
        return graph, selection, {}
    graph, refused = opened(graph, [gap.node.id for gap in selection.gaps], find_converter)
    return graph, select(graph, find_converter), refused
