"""PyTorch with every result moved within its last place at random: how much of an output is rounding.

Imports PyTorch, so it is itself imported only where that is asked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Rounding(TorchDispatchMode):
    """Moves what each ATen call gives. What is a whole number is exact in most programs, and stays."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    @classmethod
    def seeded(cls, seed: int) -> Rounding:
        """The same movements each time."""
        return cls(torch.Generator().manual_seed(seed))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the call, then move its results, in place what it wrote in place."""
        results = func(*args, **(kwargs or {}))
        written = [r.alias_info is not None and r.alias_info.is_write for r in func._schema.returns]
        views = [r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns]
        if any(views):
            return results
        if any(written):
            for leaf in pytree.tree_leaves(results):
                if _rounds(leaf):
                    leaf.copy_(self.moved(leaf))
            return results
        return pytree.tree_map(lambda leaf: self.moved(leaf) if _rounds(leaf) else leaf, results)

    def moved(self, x: torch.Tensor) -> torch.Tensor:
        """The tensor, each element by up to a unit in its last place."""
        by = torch.empty(x.shape, dtype=torch.float64).uniform_(-1, 1, generator=self.generator)
        factor = (1 + torch.finfo(x.dtype).eps * by).to(x.device)
        real = x.real if x.is_complex() else x
        return torch.where(real == real.round(), x, (x * factor).to(x.dtype))


def moved(tree: Any, rounding: Rounding) -> Any:
    """A model's arguments, moved likewise: they were rounded, too."""
    return pytree.tree_map(lambda leaf: rounding.moved(leaf) if _rounds(leaf) else leaf, tree)


def _rounds(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex())
