"""What a user says about inputs and outputs, checked: what names a tensor must name an input or an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nobuco.errors import InputError, warn
from nobuco.ir import Graph, Value, leaves, values
from nobuco.kinds import shown
from nobuco.layout.order import ORDER, ChannelOrder, as_order
from nobuco.program.call import Call
from nobuco.program.inputs import InputSpec


def inputs_given(
    call: Call,
    shapes: Mapping[torch.Tensor, Sequence[int | None]] | None,
    names: Any,
    orders: Any,
) -> list[InputSpec]:
    """The inputs of the Keras model, in order.

    Raises:
        InputError: a shape, name or order is given for what is no input, does not fit, or a name comes twice.
    """
    by_tensor = _Lookup(call.tensors)
    given_shapes = by_tensor.resolved(shapes, "input_shapes")
    given_names = by_tensor.resolved(names, "input_names")
    given_orders = known_orders(call, orders)
    specs = []
    for i, tensor in enumerate(call.tensors):
        shape = _checked_shape(given_shapes.get(i, tensor.shape), tuple(tensor.shape), i)
        order = given_orders.get(i, ChannelOrder.TENSORFLOW) if tensor.dim() >= 3 else ChannelOrder.PYTORCH
        name = given_names.get(i)
        specs.append(InputSpec(call.names[i] if name is None else _checked_name(name, "input_names"), shape, order))
    _check_unique([spec.name for spec in specs], "input_names", bool(given_names))
    return specs


def known_orders(call: Call, orders: Any) -> dict[int, ChannelOrder]:
    """The orders that the caller gives of the inputs, by position: all, some, or for None none.

    Raises:
        InputError: an order is given for what is no input, or is none.
    """
    one = as_order(orders)
    if one is not None:
        return dict.fromkeys(range(len(call.tensors)), one)
    by_position = _Lookup(call.tensors).resolved(orders, "inputs_channel_order")
    return {i: _checked_order(order, "inputs_channel_order") for i, order in by_position.items()}


def output_orders(
    graph: Graph, orders: Any, names: Any, input_names: Sequence[str] = ()
) -> list[tuple[Value, ChannelOrder | None, str | None]]:
    """Each output of the graph with the order and the name asked for (None: neither).

    Raises:
        InputError: an index is out of range, an order is none, or a name comes twice or is an input's.
    """
    outputs = values(graph.outputs)
    if not outputs:
        raise InputError("the model returned no tensor, so there is nothing to convert")
    for leaf in leaves(graph.outputs):
        if leaf is not None and not isinstance(leaf, Value):
            warn(f"the model's output {leaf!r} is {type(leaf).__name__}, no tensor: left out of the Keras model")
    by_index = output_orders_given(orders, len(outputs))
    named = {i: _checked_name(name, "output_names") for i, name in _output_names(names, len(outputs)).items()}
    _check_unique(list(named.values()), "output_names", True)
    taken = [name for name in named.values() if name in input_names]
    if taken:
        raise InputError(f"output_names: {taken[0]!r} is the name of an input; give one of the two another name")
    return [(value, by_index.get(i) if value.rank >= 3 else None, named.get(i)) for i, value in enumerate(outputs)]


def output_orders_given(orders: Any, count: int) -> dict[int, ChannelOrder]:
    """The orders that the caller gives of so many outputs, by index.

    Raises:
        InputError: an index is out of range, or an order is none.
    """
    argument = "outputs_channel_order"
    if not isinstance(orders, Mapping):
        return {} if orders is None else dict.fromkeys(range(count), _checked_order(orders, argument))
    _check_indices(orders, count, argument)
    return {i: _checked_order(order, argument) for i, order in orders.items() if order is not None}


def _output_names(names: Any, count: int) -> dict[int, Any]:
    """The names of outputs by index; None for a default one is left out."""
    if not isinstance(names, (Mapping, list, tuple, type(None))):
        raise InputError(
            f"output_names is {shown(names)}; give a list of names, or a dict of them by the index of the output"
        )
    named = dict(names) if isinstance(names, Mapping) else dict(enumerate(names or ()))
    _check_indices(named, count, "output_names")
    return {i: name for i, name in named.items() if name is not None}


@dataclass(frozen=True)
class _Lookup:
    """Which input a tensor is."""

    tensors: tuple[torch.Tensor, ...]

    def resolved(self, mapping: Any, argument: str) -> dict[int, Any]:
        """An argument that maps tensors (or is in order), by input position; a tensor given twice is both."""
        if mapping is None:
            return {}
        if isinstance(mapping, (list, tuple)):
            if len(mapping) != len(self.tensors):
                count = len(self.tensors)
                raise InputError(
                    f"{argument} has {len(mapping)} entries; the model has {count} inputs: {shown(mapping)}"
                )
            return dict(enumerate(mapping))
        if not isinstance(mapping, Mapping):
            raise InputError(
                f"{argument} is {shown(mapping)}; give a dict by input tensor (the tensors of args and kwargs are its "
                "keys), or a list with an entry for each input"
            )
        by_position: dict[int, Any] = {}
        for key, entry in mapping.items():
            by_position.update(dict.fromkeys(self._places(key, argument), entry))
        return by_position

    def _places(self, key: Any, argument: str) -> list[int]:
        """The positions of the input that a key names: by the tensor itself, or by its number."""
        if isinstance(key, int) and not isinstance(key, bool):
            if not 0 <= key < len(self.tensors):
                raise InputError(
                    f"{argument} names input {key}; the model has inputs 0 to {len(self.tensors) - 1}, which go by "
                    "their number or by the tensor itself"
                )
            return [key]
        places = [i for i, tensor in enumerate(self.tensors) if tensor is key]
        if not places:
            what = f"a tensor of shape {tuple(key.shape)}" if isinstance(key, torch.Tensor) else shown(key)
            raise InputError(
                f"{argument} names {what}, which is none of the inputs; use the very tensor objects of args "
                f"and kwargs as keys (their shapes: {[tuple(t.shape) for t in self.tensors]})"
            )
        return places


def _checked_shape(shape: Any, real: tuple[int, ...], position: int) -> tuple[int | None, ...]:
    fits = isinstance(shape, (list, tuple)) and len(shape) == len(real)
    if not fits or any(s is not None and s != r for s, r in zip(shape, real)):
        raise InputError(
            f"input_shapes gives {shown(shape)} for input {position}, whose tensor has shape {real}; "
            "repeat the tensor's sizes and put None for each dynamic one"
        )
    return tuple(shape)


def _checked_order(order: Any, argument: str) -> ChannelOrder:
    known = as_order(order)
    if known is None:
        raise InputError(f"{argument} holds {shown(order)}; give {ORDER.words}")
    return known


def _checked_name(name: Any, argument: str) -> str:
    if not isinstance(name, str) or not name:
        raise InputError(f"{argument} holds {shown(name)}; give a text for a name")
    return name


def _check_indices(entries: Mapping[Any, Any], count: int, argument: str) -> None:
    for index in entries:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
            raise InputError(
                f"{argument} names output {shown(index)}; the model has outputs 0 to {count - 1} (got {shown(entries)})"
            )


def _check_unique(names: Sequence[str], argument: str, by_user: bool) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and by_user:
        raise InputError(f"{argument}: the name {twice[0]!r} is given to more than one tensor")
