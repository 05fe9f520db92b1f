"""What arguments an operation has, by PyTorch's schemas or Python's signature, and which parameters they are for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import FunctionType
from typing import Any

import torch

# What says where a tensor lives and how it lies in memory: it has no meaning for a converted model.
PLACEMENT = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})


@dataclass(frozen=True)
class Argument:
    """One argument of an operation; `type` is as the schema writes it, empty where Python's signature has none.

    `place` is where it stands among the positional ones; None if it is given by name only.
    """

    name: str
    type: str
    place: int | None
    is_required: bool

    @property
    def is_operand(self) -> bool:
        """Whether it is a tensor, or tensors, or a number that may stand for one."""
        return "Tensor" in self.type or self.type == "number"


Arguments = tuple[Argument, ...]


@cache
def overloads(name: str) -> tuple[torch._ops.OpOverload, ...]:
    """The overloads of an ATen operation that give tensors, and write at most to their first argument.

    Not those that TorchScript has for itself, and none that take dimensions by name.
    """
    packet = getattr(torch.ops.aten, name, None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return ()
    return tuple(op for op in (getattr(packet, spoken) for spoken in packet.overloads()) if _is_of_tensors(op))


def _is_of_tensors(overload: torch._ops.OpOverload) -> bool:
    schema = overload._schema
    types = {str(result.type) for result in schema.returns}
    written = [argument.name for argument in schema.arguments[1:] if argument.is_write]
    by_name = any("Dimname" in str(argument.real_type) for argument in schema.arguments)
    return bool(types) and types <= {"Tensor", "List[Tensor]"} and not written and not by_name and _is_there(schema)


def _is_there(schema: torch.FunctionSchema) -> bool:
    try:
        torch._C._dispatch_find_schema_or_throw(schema.name, schema.overload_name)
    except RuntimeError:
        return False
    return True


@cache
def signatures(operation: Callable[..., Any], name: str) -> tuple[Arguments, ...]:
    """The ways to call an operation that PyTorch calls `name`; nothing where it does not tell."""
    if isinstance(operation, torch._ops.OpOverload):
        return (arguments_of(operation),)
    if not isinstance(inspect.unwrap(operation), FunctionType):
        return tuple(map(arguments_of, overloads(name)))
    if rest_of(operation):
        return ()
    named = enumerate(p for p in parameters_of(operation) if p.kind is not p.VAR_KEYWORD)
    return (tuple(Argument(p.name, "", None if _is_named(p) else place, p.default is p.empty) for place, p in named),)


@cache
def arguments_of(overload: torch._ops.OpOverload) -> Arguments:
    """The arguments of an overload, by its schema."""
    return tuple(
        Argument(a.name, str(a.real_type), None if a.kwarg_only else place, not a.has_default_value())
        for place, a in enumerate(overload._schema.arguments)
    )


def as_method(arguments: Arguments) -> Arguments:
    """The arguments of a method, whose own tensor comes first: `x.where(condition, other)`."""
    first = sorted(arguments, key=lambda argument: (argument.place is None, argument.name != "self"))
    return tuple(a if a.place is None else replace(a, place=place) for place, a in enumerate(first))


@cache
def parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """The parameters of a function; none of one in C, or in TorchScript."""
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()


def places_of(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters that arguments by position fill one by one."""
    return [p.name for p in parameters_of(function) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def rest_of(function: Callable[..., Any]) -> str:
    """The name of the parameter that takes the rest by position: `_` of a converter that passes over it.

    One of another name binds its arguments by itself.
    """
    return next((p.name for p in parameters_of(function) if p.kind is p.VAR_POSITIONAL), "")


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.KEYWORD_ONLY


def fits(arguments: Arguments, function: Callable[..., Any]) -> bool:
    """Whether a converter of this signature takes these arguments: under their names, operands maybe under others."""
    if rest_of(function):
        return rest_of(function) == "_"
    meant = [argument for argument in arguments if argument.name not in PLACEMENT]
    places = targets(meant, function)
    defaults = {p.name: p.default for p in parameters_of(function) if p.kind is not p.VAR_KEYWORD}
    if any(default is inspect.Parameter.empty and name not in places for name, default in defaults.items()):
        return False
    for argument, name in zip(meant, places):
        if name is None or (name != argument.name and not argument.is_operand):
            return False
        if isinstance(defaults.get(name), str) and "str" not in argument.type:
            return False
    return True


def targets(arguments: Sequence[Argument], function: Callable[..., Any]) -> list[str | None]:
    """The parameter of a converter that each argument is for: the one of its name, or else the one in its place."""
    names = {argument.name for argument in arguments}
    parameters, places = parameters_of(function), places_of(function)
    takes = {*places, *(p.name for p in parameters if _is_named(p))}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def target(argument: Argument) -> str | None:
        if argument.name in takes or (argument.place is None and takes_any):
            return argument.name
        place = argument.place
        return places[place] if place is not None and place < len(places) and places[place] not in names else None

    return [target(argument) for argument in arguments]
