"""`bisect`: the first call whose result leaves its bound in a model that was converted earlier.

The layers of a converted model bear the names of the PyTorch modules and calls that they were made from. So the
program is traced again, each call is paired with its layer, and both sides run on the same inputs; the model itself
need not be converted anew, and the weights of either may have changed since.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import torch
from torch import nn

from nobuco.assemble.layers import name_of_last
from nobuco.assemble.names import plain_name
from nobuco.bridge import to_numpy
from nobuco.environment.alone import alone
from nobuco.errors import OutputError
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.fault.comparison import Comparison, compared
from nobuco.fault.running import Found, feeds, fitting, found, run
from nobuco.files import file_at, replacing
from nobuco.ir import Graph, Site, ValueKind, computed_in
from nobuco.kinds import BOUND, NOTHING, PATH, one_of, takes
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, tolerances, worst
from nobuco.program.call import prepared
from nobuco.registry import operation_name
from nobuco.select import Unit
from nobuco.stages import selected, traced


@dataclass(frozen=True)
class Point:
    """A call and its layer, compared: the accumulated error after it (of several outputs the gravest)."""

    name: str
    path: str
    layer: str
    invoked: Site
    difference: Difference

    def __str__(self) -> str:
        place = f"{self.path}: {self.name}" if self.path else self.name
        return f"{place} (layer {self.layer!r}, {self.invoked}): {self.difference.describe()}"


@dataclass(frozen=True)
class Bisection:
    """The calls that could be compared, in running order, those whose layer was not found, and the model's outputs.

    `saved` is the file that the tensors of the first call beyond its bound were written to.
    """

    points: tuple[Point, ...]
    unmatched: tuple[str, ...]
    outputs: Comparison
    saved: Path | None = None

    @property
    def first(self) -> Point | None:
        """The first call whose result leaves its bound: where to look for the cause."""
        return next((point for point in self.points if not point.difference.matches), None)

    def __str__(self) -> str:
        of_all = f"{len(self.points)} of {len(self.points) + len(self.unmatched)} calls compared"
        if self.first is not None:
            return f"The first call beyond its bound is {self.first} {of_all}."
        where = "" if self.outputs.ok else ", though an output is not: look at what could not be compared"
        return f"Every call is within its bound{where}; {of_all}."


@dataclass(frozen=True)
class _Pair:
    """A unit of the program and the tensors of the Keras model that its layer gives."""

    unit: Unit
    layer: str
    tensors: tuple[Any, ...]


@takes(
    tolerance=BOUND | NOTHING,
    save=PATH | NOTHING,
    runtime=one_of("keras", "tflite"),
)
@alone
def bisect(
    model: nn.Module | Any,
    keras_model: keras.Model,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    inputs_channel_order: ChannelOrder | str | Mapping[torch.Tensor, ChannelOrder | str] | None = None,
    tolerance: float | None = None,
    save: str | os.PathLike[str] | None = None,
    runtime: Literal["keras", "tflite"] = "keras",
) -> Bisection:
    """Find the first call whose result leaves its bound in a Keras model that was converted earlier.

    Needs the memory of all activations at once. Converters of your own must be registered as they were when the model
    was converted, since they decide which calls have layers.

    Args:
        model: the PyTorch model, a module or any callable.
        keras_model: the Keras model, also one loaded from a file.
        args: the positional arguments of `model`.
        kwargs: its keyword arguments.
        inputs_channel_order: how the Keras model takes its inputs, as for `compare`.
        tolerance: the largest absolute difference; None takes the dtype's default.
        save: a path (`.npz`) for the tensors of the first call beyond its bound, all in PyTorch's order:
            `expected_0`, … as PyTorch gave them and `got_0`, … as Keras did; `input_0`, … what PyTorch's call was
            given, and `got_input_0`, … the same in the running Keras model, where a compared call made it.
        runtime: what runs the layers: Keras, or TFLite, of the same model with what every layer gives as an output
            (of which the Bisection's `outputs` say nothing).

    Raises:
        InputError: an argument is wrong, or the Keras model has other inputs or outputs than PyTorch.
    """
    to = None if save is None else _file(save)
    call = prepared(model, args, kwargs)
    graph = traced(call, [tensor.shape for tensor in call.tensors])
    outputs = compared(graph, call, keras_model, inputs_channel_order, None, tolerance)
    graph, selection, _ = selected(graph)
    units = selection.units
    pairs = list(_paired(units, keras_model))
    bounds, computed = tolerances(tolerance, "tolerance"), computed_in(graph)
    points, results = [], {v.id: to_numpy(graph.samples[v.id]) for v in graph.inputs}
    saved = None
    for pair, tensors in zip(pairs, _activations(keras_model, pairs, feeds(call, outputs.inputs), runtime)):
        parts = [
            found(value, graph, tensor, bounds(computed.get(value.id, value.dtype)), lying=selection.lies.get(value.id))
            for value, tensor in zip(pair.unit.outputs, tensors)
        ]
        point = _point(pair, parts)
        if to is not None and saved is None and not point.difference.matches:
            saved = _saved(to, pair.unit, graph, parts, results)
        points.append(point)
        results.update({value.id: part.got for value, part in zip(pair.unit.outputs, parts)})
    paired = {id(pair.unit) for pair in pairs}
    unmatched = tuple(name_of_last(unit) for unit in units if id(unit) not in paired and not unit.vanishes)
    return Bisection(tuple(points), unmatched, outputs, saved)


def _paired(units: Sequence[Unit], keras_model: keras.Model) -> Iterator[_Pair]:
    """Each unit with the call of its layer, by name; where names do not tell which is which, none."""
    by_name: dict[str, list[Unit]] = {}
    for unit in units:
        by_name.setdefault(plain_name(name_of_last(unit)), []).append(unit)
    calls = _layer_calls(keras_model, by_name)
    pairs = {}
    for name, alike in by_name.items():
        layers = calls.get(name, [])
        if len(layers) != len(alike):
            continue
        for unit, (layer, tensors) in zip(alike, layers):
            fits = len(tensors) == len(unit.outputs) and all(
                fitting(value.shape, tuple(tensor.shape)) for value, tensor in zip(unit.outputs, tensors)
            )
            if fits and not any(value.kind is ValueKind.SIZE for value in unit.outputs):
                pairs[id(unit)] = _Pair(unit, layer, tensors)
    yield from (pairs[id(unit)] for unit in units if id(unit) in pairs)


def _layer_calls(keras_model: keras.Model, names: Mapping[str, Any]) -> dict[str, list[tuple[str, tuple[Any, ...]]]]:
    """By name (without the number that makes it unique), each call of a layer and its tensors, in order."""
    own = {id(node) for nodes in keras_model._nodes_by_depth.values() for node in nodes}
    calls: dict[str, list[tuple[int, str, tuple[Any, ...]]]] = {}
    for layer in keras_model.layers:
        plain, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer.name).groups()  # type: ignore[union-attr]
        name, rank = (layer.name, 0) if layer.name in names else (plain, int(number or 0))
        for node in layer._inbound_nodes:
            if id(node) in own:
                calls.setdefault(name, []).append((rank, layer.name, tuple(node.output_tensors)))
    return {name: [call[1:] for call in sorted(alike, key=lambda c: c[0])] for name, alike in calls.items()}


def _activations(
    keras_model: keras.Model, pairs: Sequence[_Pair], tensors: Sequence[Any], runtime: str
) -> Iterator[list[Any]]:
    """What the layers of the pairs give, pair by pair."""
    wanted = [tensor for pair in pairs for tensor in pair.tensors]
    in_runtime = run if runtime == "keras" else lambda model, tensors: run_tflite(to_tflite(model), tensors)
    got = iter(in_runtime(keras.Model(keras_model.inputs, wanted), tensors) if wanted else ())
    for pair in pairs:
        yield [next(got) for _ in pair.tensors]


def _point(pair: _Pair, parts: Sequence[Found]) -> Point:
    node = pair.unit.node
    gravest = worst(part.difference for part in parts)
    assert gravest is not None
    return Point(operation_name(node.op), node.path or pair.unit.scope, pair.layer, node.site, gravest)


def _file(save: str | os.PathLike[str]) -> Path:
    try:
        return file_at(save)
    except OutputError as error:
        reason = f"{error.reason}; give the path of a file in a directory that is there"
        raise OutputError(f"save is {str(save)!r}", reason) from error


def _saved(path: Path, unit: Unit, graph: Graph, parts: Sequence[Found], results: Mapping[int, np.ndarray]) -> Path:
    """Write the tensors of a call as `.npz`, the whole of it or nothing."""
    arrays = {f"expected_{i}": part.expected for i, part in enumerate(parts)}
    arrays |= {f"got_{i}": part.got for i, part in enumerate(parts)}
    for i, value in enumerate(unit.inputs):
        if value.kind is not ValueKind.SIZE:
            arrays[f"input_{i}"] = to_numpy(graph.samples[value.id])
        if value.id in results:
            arrays[f"got_input_{i}"] = results[value.id]
    with replacing(path) as fresh, open(fresh, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path
