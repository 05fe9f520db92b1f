"""Whether a call reads what an earlier one has put into its modules: found by making some more calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nobuco.ir import map_tensors, tensors
from nobuco.trace.held import ModuleSnapshot, held_tensors
from nobuco.trace.memory import Watch
from nobuco.trace.randomness import generators, keeping_random

# A tensor may be handed on from attribute to attribute before a call reads it.
_MOST_CALLS = 4


@dataclass(frozen=True)
class LaterCalls:
    """The calls of a program behind the one that is traced, with the same arguments.

    `before` is what its modules held before that one.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    before: ModuleSnapshot

    def used(self, new: Mapping[str, torch.Tensor]) -> set[str]:
        """The names of those tensors, put into modules by the traced call, that make a difference to a later one.

        They do if it reads them, or if calls go another way with such tensors than without.
        """
        with keeping_random(generators(self.function, (self.args, self.kwargs))):
            first = self._watched(new)
            read, left = set(first.read), self._still_held(new)
            for _ in range(_MOST_CALLS - 1):
                if left and not first.failed:
                    read |= self._watched(left).read
                    left = self._still_held(left)
            if read or first.failed:
                return {name for name, tensor in new.items() if id(tensor) in read}
            return set() if self._without(new).calls == first.calls else set(new)

    def _watched(self, kept: Mapping[str, torch.Tensor]) -> _Reading:
        """One more call; what it gives back of those tensors, it has read."""
        args, kwargs = map_tensors(lambda tensor, _: tensor.detach().clone(), (self.args, dict(self.kwargs)))
        with _Reading({id(tensor) for tensor in kept.values()}) as reading:
            try:
                reading.note(self.function(*args, **kwargs))
            except Exception:  # PyTorch's own program cannot be called again: there is no later call
                reading.failed = True
        return reading

    def _without(self, new: Mapping[str, torch.Tensor]) -> _Reading:
        """One more call, before which nothing stands in the places of those tensors."""
        held = held_tensors(self.function)
        self.before.restore_holding({id(held[name].tensor) for name in new if name in held})
        return self._watched({})

    def _still_held(self, kept: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        there = {id(held.tensor) for held in held_tensors(self.function).values()}
        return {name: tensor for name, tensor in kept.items() if id(tensor) in there}


class _Reading(Watch):
    """Sees which calls are made, and which of some tensors they are given."""

    def __init__(self, kept: set[int]) -> None:
        super().__init__()
        self.kept = kept
        self.read: set[int] = set()
        self.calls: list[Any] = []
        self.failed = False

    def note(self, items: Any) -> None:
        """Note the tensors among what somebody is given."""
        self.read |= {id(tensor) for tensor in tensors(items)} & self.kept

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.note((args, kwargs))
        self.calls.append(func)
        return func(*args, **kwargs or {})
