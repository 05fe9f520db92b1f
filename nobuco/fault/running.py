"""PyTorch's program and a Keras model run on the same inputs, and tensors of both brought together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import keras
import numpy as np

from nobuco.assemble.validation import logical
from nobuco.bridge import t_pytorch2keras, to_array, to_numpy
from nobuco.errors import InputError
from nobuco.ir import Graph, Value
from nobuco.kinds import shown
from nobuco.layers.state import state_layers
from nobuco.layout.channels import Lying
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, Tolerance, compare
from nobuco.program.arguments import known_orders
from nobuco.program.call import Call

_MOST_WAYS = 16


@dataclass(frozen=True)
class Found:
    """A tensor of the Keras model beside PyTorch's: how it lies, itself in PyTorch's order, and how far it is off."""

    order: ChannelOrder
    got: np.ndarray
    expected: np.ndarray
    difference: Difference


def found(
    value: Value,
    graph: Graph,
    tensor: Any,
    tolerance: Tolerance,
    order: ChannelOrder | None = None,
    lying: Lying | None = None,
) -> Found:
    """Compare a tensor of the Keras model; where its shape fits both orders and none is given, the nearer one is it.

    Likewise its channels, which may be in an order of their own.
    """
    expected = to_numpy(graph.samples[value.id])
    got = to_array(tensor)
    orders = [order] if order is not None and value.rank >= 3 else fitting(value.shape, got.shape)
    ways = [
        Found(way, got, expected, compare(got, expected, tolerance))
        for way in orders or [ChannelOrder.PYTORCH]
        for laid in [logical(tensor, way)]
        for got in [laid, *([] if lying is None else [laid.take(np.argsort(lying.order), lying.dim)])]
    ]
    return min(ways, key=lambda way: (not way.difference.matches, way.difference.severity))


def fitting(shape: Sequence[int], physical: Sequence[int | None]) -> list[ChannelOrder]:
    """The orders in which a tensor of a logical shape can lie as one of a physical shape does (None: any size)."""
    if len(shape) != len(physical):
        return []
    orders = (ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH) if len(shape) >= 3 else (ChannelOrder.PYTORCH,)
    return [
        order
        for order in orders
        if all(theirs in (None, ours) for ours, theirs in zip(order.to_physical(shape), physical))
    ]


def ways_to_feed(call: Call, keras_model: keras.Model, orders: Any) -> list[tuple[ChannelOrder, ...]]:
    """The orders in which the inputs can lie, as far as the shapes of the Keras model's tell and the caller says.

    Raises:
        InputError: it is no functional model, their numbers differ, an input fits no order, or too much is open.
    """
    if not isinstance(keras_model, keras.Model) or not hasattr(keras_model, "_nodes_by_depth"):
        raise InputError(
            f"keras_model is {type(keras_model).__name__}; give the functional model of a conversion "
            f"(got {shown(keras_model)})"
        )
    if len(keras_model.inputs) != len(call.tensors):
        raise InputError(
            f"the Keras model has {len(keras_model.inputs)} inputs, args and kwargs hold {len(call.tensors)} tensors"
        )
    known = {} if orders is None else known_orders(call, orders)
    choices = []
    for i, (tensor, theirs) in enumerate(zip(call.tensors, keras_model.inputs)):
        fits = fitting(tuple(tensor.shape), tuple(theirs.shape))
        if not fits:
            raise InputError(
                f"input {i} has shape {tuple(tensor.shape)}, which fits the Keras model's input "
                f"{theirs.name!r} of shape {tuple(theirs.shape)} in neither channel order"
            )
        if i in known and tensor.dim() >= 3:
            if known[i] not in fits:
                raise InputError(
                    f"inputs_channel_order has {known[i]} for input {i} of shape {tuple(tensor.shape)}, which lies "
                    f"otherwise in the Keras model's input {theirs.name!r} of shape {tuple(theirs.shape)}"
                )
            fits = [known[i]]
        choices.append(fits)
    if prod(map(len, choices)) > _MOST_WAYS:
        raise InputError("the shapes of the inputs fit both channel orders; give inputs_channel_order")
    return list(product(*choices))


def feeds(call: Call, orders: Sequence[ChannelOrder]) -> list[Any]:
    """The inputs as the Keras model takes them."""
    return [t_pytorch2keras(tensor, order) for tensor, order in zip(call.tensors, orders)]


def run(keras_model: keras.Model, tensors: Sequence[Any]) -> list[Any]:
    """The outputs of a Keras model, flat; what it keeps from call to call is left as it was."""
    with _states_kept(keras_model):
        outputs = keras_model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
    return list(keras.tree.flatten(outputs))


@contextmanager
def _states_kept(keras_model: keras.Model) -> Iterator[None]:
    kept: Mapping[Any, np.ndarray] = {layer: layer.state.numpy() for layer in state_layers(keras_model)}
    try:
        yield
    finally:
        for layer, state in kept.items():
            layer.state.assign(state)
