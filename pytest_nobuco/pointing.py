"""Which operation found the indices that a model gives, and among what.

Imports PyTorch, so it is itself imported only where that is asked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pytest_nobuco.witness import Pointed

# By name: the place of `dim` among the positional arguments and its default, whether the first of equal elements is
# taken (PyTorch says so of these), and whether no index comes twice.
_FINDERS = {
    "argmax": (1, None, True, False),
    "argmin": (1, None, True, False),
    "max": (1, None, True, False),
    "min": (1, None, True, False),
    "topk": (2, -1, False, True),
    "sort": (1, -1, False, True),
    "argsort": (1, -1, False, True),
    "kthvalue": (2, -1, False, False),
    "median": (1, None, False, False),
    "nanmedian": (1, None, False, False),
    "mode": (1, -1, False, False),
}


class Finding(TorchFunctionMode):
    """Keeps what each call that finds indices gave, with what it looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Tensor, Pointed]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the call, and keep what it says."""
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        indices = results[-1] if isinstance(results, tuple) and len(results) == 2 else results
        if name in _FINDERS and isinstance(indices, torch.Tensor) and indices.dtype == torch.int64 and args:
            pointed = _pointed(name, args, kwargs)
            if pointed is not None:
                self.found.append((indices, pointed))
        return results

    def of(self, output: torch.Tensor) -> Pointed | None:
        """What an output points to, if it is such a result itself."""
        return next((pointed for indices, pointed in self.found if indices is output), None)


def _pointed(name: str, args: Any, kwargs: Any) -> Pointed | None:
    place, default, is_first, is_distinct = _FINDERS[name]
    dim = kwargs.get("dim", args[place] if len(args) > place else default)
    values = args[0].detach().clone()
    if isinstance(dim, bool):  # sort(stable) by position
        return None
    if dim is None and name.startswith("arg"):
        values, dim = values.flatten(), 0
    if not isinstance(dim, int) or not values.dim():
        return None
    is_first = is_first or kwargs.get("stable") is True
    return Pointed(name, values, dim % values.dim(), is_first, is_distinct)
