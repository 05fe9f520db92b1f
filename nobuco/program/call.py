"""The call that is converted: a program and its arguments, checked before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nobuco.environment.versions import warn_of_untried
from nobuco.errors import InputError
from nobuco.ir import leaves, paths
from nobuco.kinds import shown
from nobuco.program.kinds import Program, as_program, initialise
from nobuco.trace.foreign import foreign
from nobuco.trace.held import held_tensors


@dataclass(frozen=True)
class Call:
    """A checked call: what is called, its arguments, for each tensor among them itself and the parameter's name."""

    program: Program
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[torch.Tensor, ...]
    names: tuple[str, ...]


def prepared(model: Any, args: Any, kwargs: Any, subject: str = "model") -> Call:
    """Bring a model, of whatever kind, to a program, and check its arguments; where none are given, its own.

    Args:
        model: the model.
        args: its positional arguments.
        kwargs: its keyword arguments.
        subject: what the user's function calls its parameter `model`.

    Raises:
        InputError: the model is no program, it does not take these arguments, or no tensor is given, or one that no
            Keras model can take.
    """
    warn_of_untried()
    program = as_program(model, subject)
    if args is None and kwargs is None:
        args, kwargs = program.args, program.kwargs
    if not isinstance(args, (list, tuple, type(None))) or isinstance(args, torch.Size):
        raise InputError(
            f"args is {type(args).__name__}; give a list of the positional arguments, e.g. args=[x] (got {shown(args)})"
        )
    if not isinstance(kwargs, (Mapping, type(None))):
        raise InputError(
            f"kwargs is {type(kwargs).__name__}; give a dict of the keyword arguments, or None (got {shown(kwargs)})"
        )
    positional, named = tuple(args or ()), dict(kwargs or {})
    for name in named:
        if not isinstance(name, str):
            raise InputError(f"kwargs is {shown(named)}; give a dict by the names of the parameters")
    _check_signature(program.function, positional, named, subject)
    try:
        tensors = tuple(leaf for leaf in leaves((positional, named)) if isinstance(leaf, torch.Tensor))
    except RecursionError:
        raise InputError(
            f"args and kwargs are nested too deep, or hold themselves: args is {shown(args)}, kwargs is {shown(kwargs)}"
        ) from None
    names = _parameter_names(program.function, positional, named)
    _check_leaves(positional, named)
    if not tensors:
        raise InputError(
            f"args and kwargs hold no torch.Tensor; a Keras model needs at least one input (args is {shown(args)}, "
            f"kwargs is {shown(kwargs)})"
        )
    _check_weights(program.function, subject)
    _refuse_fake(tensors, program.function)
    initialise(program.function, positional, named)
    return Call(program, positional, named, tensors, names)


def _check_signature(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], subject: str) -> None:
    """Refuse arguments that do not fit the parameters, as far as these are known.

    Hooks, and a `__call__` of the module's own, may change them; a decorator may add some, so its own are looked at.
    """
    if isinstance(function, nn.Module):
        if type(function).__call__ is not nn.Module.__call__ or function._forward_pre_hooks:
            return
        function = function.forward
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise InputError(f"args and kwargs do not fit the {subject}, {name}{signature}: {error}") from None


def _check_leaves(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse what cannot become an input of a Keras model: other libraries' arrays, and tensors of other kinds."""
    for place, argument in (*((f"args[{i}]", a) for i, a in enumerate(args)), *_by_key(kwargs)):
        for leaf in leaves(argument):
            if isinstance(leaf, torch.Tensor):
                problem = foreign(leaf)
            elif isinstance(leaf, np.ndarray):
                problem = "is no torch.Tensor; give torch.from_numpy(x), as an input, or close over it, as a constant"
            elif type(leaf).__module__.partition(".")[0] in ("tensorflow", "keras", "jax", "jaxlib"):
                problem = "is no torch.Tensor; give torch.from_numpy(np.array(x))"
            else:
                continue
            if problem:
                raise InputError(f"{place} holds {_described(leaf)}, which {problem}")


def _by_key(kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"kwargs[{key!r}]", argument) for key, argument in kwargs.items()]


def _described(leaf: Any) -> str:
    return "a nested Tensor" if isinstance(leaf, torch.Tensor) and leaf.is_nested else shown(leaf)


def _check_weights(function: Any, subject: str) -> None:
    """Refuse a model without numbers, as `torch.device("meta")` makes it."""
    if isinstance(function, nn.Module):
        for name, tensor in (*function.named_parameters(), *function.named_buffers()):
            if tensor.is_meta:
                raise InputError(
                    f"{subject} has no numbers: {name!r} is on the device 'meta'; load its weights, e.g. with "
                    "model.to_empty(device='cpu') and load_state_dict"
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
    arguments = [*positional.items(), *kwargs.items()]
    short = [name for parameter, argument in arguments for name in names_within(argument, parameter, keyed=False)]
    long = [name for parameter, argument in arguments for name in names_within(argument, parameter, keyed=True)]
    return tuple(name if short.count(name) == 1 else full for name, full in zip(short, long))


def names_within(argument: Any, parameter: str, keyed: bool) -> list[str]:
    """A name for each tensor of an argument, in the order of its leaves: `mask`, `detections.boxes`, `xs_0`.

    Keys alone name what stands in a dict or a dataclass, unless they shall stand behind the parameter's name.
    """
    places = [path for path, leaf in paths(argument) if isinstance(leaf, torch.Tensor)]
    plain = [parameter] if len(places) == 1 else [f"{parameter}_{i}" for i in range(len(places))]
    return [
        _spoken(path if isinstance(path[0], str) and not keyed else (parameter, *path)) if _has_keys(path) else name
        for path, name in zip(places, plain)
    ]


def _has_keys(path: Sequence[str | int]) -> bool:
    return any(isinstance(step, str) for step in path)


def _spoken(path: Sequence[str | int]) -> str:
    """Steps as a name: keys behind dots, numbers behind underscores."""
    return "".join(f"_{step}" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _refuse_fake(inputs: Sequence[torch.Tensor], function: Any) -> None:
    held = {name: held.tensor for name, held in held_tensors(function).items()}
    for name, tensor in ({f"argument {i}": tensor for i, tensor in enumerate(inputs)} | held).items():
        if type(tensor).__name__ == "FakeTensor" or type(getattr(tensor, "data", None)).__name__ == "FakeTensor":
            raise InputError(
                f"{name} is a FakeTensor of shape {tuple(tensor.shape)}, which holds no numbers; make model and "
                "inputs outside FakeTensorMode"
            )


def devices_apart(call: Call) -> str:
    """What to say where the example and the model's weights are on different devices; else nothing.

    A model may move its inputs itself, so that this is a fault only where its call fails.
    """
    function = call.program.function
    if not isinstance(function, nn.Module):
        return ""
    weights = {str(t.device) for t in (*function.parameters(), *function.buffers())}
    devices = {str(tensor.device) for tensor in call.tensors}
    if not weights or devices <= weights:
        return ""
    return (
        f"args: the example is on {', '.join(sorted(devices))}, the model's weights are on "
        f"{', '.join(sorted(weights))}; bring both to one device, e.g. model.cpu() and args=[x.cpu()]"
    )
