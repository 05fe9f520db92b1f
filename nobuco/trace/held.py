"""The tensors that a programme's modules hold, and putting them back after a run that put others in their place."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.ir import ValueKind

_PARTS = {"_parameters": ValueKind.PARAMETER, "_buffers": ValueKind.BUFFER}


@dataclass(frozen=True)
class Held:
    """A tensor that outlives a call, and the module that holds it (None: the function's closure)."""

    kind: ValueKind
    tensor: torch.Tensor
    holder: nn.Module | None = None


def held_tensors(function: Any) -> dict[str, Held]:
    """Parameters, buffers and attributes (in lists, dicts and objects, too) of all modules in reach, by name."""
    found: dict[str, Held] = {}
    for path, module in _modules(function):
        prefix = f"{path}." if path else ""
        for part, kind in _PARTS.items():
            for name, tensor in getattr(module, part).items():
                if tensor is not None:
                    found[prefix + name] = Held(kind, tensor, module)
        for name, value in _attributes(module).items():
            for keys, leaf in _tensors_in(value):
                found[prefix + name + keys] = Held(ValueKind.CONSTANT, leaf, module)
    for name, item in _named_around(function).items():
        if isinstance(item, torch.Tensor):
            found[name] = Held(ValueKind.PARAMETER if isinstance(item, nn.Parameter) else ValueKind.CONSTANT, item)
    return found


def held_numbers(function: Any) -> dict[str, tuple[int | float, nn.Module]]:
    """The Python numbers that modules hold, by name."""
    return {
        f"{path}.{name}".lstrip("."): (value, module)
        for path, module in _modules(function)
        for name, value in _attributes(module).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def modules_with_pre_hooks(function: Any) -> list[nn.Module]:
    """The modules in reach whose own hooks may give their forward other arguments than the call had, each once."""
    return list({id(module): module for _, module in _modules(function) if module._forward_pre_hooks}.values())


@dataclass(frozen=True)
class Belongings:
    """What modules held at some time: the containers that it was in (their shelves), each with a copy."""

    kept: Sequence[tuple[nn.Module, type, Sequence[tuple[Any, Any]]]]

    @classmethod
    def of(cls, function: Any) -> Belongings:
        """What all modules in reach hold now."""
        modules = [module for _, module in _modules(function)]
        return cls([(m, type(m), [(shelf, shelf.copy()) for shelf in _shelves(m)]) for m in modules])

    def put_back(self) -> None:
        """Make every module hold what it held then."""
        for shelf, copy in self._of_same_modules():
            _put_back(shelf, copy)

    def put_back_where(self, ids: Set[int]) -> None:
        """Put back only what stood where now there are these tensors."""
        for shelf, copy in self._of_same_modules():
            if isinstance(shelf, dict):
                missed = {key for key, value in shelf.items() if _holds(value, ids)}
                _put_back(shelf, {**{k: v for k, v in shelf.items() if k not in missed}, **_part(copy, missed)})
            elif _holds(shelf, ids):
                _put_back(shelf, copy)

    def _of_same_modules(self) -> Iterator[tuple[Any, Any]]:
        for module, kind, shelves in self.kept:
            if type(module) is kind:  # a lazy module has become another for good
                yield from shelves


@contextmanager
def restoring(function: Any) -> Iterator[Belongings]:
    """Put back whatever a run assigns and appends, so that converting leaves the user's model as it was."""
    before = Belongings.of(function)
    try:
        yield before
    finally:
        before.put_back()


def _holds(value: Any, ids: Set[int]) -> bool:
    return any(id(tensor) in ids for _, tensor in _tensors_in(value))


def _part(shelf: dict[Any, Any], keys: Set[Any]) -> dict[Any, Any]:
    return {key: value for key, value in shelf.items() if key in keys}


def _shelves(module: nn.Module) -> Iterator[Any]:
    """The containers in which a module keeps what it holds: its own dictionaries, and those of what is in them."""
    yield from (getattr(module, part) for part in _PARTS)
    yield module.__dict__
    seen: set[int] = set()
    for value in _attributes(module).values():
        yield from (shelf for _, shelf in _inside(value, seen) if isinstance(shelf, (list, deque, dict)))


def _put_back(shelf: Any, copy: Any) -> None:
    if isinstance(shelf, dict):
        for key in [key for key in shelf if key not in copy]:
            del shelf[key]
        for key, value in copy.items():
            if key not in shelf or shelf[key] is not value:
                shelf[key] = value
    elif len(shelf) != len(copy) or any(a is not b for a, b in zip(shelf, copy)):
        shelf.clear()
        shelf.extend(copy)


def _attributes(module: nn.Module) -> Mapping[str, Any]:
    """What a module holds beside parameters, buffers, sub-modules and PyTorch's own book-keeping."""
    return {name: value for name, value in vars(module).items() if name not in _OWN}


_OWN = frozenset(vars(nn.Module())) | {"_forward_pre_hooks_with_kwargs"}


def _tensors_in(value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, item) for name, item in _inside(value, set()) if isinstance(item, torch.Tensor))


def _inside(value: Any, seen: set[int], depth: int = 5) -> Iterator[tuple[str, Any]]:
    """What a value holds, itself first: in lists, tuples, dicts and objects (a cache class), each with its name."""
    if id(value) in seen or not depth:
        return
    seen.add(id(value))
    yield "", value
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, (list, tuple, deque)):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = iter(list(value.items()))
    elif _is_plain_object(value):
        yield from _inside_of(iter([("", vars(value))]), seen, depth)
    yield from _inside_of(items, seen, depth - 1)


def _inside_of(items: Iterator[tuple[Any, Any]], seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in items:
        name = "." + re.sub(r"\W", "_", str(key)) if key != "" else ""
        yield from ((name + rest, found) for rest, found in _inside(item, seen, depth))


def _is_plain_object(value: Any) -> bool:
    library = type(value).__module__.partition(".")[0]  # a logger or a lock is no place for a model's tensors
    return (
        hasattr(value, "__dict__")
        and library not in sys.stdlib_module_names
        and not isinstance(value, (torch.Tensor, nn.Module, type))
    )


def _modules(function: Any) -> list[tuple[str, nn.Module]]:
    if isinstance(function, nn.Module):
        return list(function.named_modules())
    around = ((name, item) for name, item in _named_around(function).items() if isinstance(item, nn.Module))
    return [(f"{name}.{path}".rstrip("."), module) for name, top in around for path, module in top.named_modules()]


def _named_around(function: Any) -> dict[str, Any]:
    """What a function that is no module reaches: its instance, its closure, the globals that it names."""
    if isinstance(function, nn.Module):
        return {}
    if isinstance(function, functools.partial):
        return {**_named_around(function.func), **{f"arg{i}": item for i, item in enumerate(function.args)}}
    if inspect.ismethod(function):
        own = {"self": function.__self__} if isinstance(function.__self__, nn.Module) else {}
        return {**_named_around(function.__func__), **own}
    if not inspect.isfunction(function):
        return {}
    inner: Any = inspect.unwrap(function)
    code, around = inner.__code__, inner.__globals__
    cells = zip(code.co_freevars, inner.__closure__ or ())
    named = {name: around[name] for name in code.co_names if name in around}
    return {**named, **{name: cell.cell_contents for name, cell in cells if _is_filled(cell)}}


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
