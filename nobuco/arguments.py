"""The arguments of `pytorch_to_keras`, checked: what names a tensor must name an input."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.build import InputSpec
from nobuco.errors import InputError, NobucoWarning
from nobuco.ir import Graph, Value, leaves, paths, values
from nobuco.layout.order import ChannelOrder
from nobuco.programmes import Programme, initialise, programme
from nobuco.trace.held import held_tensors
from nobuco.versions import warn_of_untried


@dataclass(frozen=True)
class Call:
    """A checked call: what is called, its arguments, for each tensor among them itself and the parameter's name."""

    program: Programme
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[torch.Tensor, ...]
    names: tuple[str, ...]


def prepared(model: Any, args: Any, kwargs: Any) -> Call:
    """Bring a model, of whatever kind, to a programme, and check its arguments; where none are given, its own.

    Raises:
        InputError: the model is no programme, `args` no sequence, `kwargs` no mapping, or no tensor is given.
    """
    warn_of_untried()
    program = programme(model)
    if args is None and kwargs is None:
        args, kwargs = program.args, program.kwargs
    if isinstance(args, torch.Tensor) or not isinstance(args, (list, tuple, type(None))):
        raise InputError(f"args is {type(args).__name__}; give a list of the positional arguments, e.g. args=[x]")
    if not isinstance(kwargs, (Mapping, type(None))):
        raise InputError(f"kwargs is {type(kwargs).__name__}; give a dict of the keyword arguments, or None")
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    tensors = tuple(leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
    if not tensors:
        raise InputError("args and kwargs hold no torch.Tensor; a Keras model needs at least one input")
    _refuse_fake(tensors, program.function)
    initialise(program.function, args, kwargs)
    return Call(program, args, kwargs, tensors, _parameter_names(program.function, args, kwargs))


def _refuse_fake(given: Sequence[torch.Tensor], function: Any) -> None:
    held = {name: held.tensor for name, held in held_tensors(function).items()}
    for name, tensor in ({f"argument {i}": tensor for i, tensor in enumerate(given)} | held).items():
        if type(tensor).__name__ == "FakeTensor" or type(getattr(tensor, "data", None)).__name__ == "FakeTensor":
            raise InputError(
                f"{name} is a FakeTensor of shape {tuple(tensor.shape)}, which holds no numbers; make model and "
                "inputs outside FakeTensorMode"
            )


def _parameter_names(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
    """A name per tensor: the parameter's, or the keys that lead to it in the dict that the parameter holds.

    In the order of the call: keyword arguments come as they were given, not as the signature has them.
    """
    try:
        signature = inspect.signature(model.forward if isinstance(model, nn.Module) else model)
        positional = signature.bind_partial(*args).arguments
    except (TypeError, ValueError):
        positional = {f"input_{i}": arg for i, arg in enumerate(args)}
    given = [*positional.items(), *kwargs.items()]
    short = [name for parameter, argument in given for name in names_within(argument, parameter, keyed=False)]
    long = [name for parameter, argument in given for name in names_within(argument, parameter, keyed=True)]
    return tuple(name if short.count(name) == 1 else full for name, full in zip(short, long))


def names_within(argument: Any, parameter: str, keyed: bool) -> list[str]:
    """A name for each tensor of an argument, in the order of its leaves: `mask`, `detections.boxes`, `xs_0`.

    Keys alone name what stands in a dict or a dataclass, unless they shall stand behind the parameter's name.
    """
    found = [path for path, leaf in paths(argument) if isinstance(leaf, torch.Tensor)]
    plain = [parameter] if len(found) == 1 else [f"{parameter}_{i}" for i in range(len(found))]
    return [
        _spoken(path if isinstance(path[0], str) and not keyed else (parameter, *path)) if _has_keys(path) else name
        for path, name in zip(found, plain)
    ]


def _has_keys(path: Sequence[str | int]) -> bool:
    return any(isinstance(step, str) for step in path)


def _spoken(path: Sequence[str | int]) -> str:
    """Steps as a name: keys behind dots, numbers behind underscores."""
    return "".join(f"_{step}" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


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
    if isinstance(orders, ChannelOrder):
        orders = dict.fromkeys(range(len(call.tensors)), orders)
    given_orders = by_tensor.resolved(orders, "inputs_channel_order")
    specs = []
    for i, tensor in enumerate(call.tensors):
        shape = tuple(given_shapes.get(i, tensor.shape))
        _check_shape(shape, tuple(tensor.shape), i)
        order = given_orders.get(i, ChannelOrder.TENSORFLOW)
        _check_order(order, "inputs_channel_order")
        order = order if tensor.dim() >= 3 else ChannelOrder.PYTORCH
        specs.append(InputSpec(given_names.get(i, call.names[i]), shape, order))
    _check_unique([spec.name for spec in specs], "input_names", bool(given_names))
    return specs


def known_orders(call: Call, orders: Any) -> dict[int, ChannelOrder]:
    """The orders that the caller gives of the inputs, by position: all, some, or for None none.

    Raises:
        InputError: an order is given for what is no input, or is none.
    """
    if isinstance(orders, ChannelOrder):
        return dict.fromkeys(range(len(call.tensors)), orders)
    found = _Lookup(call.tensors).resolved(orders, "inputs_channel_order")
    for order in found.values():
        _check_order(order, "inputs_channel_order")
    return found


def output_orders(
    graph: Graph, orders: Any, names: Any, input_names: Sequence[str] = ()
) -> list[tuple[Value, ChannelOrder | None, str | None]]:
    """Each output of the graph with the order and the name asked for (None: neither).

    Raises:
        InputError: an index is out of range, an order is none, or a name comes twice or is an input's.
    """
    found = values(graph.outputs)
    if not found:
        raise InputError("the model returned no tensor, so there is nothing to convert")
    for leaf in leaves(graph.outputs):
        if leaf is not None and not isinstance(leaf, Value):
            warnings.warn(
                f"the model's output {leaf!r} is {type(leaf).__name__}, no tensor: left out of the Keras model",
                NobucoWarning,
                stacklevel=5,
            )
    by_index: dict[int, Any] = dict(orders) if isinstance(orders, Mapping) else dict.fromkeys(range(len(found)), orders)
    named: dict[int, str] = dict(names) if isinstance(names, Mapping) else dict(enumerate(names or ()))
    for argument, indices in (("outputs_channel_order", by_index), ("output_names", named)):
        for index in indices:
            if not isinstance(index, int) or not 0 <= index < len(found):
                raise InputError(f"{argument} names output {index!r}; the model has outputs 0 to {len(found) - 1}")
    for order in by_index.values():
        if order is not None:
            _check_order(order, "outputs_channel_order")
    _check_unique(list(named.values()), "output_names", True)
    taken = [name for name in named.values() if name in input_names]
    if taken:
        raise InputError(f"output_names: {taken[0]!r} is the name of an input; give one of the two another name")
    return [(value, by_index.get(i) if value.rank >= 3 else None, named.get(i)) for i, value in enumerate(found)]


@dataclass(frozen=True)
class _Lookup:
    """Which input a tensor is."""

    tensors: tuple[torch.Tensor, ...]

    def resolved(self, given: Any, argument: str) -> dict[int, Any]:
        """An argument that maps tensors (or is in order), by input position; a tensor given twice is both."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            if len(given) != len(self.tensors):
                raise InputError(f"{argument} has {len(given)} entries; the model has {len(self.tensors)} inputs")
            return dict(enumerate(given))
        found: dict[int, Any] = {}
        for key, entry in given.items():
            places = [key] if isinstance(key, int) else [i for i, t in enumerate(self.tensors) if t is key]
            if not places:
                what = f"a tensor of shape {tuple(key.shape)}" if isinstance(key, torch.Tensor) else repr(key)
                raise InputError(
                    f"{argument} names {what}, which is none of the inputs; use the very tensor objects of args "
                    f"and kwargs as keys (their shapes: {[tuple(t.shape) for t in self.tensors]})"
                )
            found.update(dict.fromkeys(places, entry))
        return found


def _check_shape(shape: tuple[int | None, ...], real: tuple[int, ...], position: int) -> None:
    if len(shape) != len(real) or any(s is not None and s != r for s, r in zip(shape, real)):
        raise InputError(
            f"input_shapes gives {shape} for input {position}, whose tensor has shape {real}; "
            "repeat the tensor's sizes and put None for each dynamic one"
        )


def _check_order(order: Any, argument: str) -> None:
    if not isinstance(order, ChannelOrder):
        raise InputError(f"{argument} holds {order!r}; give nobuco.ChannelOrder.TENSORFLOW or .PYTORCH")


def _check_unique(names: Sequence[str], argument: str, given: bool) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and given:
        raise InputError(f"{argument}: the name {twice[0]!r} is given to more than one tensor")
