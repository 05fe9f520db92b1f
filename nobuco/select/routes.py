"""What a unit does with channels, dimension 1 of its tensors: which of them it gives, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, pairwise, takewhile
from typing import Any

import torch

from nobuco.ir import Value, ValueKind, map_leaves
from nobuco.layout.channels import Order
from nobuco.layout.movement import turned_channels
from nobuco.registry import ChannelUse
from nobuco.select.units import Unit

# Longer than any dimension that a slice might be meant for; no tensor of it is ever filled.
_LONG = 2**24 + 1
Content = tuple[tuple[int, int], ...]
"""What a tensor consists of: for each of its channels the tensor that it comes from, and which one of that it is."""


def use_of(unit: Unit) -> ChannelUse | None:
    """What a unit does with channels, if it is one call that does so in any order of them."""
    if unit.moves_only or unit.flattening is not None or not unit.inputs or not unit.outputs:
        return None
    return unit.converter.use_of_channels(unit.node)


def moved(unit: Unit) -> dict[int, Content] | None:
    """By id what each output consists of, if channels is all that a unit moves."""
    tensors = (*unit.inputs, *unit.outputs)
    if any(0 in value.shape or value.rank < 2 or varies(unit, value, 1) for value in tensors):
        return None
    if use_of(unit) is ChannelUse.JOINED:
        return {unit.outputs[0].id: tuple((v.id, i) for v in unit.inputs for i in range(v.shape[1]))}
    orders, source = _orders(unit), unit.inputs[0].id if unit.inputs else 0
    if not orders or not all(alone for _, alone in orders):
        return None
    return {value.id: tuple((source, i) for i in order) for value, (order, _) in zip(unit.outputs, orders)}


def turns(unit: Unit, contents: Mapping[int, Content]) -> bool:
    """Whether channels of one tensor come to lie behind each other that did not."""
    return use_of(unit) is not ChannelUse.JOINED and any(
        a[0] == b[0] and a[1] + 1 != b[1] for content in contents.values() for a, b in pairwise(content)
    )


def dimensions(unit: Unit) -> dict[int, int] | None:
    """By id the dimension that the channels are in each tensor of a unit which keeps them apart, and in their order.

    None of a unit that does not.
    """
    if use_of(unit) is not ChannelUse.EACH:
        orders = _orders(unit)
        if not orders or any(order != tuple(range(len(order))) for order, _ in orders):
            return None
    rank, channels = unit.outputs[0].rank, unit.outputs[0].shape[1:2]
    if rank < 2 or any(v.rank != rank or v.shape[1:2] != channels for v in unit.outputs):
        return None
    by_id = {v.id: 1 for v in unit.outputs}
    for value in unit.inputs:
        dim = 1 - max(rank - value.rank, 0)  # a tensor of fewer dimensions has the last ones
        if value.kind is ValueKind.SIZE or not 0 <= dim < value.rank or value.shape[dim] == 1:
            continue
        if value.shape[dim] != channels[0] or by_id.setdefault(value.id, dim) != dim:
            return None
    return by_id


def varies(unit: Unit, value: Value, dim: int) -> bool:
    """Whether a dimension may have another size when the model runs."""
    growth = () if unit.sizes is None else unit.sizes.growth(value, dim)
    return growth is None or any(factor != 1 for factor in growth)


def _orders(unit: Unit) -> list[tuple[Order, bool]]:
    """For each output the channels of the input that it has, and whether that is all that is another; or nothing."""
    if unit.moves_only:
        # It has to be the same where all other dimensions have another size.
        shape = unit.inputs[0].shape
        larger = tuple(3 * n if varies(unit, unit.inputs[0], dim) else n for dim, n in enumerate(shape))
        found = {turned_channels(sizes, unit.steps(sizes)) for sizes in (shape, larger)}
        return [one for one in found if one is not None] if len(found) == 1 else []
    if use_of(unit) is not ChannelUse.PARTS or len(unit.inputs) != 1 or unit.inputs[0].rank < 2:
        return []
    shape = unit.inputs[0].shape
    numbers = torch.arange(shape[1], dtype=torch.int32).reshape(1, -1, *(1 for _ in shape[2:])).expand(shape)
    parts = _parts(unit, numbers)
    if any(part.ndim != len(shape) or 0 in part.shape for part in parts):
        return []
    along: Any = (0, slice(None)) + (0,) * (len(shape) - 2)
    orders = [tuple(part[along].tolist()) for part in parts]
    # Nothing may be cut at any size of the other dimensions, though nothing is at this one.
    alone = all(_keeps(unit, shape, dim) for dim in range(len(shape)) if dim != 1)
    return [(order, alone) for order in orders]


def _keeps(unit: Unit, shape: Sequence[int], dim: int) -> bool:
    """Whether every output has a dimension as it is, however long that is.

    It grows step by step: where its length is cut into pieces, the first step says so with a few of them.
    """
    lengths = (*takewhile(lambda n: n < _LONG, (8**i * shape[dim] + 1 for i in count(1))), _LONG)
    return all(_has_length(unit, shape, dim, length) for length in lengths)


def _has_length(unit: Unit, shape: Sequence[int], dim: int, length: int) -> bool:
    sizes = [length if i == dim else n for i, n in enumerate(shape)]
    parts = _parts(unit, torch.empty(sizes, device="meta"))
    return bool(parts) and all(part.ndim == len(sizes) and part.shape[dim] == length for part in parts)


def _parts(unit: Unit, tensor: torch.Tensor) -> list[torch.Tensor]:
    """What a unit's function in PyTorch gives of a tensor in the place of its input; nothing where it refuses it."""
    args, kwargs = map_leaves(
        lambda leaf: tensor if isinstance(leaf, Value) else leaf, (unit.node.args, dict(unit.node.kwargs))
    )
    function: Any = unit.converter.callables[0]
    try:
        results = function(*args, **kwargs)
    except Exception:  # a mask, or pieces, of the size that a dimension really has
        return []
    return [results] if isinstance(results, torch.Tensor) else list(results)
