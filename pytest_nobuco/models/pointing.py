"""Which operation found the indices that a model gives, and among what.

Imports PyTorch, so it is itself imported only where that is asked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nobuco.bridge import to_numpy
from nobuco.parity.pointing import Pointed, pointed


class Finding(TorchFunctionMode):
    """Keeps what each call that finds indices gave, with what it looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Tensor, Pointed]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the call, and keep what it says."""
        results = func(*args, **(kwargs or {}))
        indices = results[-1] if isinstance(results, tuple) and len(results) == 2 else results
        if _is_tensor(indices) and indices.dtype == torch.int64 and args and _is_tensor(args[0]):
            known = pointed(getattr(func, "__name__", ""), to_numpy(args[0]).copy(), args, kwargs or {})
            if known is not None:
                self.found.append((indices, known))
        return results

    def of(self, output: torch.Tensor) -> Pointed | None:
        """What an output points to, if it is such a result itself."""
        return next((known for indices, known in self.found if indices is output), None)


def _is_tensor(given: Any) -> bool:
    return isinstance(given, torch.Tensor)
