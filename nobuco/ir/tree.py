"""Argument trees: the one place that knows which containers a PyTorch call may carry.

`torch.utils._pytree` does the work; it knows tuples, lists, dicts, named tuples and what libraries register
(Hugging Face outputs). Three things that PyTorch users nest tensors and sizes in are leaves for it: slices,
`torch.Size` and plain dataclasses. They are opened here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from torch.utils import _pytree as pytree


class Leaf:
    """A dataclass that derives from this stands in trees as a whole."""


def map_leaves(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Rebuild `tree` with `fn` applied to each leaf."""

    def visit(leaf: Any) -> Any:
        if isinstance(leaf, slice):
            return slice(fn(leaf.start), fn(leaf.stop), fn(leaf.step))
        if isinstance(leaf, torch.Size):
            return tuple(fn(size) for size in leaf)
        if _is_plain_dataclass(leaf):
            changes = {f.name: map_leaves(fn, getattr(leaf, f.name)) for f in dataclasses.fields(leaf) if f.init}
            return dataclasses.replace(leaf, **changes)
        return fn(leaf)

    return pytree.tree_map(visit, tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield each leaf of `tree`, in the order in which `map_leaves` meets them."""
    for leaf in pytree.tree_leaves(tree):
        if isinstance(leaf, slice):
            yield from (leaf.start, leaf.stop, leaf.step)
        elif isinstance(leaf, torch.Size):
            yield from leaf
        elif _is_plain_dataclass(leaf):
            for field in dataclasses.fields(leaf):
                if field.init:
                    yield from leaves(getattr(leaf, field.name))
        else:
            yield leaf


def tensors(tree: Any) -> list[torch.Tensor]:
    """The PyTorch tensors among the leaves of a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, torch.Tensor)]


def map_tensors(fn: Callable[[torch.Tensor, int], Any], tree: Any) -> Any:
    """Rebuild `tree` with `fn(tensor, position)` in place of each tensor, `position` counting the tensors."""
    positions = count()
    return map_leaves(lambda leaf: fn(leaf, next(positions)) if isinstance(leaf, torch.Tensor) else leaf, tree)


def _is_plain_dataclass(leaf: Any) -> bool:
    return dataclasses.is_dataclass(leaf) and not isinstance(leaf, (type, Leaf))
