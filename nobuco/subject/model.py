"""A model made from what its name stands for, and inputs drawn for it. Imports PyTorch."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from nobuco.errors import InputError
from nobuco.subject.inputs import FLOATS, InputSpec, arranged, read_inputs
from nobuco.subject.mistakes import in_a_line

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def built(make: Callable[[], Any], seed: int) -> Any:
    """The model that `make` gives, its random weights seeded, in eval mode.

    Raises:
        InputError: it gives nothing that can be called.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    if inspect.isclass(model) or not callable(model):
        raise InputError(f"expected a torch.nn.Module or another callable, got {summary(model)}")
    return model.eval() if isinstance(model, nn.Module) else model


def arguments(model: Any, inputs: Sequence[Any] | None, kwargs: Mapping[str, Any], seed: int) -> Arguments:
    """The arguments to try a model on: `inputs` as `read_inputs` gives them, drawn; None takes its `example_inputs()`.

    Raises:
        InputError: None was given, and the model has no such method; or two inputs have one name.
    """
    try:
        positional, named = _example_inputs(model) if inputs is None else arranged(inputs)
    except ValueError as error:
        raise InputError(str(error)) from None
    seeds = count(seed)
    args, named = pytree.tree_map(
        lambda leaf: draw(leaf, next(seeds)) if isinstance(leaf, InputSpec) else leaf, (positional, {**named, **kwargs})
    )
    return args, named


def ran(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the model gives in PyTorch, on copies, since a model may write to its inputs.

    Raises:
        InputError: it fails.
    """
    try:
        with torch.no_grad():
            return copy.deepcopy(model)(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    except Exception as error:
        inputs = ", ".join(summary(leaf) for leaf in pytree.tree_leaves((args, kwargs)))
        raise InputError(f"the model fails in PyTorch itself on inputs {inputs}: {in_a_line(error)}") from error


def draw(spec: InputSpec, seed: int) -> torch.Tensor:
    """A tensor of the values that were given, or random: floats from a normal distribution, integers from the range."""
    dtype, scale = getattr(torch, spec.dtype), 1.0
    if spec.values.startswith("random:"):
        seed, scale = int(spec.values.split(":")[1]), float(spec.values.split(":")[2])
    elif spec.values:
        return _repeated(spec).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    if spec.dtype in FLOATS:
        return (scale * torch.randn(spec.shape, generator=generator)).to(dtype)
    return torch.randint(spec.low, spec.high, spec.shape, generator=generator).to(dtype)


def _repeated(spec: InputSpec) -> torch.Tensor:
    read = float if spec.dtype in FLOATS else int
    numbers = torch.tensor([read(number) for number in spec.values.split(",")])
    count = math.prod(spec.shape)
    return numbers.repeat(-(-count // len(numbers)))[:count].reshape(spec.shape)


def summary(thing: Any) -> str:
    """What something is, in a few words."""
    shape, dtype = getattr(thing, "shape", None), getattr(thing, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
    return f"the {type(thing).__name__} {thing!r:.60}"


def _example_inputs(model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model says it is tried on: one input, a sequence of them, or a dict of keyword arguments."""
    method = getattr(model, "example_inputs", None)
    if method is None:
        raise InputError(
            "its inputs are not given; give their sizes, e.g. 1,3,224,224, or the model a method "
            "example_inputs() that returns its arguments"
        )
    try:
        example = method()
    except Exception as error:
        raise InputError(f"its example_inputs() raised {in_a_line(error)}") from error
    if isinstance(example, Mapping):
        return (), dict(read_inputs([example])[0])
    return read_inputs(example), {}
