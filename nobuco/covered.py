"""`coverage`: what converts, answered without converting."""

from __future__ import annotations

import os
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nobuco.builtin import find_converter
from nobuco.environment.alone import alone
from nobuco.errors import InputError, NobucoWarning
from nobuco.ir import Graph, Node, values
from nobuco.program.call import prepared
from nobuco.program.examples import example_arguments
from nobuco.registry import Converter, operation_name
from nobuco.report.coverage import CallCoverage, Coverage, Served
from nobuco.select import Selection, select
from nobuco.stages import selected, traced


@alone
def coverage(
    subject: Callable[..., Any] | torch.export.ExportedProgram | str | os.PathLike[str],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Coverage:
    """What becomes of an operation, or of each call of a program, in a conversion; nothing is converted.

    A program runs once, on copies of the arguments, as `pytorch_to_keras` runs it.

    Args:
        subject: an operation or its dotted name ("torch.nn.functional.gelu", "torch.ops.aten.mm.default"); or, with
            arguments, any program that `pytorch_to_keras` takes.
        args: the program's positional arguments. An exported program has its own. An operation that has no
            converter is tried on a small example where none are given.
        kwargs: the program's keyword arguments.

    Returns:
        Per operation: which converter serves it, into which ATen calls it is opened, or that nothing converts it.
        `nobuco.report.render_coverage` makes a text of it.

    Raises:
        InputError: there is nothing of that name, or no example was found on which the operation runs.
    """
    if isinstance(subject, str) and Path(subject).suffix not in (".pt", ".pt2") and not os.path.isfile(subject):
        subject = _named(subject)
    if args is None and kwargs is None and _is_operation(subject):
        return _of_operation(subject)
    return _of_program(subject, args, kwargs)


def _named(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"subject: there is no {name!r} ({error}); give the dotted name of an operation, e.g. "
            "'torch.nn.functional.gelu'"
        ) from error


def _is_operation(subject: Any) -> bool:
    return (
        callable(subject)
        and not isinstance(subject, (nn.Module, torch.jit.ScriptFunction))
        and not isinstance(subject, torch.export.ExportedProgram)
    )


def _of_operation(operation: Any) -> Coverage:
    name, converter = operation_name(operation), find_converter(operation)
    if converter is not None:
        return Coverage(name, (CallCoverage(name, Served.CONVERTER, converter=converter.location),))
    if isinstance(operation, type):
        raise InputError(
            f"{name} has no converter of its own, so that the calls of its forward tell what converts; give an "
            "instance, with example inputs as args"
        )
    args = example_arguments(operation)
    if args is None:
        raise InputError(f"{name} has no converter, and no example was found on which it runs; give args to try it on")
    whole = _of_program(operation, args, None)
    return Coverage(name, tuple(map(_by_itself, whole.calls)))


def _by_itself(call: CallCoverage) -> CallCoverage:
    """A call of an example that was generated: it has no line, and how often it is made says nothing."""
    return replace(call, count=0, sites=(), into=tuple(map(_by_itself, call.into)))


def _of_program(model: Any, args: Any, kwargs: Any) -> Coverage:
    call = prepared(model, args, kwargs, "subject")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NobucoWarning)  # which belong to a conversion
        graph = traced(call, [tuple(tensor.shape) for tensor in call.tensors])
        graph, selection, refused = selected(graph)
    return Coverage(call.program.name, _Calls(refused).of(graph, selection))


@dataclass
class _Calls:
    """Tells the calls of a graph by what becomes of them; `refused` says why some cannot be opened, by node."""

    refused: Mapping[int, str]
    converters: dict[int, Converter] = field(default_factory=dict)
    gaps: set[int] = field(default_factory=set)

    def of(self, graph: Graph, selection: Selection) -> tuple[CallCoverage, ...]:
        """The operations of a graph, in the order of their first calls."""
        self._learn(selection)
        return _merged(call for node in graph.nodes for call in self._calls(node))

    def _learn(self, selection: Selection) -> None:
        for unit in (*selection.units, *selection.dropped):  # dropped, too: behind a gap nothing is asked for
            self.converters.update((node.id, converter) for node, converter in unit.calls)
            for region in unit.node.regions:
                self._learn(select(region, find_converter))
        self.gaps |= {gap.node.id for gap in selection.gaps}

    def _calls(self, node: Node) -> Iterable[CallCoverage]:
        below = [call for child in node.children for call in self._calls(child)]
        inside = [call for region in node.regions for inner in region.nodes for call in self._calls(inner)]
        if node.id in self.converters:
            return (self._call(node, Served.CONVERTER, converter=self.converters[node.id].location), *inside)
        if node.id in self.gaps:
            return (self._call(node, Served.NOTHING, reason=self.refused.get(node.id, "")),)
        if node.opened and below:
            return (self._call(node, Served.OPENED, into=_merged(below)),)
        return below

    def _call(self, node: Node, served: Served, **more: Any) -> CallCoverage:
        inputs = tuple(f"{value.dtype}{list(value.shape)}" for value in values((node.args, dict(node.kwargs))))
        return CallCoverage(operation_name(node.op), served, 1, (node.site,), inputs, **more)


def _merged(calls: Iterable[CallCoverage]) -> tuple[CallCoverage, ...]:
    """The calls with those joined that are of one operation and become the same."""
    merged: dict[Any, CallCoverage] = {}
    for call in calls:
        kind = (call.name, call.served, call.converter, call.reason, tuple((c.name, c.count) for c in call.into))
        known = merged.get(kind)
        sites = tuple(dict.fromkeys((*known.sites, *call.sites))) if known is not None else call.sites
        count = call.count + (known.count if known is not None else 0)
        merged[kind] = replace(known or call, count=count, sites=sites)
    return tuple(merged.values())
