"""Which tensors of a PyTorch program a converted model has to do with: two models may come from one module.

Needs no PyTorch, and keeps none of its tensors alive. There is one such weak reference to an object, which tells it
apart when it is gone, too.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """A tensor that a program held: the name that it has there, and where it lay at conversion.

    `storage` is None for a tensor that has none of its own, as sparse ones.
    """

    name: str
    tensor: weakref.ref[Any]
    storage: weakref.ref[Any] | None = None
    start: int = 0
    shape: Sequence[int] = ()
    strides: Sequence[int] = ()
    dtype: Any = None

    def is_(self, other: Origin) -> bool:
        """Whether that is the same tensor, or another one of the same elements."""
        place = (self.start, self.shape, self.strides, self.dtype)
        return self.tensor is other.tensor or (
            self._lies_with(other) and place == (other.start, other.shape, other.strides, other.dtype)
        )

    def meets(self, other: Origin) -> bool:
        """Whether a write in the one may be seen in the other."""
        return self.is_(other) or (self._lies_with(other) and self.start < other._end and other.start < self._end)

    def _lies_with(self, other: Origin) -> bool:
        return self.storage is not None and self.storage is other.storage

    @property
    def _end(self) -> int:
        """The byte behind its last one."""
        if 0 in self.shape:
            return self.start
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        return self.start + (last + 1) * self.dtype.itemsize


@dataclass(frozen=True)
class Origins:
    """What tensors a model has to do with beside its state.

    `read` are those that it has as constants or weights; `left` those in whose place the program puts others, which
    the model does not keep.
    """

    read: tuple[Origin, ...] = ()
    left: tuple[Origin, ...] = ()
