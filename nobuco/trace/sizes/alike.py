"""Whether constants of two runs are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def same(one: Any, other: Any) -> bool:
    """Whether two constants are equal; what has no equality that says so counts as equal."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one.cpu(), other.cpu()))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if type(one).__eq__ is object.__eq__:
        return True
    try:
        return bool(one == other) or bool(one != one and other != other)
    except Exception:  # an equality of somebody's own
        return True
