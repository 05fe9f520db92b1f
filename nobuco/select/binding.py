"""The arguments of a call as its converter names and places them, whichever way they were written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from nobuco.ir import Node, Value, ValueKind
from nobuco.ops.forms import is_reflected, name_of
from nobuco.ops.schema import PLACEMENT, Argument, Arguments, as_method, places_of, rest_of, signatures, targets

Given = tuple[tuple[Any, ...], dict[str, Any]]

# What PyTorch's parser of arguments takes beside the schema's names: its own for the first one, and NumPy's.
_ALIASES = {"input": "self", "x": "self", "a": "self", "x1": "self", "x2": "other"}


def by_position(node: Node, function: Callable[..., Any]) -> Node:
    """A call with all arguments by position that can stand so, for a converter with the signature of `function`.

    So the tensor that comes first in PyTorch's signature is the first input of the call, though it may have been
    written last: `torch.sub(other=y, input=x)`; and `2 - x`, a call of `Tensor.__rsub__`, is one of `torch.sub`.
    """
    args, kwargs = (node.args, dict(node.kwargs)) if node.regions else _bound(node, function)
    if is_reflected(node.op):
        args = (args[1], args[0], *args[2:])
    return replace(node, args=args, kwargs=kwargs)


def _bound(node: Node, function: Callable[..., Any]) -> Given:
    if node.module is not None:
        return _in_turn(places_of(node.module.forward), node.args, node.kwargs)
    ways, places = _ways(node.op, function), places_of(function)
    if ways and not node.kwargs and _is_straight(node.op, function):
        return node.args, {}
    for arguments, names in ways:
        taken = _taken(arguments, node.args, node.kwargs, not isinstance(node.op, torch._ops.OpOverload))
        passed_over = names if rest_of(function) else PLACEMENT
        if taken is not None:
            named = {names[name]: value for name, value in taken.items() if names[name] or name not in passed_over}
            if None not in named:
                return _in_turn(places, (), named)
    return _in_turn(places, node.args, node.kwargs)


def _in_turn(places: Sequence[str], args: Sequence[Any], kwargs: Mapping[Any, Any]) -> Given:
    """Keyword arguments moved behind those given by position, as far as none is left out."""
    args, kwargs = list(args), dict(kwargs)
    for name in places[len(args) :]:
        if name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return tuple(args), kwargs


@cache
def _ways(operation: Any, function: Callable[..., Any]) -> tuple[tuple[Arguments, dict[str, str | None]], ...]:
    """The ways to call an operation, each with the parameter of its converter that an argument is for."""
    if rest_of(function) not in ("", "_"):
        return ()
    is_method = hasattr(inspect.unwrap(operation), "__objclass__")
    ways = signatures(operation, name_of(operation))
    return tuple(
        (as_method(way) if is_method else way, dict(zip((a.name for a in way), targets(way, function)))) for way in ways
    )


@cache
def _is_straight(operation: Any, function: Callable[..., Any]) -> bool:
    """Whether arguments by position are for the converter's parameters in turn, in all ways to call an operation."""
    places = places_of(function)
    return all(
        a.place is None or (a.place < len(places) and places[a.place] == names[a.name] and not _is_list(a))
        for arguments, names in _ways(operation, function)
        for a in arguments
    )


def _is_list(argument: Argument) -> bool:
    return argument.type in ("List[int]", "List[SymInt]")


def _taken(
    arguments: Arguments, args: Sequence[Any], kwargs: Mapping[str, Any], one_by_one: bool
) -> dict[str, Any] | None:
    """A call's arguments by the names of a schema; None where that is not the one that is called.

    PyTorch's functions, not ATen's, take a list of numbers `one_by_one` where nothing else is given by position.
    """
    places = [a for a in arguments if a.place is not None]
    own = places[1:] if places and places[0].name == "self" else places
    if one_by_one and len(own) == 1 and _is_list(own[0]):
        at = len(places) - 1
        args = args if len(args) <= at or isinstance(args[at], (list, tuple)) else (*args[:at], tuple(args[at:]))
    if len(args) > len(places):
        return None
    known = {a.name: a for a in arguments}
    by_name = dict(zip(known, args))
    for spoken, value in kwargs.items():
        name = spoken if spoken in known else _ALIASES.get(spoken)
        if name not in known or name in by_name:
            return None
        by_name[name] = value
    if any(a.is_required and a.name not in by_name for a in arguments):
        return None
    return by_name if all(_accepts(known[name].type, value) for name, value in by_name.items()) else None


def _accepts(type: str, value: Any) -> bool:
    """Whether an argument of this type, as a schema writes it, may be such a value."""
    inner = type.removeprefix("Optional[").removesuffix("]") if type.startswith("Optional[") else type
    if value is None or not inner:
        return inner != type or not inner
    is_number = isinstance(value, (int, float, complex)) or (isinstance(value, Value) and not value.rank)
    is_whole = is_number and not isinstance(value, (bool, float, complex)) and not _is_floating(value)
    known: dict[str, bool] = {
        "Tensor": isinstance(value, Value),
        "number": is_number,
        "float": is_number,
        "int": is_whole,
        "SymInt": is_whole,
        "bool": isinstance(value, bool) or _is_size(value),
        "str": isinstance(value, str),
        "ScalarType": isinstance(value, torch.dtype),
        "List[int]": is_whole or isinstance(value, (list, tuple)),
        "List[SymInt]": is_whole or isinstance(value, (list, tuple)),
        "List[Tensor]": isinstance(value, (list, tuple)),
    }
    return known.get(inner, True)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Value) and "float" in value.dtype


def _is_size(value: Any) -> bool:
    return isinstance(value, Value) and value.kind is ValueKind.SIZE
