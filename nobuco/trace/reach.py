"""What a program reaches: the modules and tensors that a call of it may use."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def modules_in_reach(function: Any) -> list[tuple[str, nn.Module]]:
    """All modules that a program may call, with their paths, in which what `torch.compile` adds is left out."""
    tops = [("", function)] if isinstance(function, nn.Module) else list(around(function).items())
    return [
        (".".join(part for part in f"{name}.{path}".split(".") if part not in ("", _COMPILED)), module)
        for name, top in tops
        if isinstance(top, nn.Module)
        for path, module in top.named_modules()
    ]


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is what `torch.compile` puts around another one, and not one that only holds such a part."""
    return type(module).__module__.startswith("torch._dynamo") and _COMPILED in module._modules


_COMPILED = "_orig_mod"


def around(function: Any) -> dict[str, Any]:
    """The modules, tensors and generators that a callable reaches, by name; of a module nothing, as it has paths.

    They are in its instance, its arguments, its closure and among the globals that it names.
    """
    return {} if isinstance(function, nn.Module) else dict(_reached(function, set()))


def _reached(function: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if _is_held(function):
        yield "", function
    elif id(function) in seen:
        return
    elif isinstance(function, functools.partial):
        yield from _reached(function.func, seen)
        yield from _held_in({f"arg{i}": item for i, item in enumerate(function.args)} | function.keywords, seen)
    elif inspect.ismethod(function):
        yield from _reached(function.__func__, seen)
        yield from _reached(function.__self__, seen)
    elif inspect.isfunction(function):
        seen.add(id(function))
        if hasattr(function, "__wrapped__"):  # also of `torch.vmap` and its kin, which wrap modules and functions in C
            yield from _reached(function.__wrapped__, seen)
        code, globals_ = function.__code__, function.__globals__
        yield from ((name, globals_[name]) for name in code.co_names if _is_held(globals_.get(name)))
        cells = zip(code.co_freevars, function.__closure__ or ())
        yield from _held_in({name: cell.cell_contents for name, cell in cells if _is_filled(cell)}, seen)
    else:
        yield from ((name.lstrip("."), item) for name, item in inside(function, seen) if _is_held(item))


def _held_in(items: dict[str, Any], seen: set[int]) -> Iterator[tuple[str, Any]]:
    for name, item in items.items():
        yield from ((f"{name}.{rest}".rstrip("."), value) for rest, value in _reached(item, seen))


def _is_held(item: Any) -> bool:
    return isinstance(item, (nn.Module, torch.Tensor, torch.Generator))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def inside(value: Any, seen: set[int], depth: int = 5) -> Iterator[tuple[str, Any]]:
    """What a value holds, itself first: in lists, tuples, dicts and objects (a cache class), each with its name.

    Numbers, text and classes, which hold nothing, are left out.
    """
    if id(value) in seen or not depth:
        return
    seen.add(id(value))
    yield "", value
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, (list, tuple, deque, set)):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = iter(list(value.items()))
    elif _is_plain_object(value):
        yield from _inside_of(iter([("", vars(value))]), seen, depth)
    yield from _inside_of(items, seen, depth - 1)


def _inside_of(items: Iterator[tuple[Any, Any]], seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in items:
        if isinstance(item, _HOLD_NOTHING):  # a vocabulary has many of them
            continue
        name = "." + re.sub(r"\W", "_", str(key)) if key != "" else ""
        yield from ((name + rest, value) for rest, value in inside(item, seen, depth))


_HOLD_NOTHING = (str, bytes, int, float, complex, type(None), type, torch.dtype, torch.device)


def _is_plain_object(value: Any) -> bool:
    """Whether it may be a place for a model's tensors; a logger, a lock or `torch.ops` is none."""
    home = type(value).__module__
    return (
        hasattr(value, "__dict__")
        and home.partition(".")[0] not in sys.stdlib_module_names
        and not home.startswith("torch._")
        and not isinstance(value, (torch.Tensor, nn.Module, type))
    )
