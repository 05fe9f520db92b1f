"""The outputs of a model: in the order and under the names that the user asked for, in the program's structure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.depth import in_stages
from nobuco.assemble.names import plain_name
from nobuco.assemble.tensors import Tensors
from nobuco.ir import Value, values
from nobuco.layers import OpLayer, OutputLayer, StateLayer
from nobuco.layout.order import ChannelOrder

Output = tuple[Value, "ChannelOrder | None", "str | None"]


def made_outputs(
    outputs: Sequence[Output], first: int, states: Sequence[tuple[StateLayer, Value, Value]], tensors: Tensors
) -> list[Any]:
    """The Keras tensors of the outputs.

    Args:
        outputs: each with its order (None, and for fewer than three dimensions: as made) and name (None: any).
        first: the output that Keras looks at first.
        states: layers that hold state, each with its value before and after a call.
        tensors: the model so far.
    """
    symbols = []
    for value, order, _ in outputs:
        symbols.append(tensors.get(value, order if order is not None and value.rank >= 3 else tensors.order_of(value)))
    for layer, before, after in states:  # behind an output, so that no part of the model is dropped
        order = tensors.order_of(before)
        symbols[0] = layer(symbols[0], tensors.get(after, order), tensors.get(before, order))
    symbols[first] = in_stages(symbols[first], symbols, tensors.names)
    return [_named(tensor, name, tensors) for tensor, (_, _, name) in zip(symbols, outputs)]


def _named(tensor: Any, name: str | None, tensors: Tensors) -> Any:
    if name is not None:
        return OutputLayer(name=plain_name(name))(tensor)
    if any(tensor is source for source in tensors.inputs):
        return OpLayer(tf.identity, name=tensors.names.unique(f"{tensor.name}_out"))(tensor)
    return tensor


def keras_order(tree: Any) -> list[int]:
    """For each output of the model, flattened as Keras does (dicts by key), which output of the program it is."""
    return keras.tree.flatten(structured(tree, range(len(values(tree)))))


def structured(tree: Any, items: Iterable[Any]) -> Any:
    """The structure of a program's output around `items`, one for each value in it.

    What is no tensor is left out; dataclasses and Hugging Face outputs become dicts, tuples become lists.
    """
    queue = iter(items)

    def build(part: Any) -> Any:
        if isinstance(part, Value):
            return next(queue)
        if dataclasses.is_dataclass(part) and not hasattr(part, "items"):
            part = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        if hasattr(part, "items"):
            return {str(key): build(item) for key, item in part.items() if values(item)}
        return [build(item) for item in part if values(item)]

    return build(tree)
