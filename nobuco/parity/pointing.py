"""Indices that an operation found: right are all that point to the values that PyTorch's point to.

Of equal elements PyTorch says of some operations that the first is taken, of others it leaves open which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class _Finder:
    """The place of `dim` among the positional arguments, and its default.

    `is_first` is whether the first of equal elements is taken, `is_distinct` whether no index comes twice.
    """

    place: int
    default: int | None
    is_first: bool = False
    is_distinct: bool = False


_FINDERS = {
    "argmax": _Finder(1, None, is_first=True),
    "argmin": _Finder(1, None, is_first=True),
    "max": _Finder(1, None, is_first=True),
    "min": _Finder(1, None, is_first=True),
    "topk": _Finder(2, -1, is_distinct=True),
    "sort": _Finder(1, -1, is_distinct=True),
    "argsort": _Finder(1, -1, is_distinct=True),
    "kthvalue": _Finder(2, -1),
    "median": _Finder(1, None),
    "nanmedian": _Finder(1, None),
    "mode": _Finder(1, -1),
}


@dataclass(frozen=True, eq=False)
class Pointed:
    """The tensor whose elements the indices of an operation point to, along `dim`."""

    operation: str
    values: NDArray[Any]
    dim: int
    is_first: bool
    is_distinct: bool

    def at(self, indices: NDArray[Any]) -> NDArray[Any] | None:
        """The elements that these point to; None where one points to none, or two to the same."""
        places = np.asarray(indices).reshape(-1) if self.values.ndim == 1 else np.asarray(indices)
        if places.ndim == self.values.ndim - 1:
            places = np.expand_dims(places, self.dim)
        if places.size and not 0 <= places.min() <= places.max() < self.values.shape[self.dim]:
            return None
        if self.is_distinct and not np.diff(np.sort(places, self.dim), axis=self.dim).all():
            return None
        return np.asarray(np.take_along_axis(self.values, places.astype(np.int64), self.dim))


def pointed(operation: str, values: NDArray[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Pointed | None:
    """What the indices of a call point to, its first argument being `values`; None of any other operation.

    `operation` is its name as users write it, or an ATen overload's.
    """
    name = next((part for part in reversed(operation.split(".")) if part in _FINDERS), None)
    if name is None or not values.ndim:
        return None
    finder = _FINDERS[name]
    dim = kwargs.get("dim", args[finder.place] if len(args) > finder.place else finder.default)
    if isinstance(dim, bool):  # `stable`, by position
        return None
    if dim is None and name.startswith("arg"):
        values, dim = values.reshape(-1), 0
    if not isinstance(dim, int):
        return None
    is_first = finder.is_first or kwargs.get("stable") is True
    return Pointed(name, values, dim % values.ndim, is_first, finder.is_distinct)
