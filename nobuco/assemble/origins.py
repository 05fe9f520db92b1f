"""Noting in a finished model which tensors of the program its states, weights and constants are."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping

import torch

from nobuco.assemble.built import Built
from nobuco.ir import Graph, Value, values
from nobuco.layers.origin import Origin, Origins


def note_origins(built: Built, graph: Graph, held: Mapping[str, torch.Tensor]) -> None:
    """Let the model and its states know the tensors that they stand for; `held` are the program's own, by name."""
    for layer, value in built.states:
        layer.origin = next(iter(_origins([value], graph, held)), None)
    apart = {value.id for value, _ in graph.states} | {value.id for value in graph.left}
    leaf_nodes = (node for node in graph.walk() if not node.children)
    read = [*values(graph.outputs), *(value for node in leaf_nodes for value in node.inputs)]
    constant = {value.id: value for value in read if value.kind.is_constant and value.id not in apart}
    built.model.origins = Origins(
        tuple(_origins(constant.values(), graph, held)), tuple(_origins(graph.left, graph, held))
    )


def _origins(entries: Iterable[Value], graph: Graph, held: Mapping[str, torch.Tensor]) -> Iterator[Origin]:
    for value in entries:
        tensor = held.get(value.name, graph.samples.kept.get(value.id))
        if isinstance(tensor, torch.Tensor):
            yield _origin(value.name, tensor)


def _origin(name: str, tensor: torch.Tensor) -> Origin:
    if tensor.layout is not torch.strided:
        return Origin(name, weakref.ref(tensor))
    storage, start = weakref.ref(tensor.untyped_storage()), int(tensor.storage_offset()) * tensor.element_size()
    return Origin(name, weakref.ref(tensor), storage, start, tuple(tensor.shape), tensor.stride(), tensor.dtype)
