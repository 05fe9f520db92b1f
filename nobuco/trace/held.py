"""The tensors that a program's modules hold, and putting them back after a run that put others in their place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.ir import ValueKind
from nobuco.trace.reach import around, inside, modules_in_reach

_CONTAINERS = (list, deque, dict, set)
_PARTS = {"_parameters": ValueKind.PARAMETER, "_buffers": ValueKind.BUFFER}


@dataclass(frozen=True)
class Held:
    """A tensor that outlives a call, and the module that holds it (None: the function's closure)."""

    kind: ValueKind
    tensor: torch.Tensor
    holder: nn.Module | None = None


def held_tensors(function: Any) -> dict[str, Held]:
    """Parameters, buffers and attributes (in lists, dicts and objects, too) of all modules in reach, by name."""
    held: dict[str, Held] = {}
    for path, module in modules_in_reach(function):
        prefix = f"{path}." if path else ""
        for part, kind in _PARTS.items():
            for name, tensor in getattr(module, part).items():
                if tensor is not None:
                    held[prefix + name] = Held(kind, tensor, module)
        for name, value in _attributes(module).items():
            for keys, leaf in _tensors_in(value):
                held[prefix + name + keys] = Held(ValueKind.CONSTANT, leaf, module)
    for name, item in around(function).items():
        if isinstance(item, torch.Tensor):
            held[name] = Held(ValueKind.PARAMETER if isinstance(item, nn.Parameter) else ValueKind.CONSTANT, item)
    return held


def own_tensors(module: nn.Module) -> dict[str, torch.Tensor | None]:
    """The parameters and buffers that a module itself has, by name."""
    return {**dict(module._parameters.items()), **dict(module._buffers.items())}


def checkpoint_tensors(function: Any) -> dict[str, torch.Tensor]:
    """The tensors of a program's checkpoint: of a module its own, of a function those of the modules that it calls.

    The keys of several modules begin with their names in the function.
    """
    if isinstance(function, nn.Module):
        return function.state_dict(keep_vars=True)
    modules = {name: item for name, item in around(function).items() if isinstance(item, nn.Module)}
    if len(modules) == 1:
        return next(iter(modules.values())).state_dict(keep_vars=True)
    return {f"{name}.{key}": t for name, module in modules.items() for key, t in checkpoint_tensors(module).items()}


def held_numbers(function: Any) -> dict[str, tuple[int | float, nn.Module]]:
    """The Python numbers that modules hold, by name."""
    return {
        f"{path}.{name}".lstrip("."): (value, module)
        for path, module in modules_in_reach(function)
        for name, value in _attributes(module).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def modules_with_pre_hooks(function: Any) -> list[nn.Module]:
    """The modules in reach whose own hooks may give their forward other arguments than the call had, each once."""
    return list({id(module): module for _, module in modules_in_reach(function) if module._forward_pre_hooks}.values())


@dataclass(frozen=True)
class ModuleSnapshot:
    """What modules held at some time: the containers that it was in (their shelves), each with a copy."""

    kept: Sequence[tuple[nn.Module, type, Sequence[tuple[Any, Any]]]]

    @classmethod
    def of(cls, function: Any) -> ModuleSnapshot:
        """What all modules in reach hold now."""
        modules = [module for _, module in modules_in_reach(function)]
        return cls([(m, type(m), [(shelf, copied(shelf)) for shelf in shelves(m)]) for m in modules])

    def put_back(self) -> None:
        """Make every module hold what it held then."""
        for shelf, copy in self._of_same_modules():
            put_back(shelf, copy)

    def restore_holding(self, ids: Set[int]) -> None:
        """Put back only what stood where now there are these tensors."""
        for shelf, copy in self._of_same_modules():
            if isinstance(copy, dict):
                missed = {key for key, value in shelf.items() if _holds(value, ids)}
                put_back(shelf, {**{k: v for k, v in shelf.items() if k not in missed}, **_part(copy, missed)})
            elif _holds(shelf, ids):
                put_back(shelf, copy)

    def _of_same_modules(self) -> Iterator[tuple[Any, Any]]:
        for module, kind, shelves in self.kept:
            if type(module) is kind:  # a lazy module has become another for good
                yield from shelves


@contextmanager
def restoring(function: Any) -> Iterator[ModuleSnapshot]:
    """Put back whatever a run assigns and appends, so that converting leaves the user's model as it was."""
    before, gradients = ModuleSnapshot.of(function), _gradients_taken(function)
    try:
        yield before
    finally:
        before.put_back()
        for tensor, gradient in gradients:
            tensor.grad = gradient


def _gradients_taken(function: Any) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """The gradients of what modules hold, taken from it, since a backward pass in a program adds to them in place."""
    trained = {id(h.tensor): h.tensor for h in held_tensors(function).values() if h.tensor.requires_grad}.values()
    gradients = [(tensor, tensor.grad) for tensor in trained if tensor.is_leaf]
    for tensor, _ in gradients:
        tensor.grad = None
    return gradients


def _holds(value: Any, ids: Set[int]) -> bool:
    return any(id(tensor) in ids for _, tensor in _tensors_in(value))


def _part(shelf: dict[Any, Any], keys: Set[Any]) -> dict[Any, Any]:
    return {key: value for key, value in shelf.items() if key in keys}


def shelves(module: nn.Module) -> Iterator[Any]:
    """The containers in which a module keeps what it holds: its own dictionaries, and those of what is in them."""
    yield from (getattr(module, part) for part in _PARTS)
    yield module.__dict__
    seen: set[int] = set()
    for value in _attributes(module).values():
        yield from (shelf for _, shelf in inside(value, seen) if isinstance(shelf, _CONTAINERS))


def copied(shelf: Any) -> Any:
    """A copy of a shelf; those of TorchScript are like a dict, but cannot be copied."""
    return shelf.copy() if isinstance(shelf, _CONTAINERS) else dict(shelf.items())


def items_on(shelf: Any) -> Iterator[tuple[Any, Any]]:
    """What is on a shelf, with its key or its number."""
    return enumerate(shelf) if isinstance(shelf, (list, deque, set)) else iter(list(shelf.items()))


def put_back(shelf: Any, copy: Any) -> None:
    """Let a shelf hold what its copy does."""
    if isinstance(copy, dict):
        for key in set(shelf.keys()) - copy.keys():
            del shelf[key]
        for key, value in copy.items():
            if key not in shelf or shelf[key] is not value:
                shelf[key] = value
    elif isinstance(copy, set):
        shelf.clear()
        shelf.update(copy)
    elif len(shelf) != len(copy) or any(a is not b for a, b in zip(shelf, copy)):
        shelf.clear()
        shelf.extend(copy)


def _attributes(module: nn.Module) -> Mapping[str, Any]:
    """What a module holds beside parameters, buffers, sub-modules and PyTorch's own book-keeping."""
    return {name: value for name, value in vars(module).items() if name not in _OWN}


_OWN = frozenset(vars(nn.Module())) | {"_forward_pre_hooks_with_kwargs"}


def _tensors_in(value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, item) for name, item in inside(value, set()) if isinstance(item, torch.Tensor))
