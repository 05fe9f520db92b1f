"""The kinds of program that convert, each brought to a callable whose calls a trace can see."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nobuco.errors import InputError
from nobuco.ir import map_tensors
from nobuco.kinds import shown
from nobuco.trace.held import restoring
from nobuco.trace.randomness import generators, keeping_random
from nobuco.trace.reach import is_compiled

_LAZY = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)


@dataclass(frozen=True)
class Program:
    """What a trace is to call, what to call it, and the arguments that it carries with it, if any."""

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] | None = None


def as_program(model: Any, subject: str = "model") -> Program:
    """The program that the user gave as the model, whatever kind it is of.

    A path is read, an exported program made a module again, and what only stands in front of another program
    (`torch.compile`, `nn.DataParallel`) is taken away. Messages call it by its parameter, `subject`.

    Raises:
        InputError: it cannot be called, or the file holds no program.
    """
    if isinstance(model, (str, os.PathLike)):
        return replace(as_program(_read(model, subject), subject), name=Path(model).stem)
    if isinstance(model, torch.export.ExportedProgram):
        return Program(_module_of(model), "ExportedProgram", *(model.example_inputs or ()))
    inner = _behind(model)
    if inner is not None:
        return as_program(inner, subject)
    if isinstance(model, type):
        name = model.__name__
        raise InputError(f"{subject} is the class {shown(model)}; give an instance, e.g. {name}(...).eval()")
    if any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__):
        raise InputError(f"{subject} is {shown(model)}, of Keras; give the PyTorch program itself")
    if not callable(model) or isinstance(model, torch.Tensor):
        raise InputError(
            f"{subject} is {type(model).__name__}, which cannot be called; give an nn.Module, a function, an "
            "ExportedProgram, or the path of a file that torch.export.save or torch.jit.save wrote "
            f"(got {shown(model)})"
        )
    return Program(model, _name(model))


def initialise(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Give lazy modules their parameters, as PyTorch does in a first call: the call is made, and nothing else kept.

    Raises:
        InputError: a module is still lazy, because the call does not reach it.
    """
    if not isinstance(model, nn.Module) or not _lazy_modules(model):
        return
    own_args, own_kwargs = map_tensors(lambda tensor, _: tensor.detach().clone(), (args, dict(kwargs)))
    with torch.no_grad(), keeping_random(generators(model, (args, kwargs))), restoring(model), _at_rest(model):
        model(*own_args, **own_kwargs)
    for path in _lazy_modules(model):
        raise InputError(
            f"the module {path!r} is lazy and the example call does not reach it, so that its parameters have no "
            "shapes; call it once, or take it away"
        )


def _name(model: Any) -> str:
    if isinstance(model, nn.Module):
        return str(getattr(model, "original_name", type(model).__name__))  # of TorchScript, the class it was made from
    names = (getattr(model, "__qualname__", None), getattr(model, "name", None))  # of any object, maybe no text
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)


def _module_of(program: torch.export.ExportedProgram) -> nn.Module:
    """An exported program as a module, without the checks of its inputs' sizes, where PyTorch can leave them out."""
    checks = "check_guards" in inspect.signature(program.module).parameters
    return program.module(check_guards=False) if checks else program.module()


def _read(file: str | os.PathLike[str], subject: str) -> Any:
    """The program that a file holds."""
    if not os.path.isfile(file):
        raise InputError(f"{subject} is the path {os.fspath(file)!r}, where no file is")
    path = Path(file)
    load = torch.export.load if path.suffix == ".pt2" else torch.jit.load
    try:
        return load(str(path))
    except Exception as error:
        raise InputError(
            f"{str(path)!r} holds no program that {load.__module__}.{load.__name__} can read ({error}); give a file "
            "that torch.export.save (.pt2) or torch.jit.save wrote, or the module with its weights loaded"
        ) from error


def _behind(model: Any) -> Any:
    """The program that this one hands all calls on to; None where it does more than that."""
    if isinstance(model, nn.Module):
        name = "_orig_mod" if is_compiled(model) else "module" if _is_parallel(model) else ""
        changed = model._forward_hooks or model._forward_pre_hooks or (name == "module" and "forward" in vars(model))
        return model._modules[name] if name and not changed else None
    # `functools.wraps` copies the attribute, but not whose function it is.
    is_dynamo = inspect.isfunction(model) and model.__globals__.get("__name__", "").startswith("torch._dynamo")
    return getattr(model, "_torchdynamo_orig_callable", None) if is_dynamo else None


def _is_parallel(model: nn.Module) -> bool:
    """Whether it is one of PyTorch's, and no subclass that computes something else."""
    kinds = [kind for kind in _PARALLEL if isinstance(model, kind)]
    return any(type(model).forward is kind.forward and type(model).__call__ is nn.Module.__call__ for kind in kinds)


_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def _lazy_modules(model: nn.Module) -> list[str]:
    return [
        path
        for path, module in model.named_modules()
        if any(isinstance(t, _LAZY) for t in (*module._parameters.values(), *module._buffers.values()))
    ]


@contextmanager
def _at_rest(model: nn.Module) -> Any:
    """Have the modules in evaluation mode, and all tensors afterwards hold what they did."""
    training = [module for module in model.modules() if module.training]
    held = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers()) if not isinstance(t, _LAZY)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for tensor, before in held:
            tensor.data.copy_(before)
