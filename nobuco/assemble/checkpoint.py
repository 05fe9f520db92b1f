"""Which tensors of a checkpoint the layers of a finished model hold, and which went into it some other way."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch

from nobuco.assemble.built import Built
from nobuco.assemble.closures import variables_of
from nobuco.assemble.learned import remember, sources_of
from nobuco.bridge import to_numpy
from nobuco.ir import Graph, Node
from nobuco.layers.checkpoint import Checkpoint, Term, digest
from nobuco.select import Selection


def checkpoint_of(tensors: Mapping[str, torch.Tensor], graph: Graph, selection: Selection, built: Built) -> Checkpoint:
    """What the model has to do with the checkpoint whose tensors these are."""
    keys = _Keys.of(tensors, graph)
    fixed = keys.read_by(_folded(graph, selection))
    for unit in selection.units:
        layer, read = built.layers[unit.node.id], keys.read_by([unit.node])
        variables = variables_of(layer)
        _recognise(variables, {key: tensors[key] for key in read} if unit.node.module is not None else {})
        held = {term.key for variable in variables for term in keys.terms(variable) or ()}
        fixed |= read - held - keys.of_values(v for v in unit.inputs if built.is_weight(v))
    return Checkpoint(
        weights=_weights(built.model, keys),
        shapes={key: tuple(tensor.shape) for key, tensor in tensors.items()},
        fixed={key: digest(_plain(tensors[key])) for key in sorted(fixed)},
        tied=keys.tied,
    )


@dataclass(frozen=True)
class _Keys:
    """The keys of tensors, by the tensors' identity, and by the values that stand for them in the graph."""

    by_id: Mapping[int, str]
    graph: Graph
    tied: Mapping[str, str]

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], graph: Graph) -> _Keys:
        by_id: dict[int, str] = {}
        tied = {}
        for key, tensor in tensors.items():
            if by_id.setdefault(id(tensor), key) != key:
                tied[key] = by_id[id(tensor)]
        # What a call overwrites was copied before.
        for value in {v for node in graph.walk() for v in node.inputs} | {before for before, _ in graph.states}:
            if value.name in tensors and value.id in graph.samples.kept:
                by_id.setdefault(id(graph.samples[value.id]), tied.get(value.name, value.name))
        return cls(by_id, graph, tied)

    def of_values(self, values: Any) -> set[str]:
        """The keys of those values that stand for tensors of the checkpoint."""
        keys = (self.by_id.get(id(self.graph.samples.kept.get(value.id))) for value in values)
        return {key for key in keys if key is not None}

    def read_by(self, nodes: Sequence[Node]) -> set[str]:
        """The keys of what these calls, or calls inside them, read."""
        leaves = [leaf for node in nodes for leaf in node.walk() if not leaf.children]
        return self.of_values(v for leaf in leaves for v in leaf.inputs) - self.of_values(
            before for before, _ in self.graph.states
        )

    def terms(self, variable: keras.Variable) -> list[Term] | None:
        """Of what a variable is the sum; None where that is not known, or is no part of the checkpoint."""
        terms = [(self.by_id.get(id(ref())), steps) for ref, steps in sources_of(variable) if ref() is not None]
        whole = terms and len(terms) == len(sources_of(variable)) and all(key is not None for key, _ in terms)
        return [Term(str(key), steps) for key, steps in terms] if whole else None


def _weights(model: keras.Model, keys: _Keys) -> dict[str, list[list[Term] | None]]:
    by_layer = {layer.name: [keys.terms(variable) for variable in layer.variables] for layer in model.layers}
    return {name: recipes for name, recipes in by_layer.items() if any(recipes)}


def _folded(graph: Graph, selection: Selection) -> list[Node]:
    """The calls that are part of no unit: what they gave is a constant."""
    units = (*selection.units, *selection.dropped)
    ours = {n.id for unit in units for node, _ in unit.calls for n in node.walk()}
    return [node for node in graph.walk() if not node.children and node.id not in ours]


def _recognise(variables: Sequence[keras.Variable], candidates: Mapping[str, torch.Tensor]) -> None:
    """Note the tensors behind the variables that a user's converter has filled: those that equal one alone."""
    for variable in variables:
        if sources_of(variable) or not candidates:
            continue
        value = variable.numpy()
        matches = [(tensor, perm) for tensor in candidates.values() for perm in _turns(value, _plain(tensor))]
        if len(matches) == 1:
            tensor, perm = matches[0]
            remember(variable, [(weakref.ref(tensor), (("transpose", perm),))])


def _turns(value: np.ndarray, array: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The orders of axes in which an array is this value; of those that differ in axes of one, the first."""
    if sorted(value.shape) != sorted(array.shape):
        return
    seen = set()
    for perm in itertools.permutations(range(array.ndim)):
        turned = array.transpose(perm)
        large = tuple(axis for axis in perm if array.shape[axis] != 1)
        if turned.shape == value.shape and large not in seen and np.array_equal(turned.astype(value.dtype), value):
            seen.add(large)
            yield perm


def _plain(tensor: torch.Tensor) -> np.ndarray:
    """As `load_state_dict` sees it."""
    return to_numpy(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
