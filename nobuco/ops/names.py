"""PyTorch's names, as the rows of converters write them: `torch.conv2d`, `nn.Conv2d`, `aten.convolution.default`.

PyTorch drops operations and gains others, and a converter of one must not keep the others from being registered. So a
name that this PyTorch does not know gives something here, too, `Lacking`, which no call can be. To a type checker these
are PyTorch's own modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch as _torch


@dataclass(frozen=True)
class Lacking:
    """An operation that this PyTorch has not, or no longer, or not yet."""

    name: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != "__get__":
            raise AttributeError(f"{self.name} is not in PyTorch {_torch.__version__}, so it has no {name}")
        return Lacking(f"{self.name}.{name}")


class Names:
    """The names in a module of PyTorch's, in its class of tensors, or in an operator that has overloads."""

    def __init__(self, space: Any, path: str) -> None:
        self._space = space
        self._path = path

    def __getattribute__(self, name: str) -> Any:  # also `__eq__` and its kin are the space's own
        space, path = object.__getattribute__(self, "_space"), f"{object.__getattribute__(self, '_path')}.{name}"
        try:
            member = getattr(space, name)
        except AttributeError:
            return Lacking(path)
        is_space = isinstance(member, (ModuleType, _torch._ops.OpOverloadPacket)) or member is _torch.Tensor
        return Names(member, path) if is_space else member

    def __instancecheck__(self, instance: Any) -> bool:  # of the class of tensors
        return isinstance(instance, object.__getattribute__(self, "_space"))


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn, special

    aten = torch.ops.aten
else:
    torch = Names(_torch, "torch")
    F, Tensor, nn, special, aten = torch.nn.functional, torch.Tensor, torch.nn, torch.special, torch.ops.aten

__all__ = ["F", "Lacking", "Tensor", "aten", "nn", "special", "torch"]
