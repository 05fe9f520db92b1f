"""Changes of form in place: a Python tensor becomes another view, and no memory is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch

from nobuco.ir import leaves
from nobuco.trace.calls import name_of
from nobuco.trace.memory import Memory

Form = Callable[[], torch.Tensor]


def form_after(memory: Memory, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Form | None:
    """What gives, by plain calls, the tensor that a call makes of its first one.

    None for a call that does not change the form of its first tensor, or puts it into memory of an unknown tensor.
    """
    if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
        return lambda: args[1]
    name = name_of(func)
    if not name.endswith("_") or name.endswith("__") or name == "detach_" or not _changes_form(name):
        return None
    if name == "set_":
        return _set(memory, *args[1:], **kwargs)
    if name in ("resize_", "resize_as_"):
        return (_resized if name == "resize_" else _resized_as)(*args, **kwargs)
    plain = _plain(func, name.removesuffix("_"))
    return lambda: plain(*args, **kwargs)


def _changes_form(name: str) -> bool:
    """Whether PyTorch's own table says that an operation makes another view of its first tensor, in place."""
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and any(
        torch.Tag.inplace_view in getattr(packet, overload).tags for overload in packet.overloads()
    )


def _plain(func: Any, name: str) -> Callable[..., torch.Tensor]:
    if isinstance(func, torch._ops.OpOverload):
        packet, overload = getattr(torch.ops.aten, name), func._overloadname
        # Not all are called alike: `transpose_.default` is `transpose.int`.
        return getattr(packet, overload if overload in packet.overloads() else packet.overloads()[0])
    return getattr(torch.Tensor, name)


def _resized(before: torch.Tensor, *size: Any, memory_format: Any = None, **keyword: Any) -> Form:
    sizes = tuple(leaves(list(keyword.values()) or size))

    def resized() -> torch.Tensor:
        held = before.untyped_storage().nbytes() // before.element_size() - before.storage_offset()
        if prod(sizes) <= held:
            steps = [prod(sizes[dim + 1 :]) for dim in range(len(sizes))]
            return torch.as_strided(before, sizes, steps, before.storage_offset())
        rest = torch.zeros(prod(sizes) - before.numel(), dtype=before.dtype)  # PyTorch leaves them unset
        return torch.reshape(torch.cat([torch.reshape(before, (-1,)), rest]), sizes)

    return resized


def _resized_as(before: torch.Tensor, other: torch.Tensor, memory_format: Any = None) -> Form:
    return _resized(before, *other.shape)


def _set(memory: Memory, source: Any = None, *place: Any, **keyword: Any) -> Form | None:
    """`x.set_(y)`: x is what y is; with offset, sizes and steps, a view of the memory of y."""
    if isinstance(source, torch.UntypedStorage):  # as PyTorch hands a tensor on, too, where places are given
        slots = memory.in_storage(source._cdata)
        source = slots[0].tensor if slots else None
    if source is None:
        return None
    if not (place or keyword):
        return lambda: source
    offset, size, stride = (*place, *keyword.values())
    return lambda: torch.as_strided(source, size, stride, offset)
