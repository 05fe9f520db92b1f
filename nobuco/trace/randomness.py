"""Random generators, put back to what they were: running a program again must draw the same, and leave no trace."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from nobuco.ir import leaves
from nobuco.trace.reach import around, inside, modules_in_reach


@dataclass(frozen=True)
class Randomness:
    """A moment of Python's, NumPy's and PyTorch's global generators, and of some of the user's own."""

    python: Any
    numpy: Any
    processor: torch.Tensor
    devices: tuple[torch.Tensor, ...]
    own: tuple[tuple[torch.Generator, torch.Tensor], ...]

    @classmethod
    def now(cls, own: Iterable[torch.Generator] = ()) -> Randomness:
        """The state now."""
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else ()
        states = tuple((generator, generator.get_state()) for generator in own)
        return cls(random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state(), tuple(devices), states)

    def restore(self) -> None:
        """Let all generators draw again what they drew since."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.processor)
        if self.devices:
            torch.cuda.set_rng_state_all(self.devices)
        for generator, state in self.own:
            generator.set_state(state)


@contextmanager
def keeping_random(own: Iterable[torch.Generator] = ()) -> Iterator[None]:
    """Afterwards, all generators are as they are now."""
    before = Randomness.now(own)
    try:
        yield
    finally:
        before.restore()


class KeepingGenerators(TorchFunctionMode):
    """Afterwards, the generators that calls were given are as they were, also those that a program finds by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._met: dict[torch.Generator, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for item in leaves((args, kwargs or {})):
            if isinstance(item, torch.Generator) and item not in self._met:
                self._met[item] = item.get_state()
        return func(*args, **(kwargs or {}))

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for generator, state in self._met.items():
            generator.set_state(state)


def generators(function: Any, arguments: Any) -> list[torch.Generator]:
    """The generators that a call of a program may draw from: its modules', its closure's, its arguments'."""
    held = [item for _, module in modules_in_reach(function) for _, item in inside(vars(module), set())]
    items = [*held, *around(function).values(), *leaves(arguments)]
    return list({id(item): item for item in items if isinstance(item, torch.Generator)}.values())
