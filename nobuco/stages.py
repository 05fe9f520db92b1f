"""The first stages of a conversion: from a program to its calls, each with the converter that serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nobuco.builtin import find_converter
from nobuco.errors import ConversionError, InputError
from nobuco.ir import Graph, values
from nobuco.program.call import Call, devices_apart
from nobuco.registry import operation_name
from nobuco.select import Selection, gap_message, results_of, select
from nobuco.select.channels import in_order
from nobuco.select.folding import folded
from nobuco.select.serving import stands_for_all
from nobuco.trace import Input, SizeTracing, trace_dynamic
from nobuco.trace.foreign import foreign
from nobuco.trace.opening import opened


def traced(
    call: Call,
    shapes: Sequence[Sequence[int | None]],
    trace_shape: bool | None = None,
    paths: int = 0,
    validate_on: Sequence[Any] | None = None,
) -> Graph:
    """The calls that a program makes; sizes stay symbolic where they vary, as where an input's shape has None.

    `validate_on` is as in `trace_dynamic`.
    """
    inputs = [Input(name, shape) for name, shape in zip(call.names, shapes)]
    sizes = SizeTracing.EXPLICIT if trace_shape is False else SizeTracing.ALL
    try:
        return trace_dynamic(
            call.program.function, call.args, call.kwargs, inputs, sizes, paths,
            stands_for_all=lambda node: stands_for_all(node, find_converter), validate_on=validate_on,
        )  # fmt: skip
    except RuntimeError as error:
        apart = devices_apart(call)
        if apart:
            raise InputError(f"{apart} ({error})") from error
        raise


def selected(
    graph: Graph, decompose: bool = True, names: Sequence[str] = ()
) -> tuple[Graph, Selection, Mapping[int, str]]:
    """What becomes of each call of a graph: the graph with calls opened that have no converter, and the choice.

    Conditions call the inputs by their `names`. Also why calls could not be opened, by the id of the node.
    """
    refused: Mapping[int, str] = {}
    selection = select(graph, find_converter)
    if decompose and selection.gaps:
        graph, refused = opened(graph, [gap.node.id for gap in selection.gaps], find_converter, names)
        selection = select(graph, find_converter)
    units, lying = in_order(selection.units, (*results_of(graph), *(before for before, _ in graph.states)))
    return graph, replace(selection, units=tuple(folded(units, results_of(graph))), lies=lying), refused


def refuse_foreign(graph: Graph, selection: Selection) -> None:
    """Refuse calls, those that are converted and gaps, that take or give tensors which TensorFlow does not have.

    Raises:
        ConversionError: a tensor is sparse, quantised, or of a type that TensorFlow does not compute in.
    """
    for node in (*(gap.node for gap in selection.gaps), *(unit.node for unit in selection.units)):
        for value in values((node.args, dict(node.kwargs), node.outputs)):
            sample = graph.samples.kept.get(value.id)
            problem = foreign(sample) if isinstance(sample, torch.Tensor) else ""
            if problem:
                raise ConversionError(f"{node.site}: a tensor of {operation_name(node.op)} {problem}", (str(node.op),))


def refuse_gaps(selection: Selection, refused: Mapping[int, str]) -> None:
    """Refuse calls that have no converter; `refused`: why some could not be opened, by the id of the node.

    Raises:
        ConversionError: there are such calls; it names them all.
    """
    if selection.gaps:
        message = gap_message(selection.gaps, refused)
        raise ConversionError(message, tuple(str(gap.node.op) for gap in selection.gaps))
