"""Argument trees: the one place that knows which containers a PyTorch call may carry.

`torch.utils._pytree` does the work; it knows tuples, lists, dicts and what libraries register (Hugging Face outputs).
What else PyTorch users nest tensors and sizes in is opened here: slices, `torch.Size`, plain dataclasses, classes of
mappings, and named tuples, whose constructors PyTorch's trees would call.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, MutableMapping
from itertools import count
from typing import Any

import torch
from torch.utils import _pytree as pytree


class Leaf:
    """A dataclass that derives from this stands in trees as a whole."""


def map_leaves(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Rebuild `tree` with `fn` applied to each leaf."""

    def visit(leaf: Any) -> Any:
        parts = _parts(leaf)
        return fn(leaf) if parts is None else _rebuilt(leaf, {step: map_leaves(fn, part) for step, part in parts})

    return pytree.tree_map(visit, tree, is_leaf=_is_named_tuple)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield each leaf of `tree`, in the order in which `map_leaves` meets them."""
    for leaf in pytree.tree_leaves(tree, is_leaf=_is_named_tuple):
        parts = _parts(leaf)
        if parts is None:
            yield leaf
        else:
            for _, part in parts:
                yield from leaves(part)


def paths(tree: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each leaf of `tree`, behind the keys, names of fields and numbers that lead to it."""
    for path, leaf in pytree.tree_flatten_with_path(tree, is_leaf=_is_named_tuple)[0]:
        steps, parts = tuple(_step(step) for step in path), _parts(leaf)
        if parts is None:
            yield steps, leaf
        else:
            for step, part in parts:
                own = step if isinstance(step, int) else str(step)
                yield from (((*steps, own, *rest), item) for rest, item in paths(part))


def _step(step: Any) -> str | int:
    number = getattr(step, "idx", None)
    return number if number is not None else str(getattr(step, "key", getattr(step, "name", step)))


def _parts(leaf: Any) -> list[tuple[Any, Any]] | None:
    """What a leaf of PyTorch's trees holds that is a container here, by key, field or number; None if it is a leaf."""
    if isinstance(leaf, (torch.Tensor, str, int, float, type(None))):
        return None
    if isinstance(leaf, slice):
        return [(name, getattr(leaf, name)) for name in ("start", "stop", "step")]
    if isinstance(leaf, torch.Size):
        return list(enumerate(leaf))
    if _is_named_tuple(leaf):
        return list(zip(leaf._fields, leaf))
    if _is_plain_dataclass(leaf):
        return [(field.name, getattr(leaf, field.name)) for field in dataclasses.fields(leaf) if field.init]
    return list(leaf.items()) if isinstance(leaf, MutableMapping) else None


def _rebuilt(container: Any, parts: dict[Any, Any]) -> Any:
    """A container like this one that holds these parts."""
    if isinstance(container, slice):
        return slice(*parts.values())
    if isinstance(container, torch.Size):
        return tuple(parts.values())
    if _is_named_tuple(container):  # whose own constructor may insist on tensors
        return tuple.__new__(type(container), parts.values())
    if isinstance(container, MutableMapping):
        rebuilt = copy.copy(container)
        rebuilt.update(parts)
        return rebuilt
    return dataclasses.replace(container, **parts)


def _is_named_tuple(leaf: Any) -> bool:
    return isinstance(leaf, tuple) and hasattr(leaf, "_fields")


def tensors(tree: Any) -> list[torch.Tensor]:
    """The PyTorch tensors among the leaves of a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, torch.Tensor)]


def map_tensors(fn: Callable[[torch.Tensor, int], Any], tree: Any) -> Any:
    """Rebuild `tree` with `fn(tensor, position)` in place of each tensor, `position` counting the tensors."""
    positions = count()
    return map_leaves(lambda leaf: fn(leaf, next(positions)) if isinstance(leaf, torch.Tensor) else leaf, tree)


def _is_plain_dataclass(leaf: Any) -> bool:
    return dataclasses.is_dataclass(leaf) and not isinstance(leaf, (type, Leaf))
