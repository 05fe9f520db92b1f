"""What mutants ask of arguments: what the first tensor is like, which dimension is meant, what there is several of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

Condition = Callable[..., Any]


def first(args: Iterable[Any]) -> Tensor:
    """The first tensor, also in a list."""
    flat = [leaf for arg in args for leaf in each(arg)]
    return next(leaf for leaf in flat if isinstance(leaf, Tensor))


def on(test: Callable[[Tensor], Any]) -> Condition:
    """Whether a test of the first tensor holds."""
    return lambda *args, **kwargs: test(first((*args, *kwargs.values())))


def has(test: Callable[[Tensor], Any]) -> Condition:
    """Whether it holds of any tensor."""
    return lambda *args, **kwargs: any(isinstance(a, Tensor) and test(a) for a in (*args, *kwargs.values()))


def each(value: Any) -> tuple[Any, ...]:
    """What is in a list, or the value alone."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def dimension(args: Iterable[Any], kwargs: Mapping[str, Any]) -> int | None:
    """By name, or the first whole number; of several the first."""
    found = kwargs.get("dim", kwargs.get("axis"))
    found = next((a for a in args if type(a) is int), None) if found is None else found
    return None if found is None else int(each(found)[0])


def is_mask(value: Any) -> bool:
    """A tensor of booleans."""
    return isinstance(value, Tensor) and value.dtype is torch.bool


def repeats(places: Tensor) -> bool:
    """Whether one place occurs twice."""
    return places.dim() > 0 and len(places.unique()) < places.numel()
