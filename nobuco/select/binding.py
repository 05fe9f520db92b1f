"""The arguments of a call by position, whichever way they were written: as the built-in converters want them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nobuco.ir import Node

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

# What PyTorch's parser of arguments takes for the first one, and for the second: the names of NumPy, too.
_FIRST = ("input", "self", "x", "a", "x1")
_SECOND = {"x2": "other"}


def by_position(node: Node, function: Callable[..., Any]) -> Node:
    """A call with all arguments by position that can stand so, for a converter with the signature of `function`.

    So the tensor that comes first in PyTorch's signature is the first input of the call, though it may have been
    written last: `torch.sub(other=y, input=x)`.
    """
    args, kwargs = _bound(node, function)
    return replace(node, args=args, kwargs=kwargs)


def _bound(node: Node, function: Callable[..., Any]) -> Arguments:
    if node.regions or not node.kwargs:
        return node.args, dict(node.kwargs)
    if isinstance(node.op, torch._ops.OpOverload):
        return _in_turn([a.name for a in node.op._schema.arguments if not a.kwarg_only], node.args, node.kwargs)
    if node.module is not None:
        return _in_turn(_positional(node.module.forward), node.args, node.kwargs)
    names = _positional(function)
    return _in_turn(names, node.args, _named_as(names, node))


def _in_turn(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """Keyword arguments moved behind those given by position, as far as none is left out."""
    args, kwargs = list(args), dict(kwargs)
    for name in names[len(args) :]:
        if name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return tuple(args), kwargs


def _named_as(names: Sequence[str], node: Node) -> dict[str, Any]:
    """The keyword arguments of a call of a function, the first ones under the names that its converter has."""
    kwargs = {_SECOND.get(name, name) if "other" in names else name: value for name, value in node.kwargs.items()}
    if node.args or not names or names[0] in kwargs:
        return kwargs
    given = next((name for name in (*_positional(node.op)[:1], *_FIRST) if name in kwargs), None)
    return kwargs if given is None else {names[0] if name == given else name: kwargs[name] for name in kwargs}


def _positional(function: Any) -> list[str]:
    """The names of the parameters that arguments by position fill one by one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function in C, or in TorchScript
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
