"""A finished model run layer by layer: each tensor is let go of once no later layer reads it.

Keras itself keeps what every layer gave until the last one is done: all activations at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras


def outputs_of(model: keras.Model, feeds: Sequence[Any]) -> list[Any]:
    """The outputs of a functional model, flat, for tensors in the order of its inputs; not in training."""
    tensors = {id(symbol): tensor for symbol, tensor in zip(model.inputs, feeds, strict=True)}
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    calls = [node for node in nodes if not node.is_input]
    readers = Counter(id(symbol) for node in calls for symbol in node.input_tensors)
    readers.update(id(symbol) for symbol in model.outputs)
    for node in calls:
        args, kwargs = node.arguments.fill_in(tensors)
        if getattr(node.operation, "_call_has_training_arg", False):
            kwargs["training"] = False
        results = keras.tree.flatten(node.operation(*args, **kwargs))
        tensors.update((id(symbol), tensor) for symbol, tensor in zip(node.outputs, results))
        readers.subtract(id(symbol) for symbol in node.input_tensors)
        for symbol in (*node.input_tensors, *node.outputs):
            if not readers[id(symbol)]:
                tensors.pop(id(symbol), None)
        del args, kwargs, results
    return [tensors[id(symbol)] for symbol in model.outputs]
