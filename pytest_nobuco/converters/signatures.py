"""The parameters of an operation, and a sample's arguments by their names.

PyTorch's own signature where it has one to show: that of a Python function, of a module's constructor, or the schemas
of what is written in C. Where it shows none, the converter's, which is to be the same.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nobuco.registry import Converter, Operation, Sample

REQUIRED = inspect.Parameter.empty
Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter; `place` is where it stands among the positional arguments, None if it is keyword-only."""

    name: str
    default: Any = REQUIRED
    place: int | None = None
    is_tensor: bool = False


Signature = tuple[Parameter, ...]


@dataclass(frozen=True)
class ModuleSample(Sample):
    """A module's sample that remembers how the module was made, so that another one can be."""

    make: Callable[[Arguments], nn.Module] | None = None
    arguments: Arguments | None = None


def signatures_of(operation: Operation, converter: Converter) -> tuple[Signature, ...]:
    """The forms in which an operation can be called; several where PyTorch has overloads of it."""
    if isinstance(operation, torch._ops.OpOverload):
        return (_of_schema(operation._schema),)
    if isinstance(operation, type) and issubclass(operation, nn.Module):
        return (_of_constructor(operation),)
    own, declared = _of_function(operation), _of_function(converter.function)
    if own is not None:
        return (own,)
    if declared is not None and inspect.isfunction(operation):
        return (declared,)  # Python's, which shows no parameters, since one of them decides what it calls: max pooling
    found = _schemas(operation)
    schemas = [schema for schema in found if any(map(_takes_tensor, schema.arguments))]
    if schemas:
        return tuple(map(_of_schema, schemas))
    return (declared,) if declared else ()


def parameters_of(signatures: Sequence[Signature]) -> Signature:
    """All parameters, each once."""
    found: dict[str, Parameter] = {}
    for signature in signatures:
        for parameter in signature:
            found.setdefault(parameter.name, parameter)
    return tuple(found.values())


def named(module: type[nn.Module], args: Sequence[Any], kwargs: Arguments) -> Arguments:
    """The arguments of a module's constructor by name."""
    places = {p.place: p.name for p in _of_constructor(module)}
    return {**{places[i]: arg for i, arg in enumerate(args)}, **kwargs}


def bound(sample: Sample, signatures: Sequence[Signature]) -> dict[str, Any] | None:
    """A sample's arguments by name, as given; None where they fit no signature."""
    if isinstance(sample, ModuleSample):
        return dict(sample.arguments or {})
    signature = _fitting(sample, signatures)
    if signature is None:
        return None
    named = {p.name: sample.args[p.place] for p in signature if p.place is not None and p.place < len(sample.args)}
    return {**named, **sample.kwargs}


def changed(sample: Sample, signatures: Sequence[Signature], changes: Arguments) -> Sample:
    """The sample with other values of these parameters; a module is made anew."""
    if isinstance(sample, ModuleSample):
        assert sample.make is not None
        arguments = {**(sample.arguments or {}), **changes}
        return replace(sample, args=(sample.make(arguments), *sample.args[1:]), arguments=arguments)
    signature = _fitting(sample, signatures) or ()
    places = {p.name: p.place for p in signature}
    args, kwargs = list(sample.args), dict(sample.kwargs)
    for name, value in changes.items():
        place = places.get(name)
        if place is not None and place < len(args):
            args[place] = value
        else:
            kwargs[name] = value
    return replace(sample, args=tuple(args), kwargs=kwargs)


def _fitting(sample: Sample, signatures: Sequence[Signature]) -> Signature | None:
    return next((signature for signature in signatures if _fits(sample, signature)), None)


def _fits(sample: Sample, signature: Signature) -> bool:
    by_place = {p.place: p for p in signature if p.place is not None}
    if len(sample.args) > len(by_place) or not set(sample.kwargs) <= {p.name for p in signature}:
        return False
    if not any(p.is_tensor for p in signature):  # a signature of Python's says nothing of kinds
        return True
    return all(
        isinstance(arg, torch.Tensor) == by_place[i].is_tensor or arg is None or by_place[i].default is None
        for i, arg in enumerate(sample.args)
    )


def _of_function(function: Any) -> Signature | None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return tuple(_numbered(p for p in parameters if p.kind is not p.VAR_KEYWORD))


def _of_constructor(module: type[nn.Module]) -> Signature:
    """That of the first class that names its parameters, and what the classes before it name besides."""
    found: list[inspect.Parameter] = []
    for base in module.__mro__:
        own = list(inspect.signature(vars(base).get("__init__", nn.Module.__init__)).parameters.values())[1:]
        found += [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "mode"]
        if not any(p.kind is p.VAR_POSITIONAL for p in own):
            break
    return tuple(_numbered(found))


def _numbered(parameters: Any) -> Iterator[Parameter]:
    for place, p in enumerate(parameters):
        yield Parameter(p.name, p.default, None if p.kind is p.KEYWORD_ONLY else place)


def _schemas(operation: Any) -> tuple[Any, ...]:
    """The schemas of a function of `torch`, a method or a function of `torch.nn.functional`, by its name."""
    name = getattr(operation, "__name__", "")
    if not name or name.startswith("__"):
        return ()
    return tuple(torch._C._jit_get_schemas_for_operator(f"aten::{name.rstrip('_')}"))


def _takes_tensor(argument: Any) -> bool:
    return "Tensor" in str(argument.type)


def _of_schema(schema: Any) -> Signature:
    return tuple(
        Parameter(
            "input" if argument.name == "self" else argument.name,
            argument.default_value if argument.has_default_value() else REQUIRED,
            None if argument.kwarg_only else place,
            "Tensor" in str(argument.type) and "List" not in str(argument.type),
        )
        for place, argument in enumerate(schema.arguments)
        if not argument.is_out
    )
