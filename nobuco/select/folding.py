"""Moves of channels folded into the layer before or behind them, whose weights are in an order of their own then.

What lies between the two is no value of the plan any more, as in a chain of moves, so nothing else meets the order.
It shows only where a DEPTH_TO_SPACE is left: what the layer before that gives has TensorFlow's order of channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nobuco.ir import Value, map_leaves
from nobuco.layout.movement import Freed, freed
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import reordered

if TYPE_CHECKING:
    from nobuco.select import Unit


def folded(units: Sequence[Unit], outputs: Sequence[Value]) -> list[Unit]:
    """The units with each move that vanishes in a neighbour's weights joined to it.

    Not where a module is called again: its weights have one order.
    """
    if any(unit.node.regions for unit in units):  # whose bodies may call any module
        return list(units)
    reads = Counter(v.id for v in (*outputs, *(v for unit in units for v in unit.inputs)))
    calls = Counter(id(unit.node.module) for unit in units)
    makers = {unit.outputs[0].id: unit for unit in units if len(unit.outputs) == 1 == reads[unit.outputs[0].id]}
    readers = {unit.inputs[0].id: unit for unit in units if unit.moves_only}
    joined: dict[int, Unit] = {}
    gone: set[int] = set()
    for unit in units:
        if unit.converter.folding is None or calls[id(unit.node.module)] > 1 or len(unit.inputs) != 1:
            continue
        ahead = makers.get(unit.inputs[0].id)
        behind = readers.get(unit.outputs[0].id) if unit.outputs[0].id in makers else None
        for move, before, end in ((ahead, False, unit.inputs[0]), (behind, True, unit.outputs[0])):
            own = end.id in unit.lies  # its weights are in another order there already
            left = None if move is None or own or id(move) in gone else _left(move, before)
            wider = None if move is None or left is None else _with(joined.get(id(unit), unit), move, left, before)
            if wider is not None:
                joined[id(unit)] = wider
                gone.add(id(move))
    return [joined.get(id(unit), unit) for unit in units if id(unit) not in gone]


def _left(unit: Unit, before: bool) -> Freed | None:
    """What is left of a move of channels-last tensors beside weights; None where it is more than one operation.

    It has to be the same at other sizes of dynamic axes.
    """
    if not unit.moves_only or len(unit.inputs) != 1 or not 3 <= unit.inputs[0].rank == unit.outputs[0].rank:
        return None
    shape = unit.inputs[0].shape
    larger = tuple(3 * n if _is_dynamic(unit, dim) else n for dim, n in enumerate(shape))
    places = {_freed_at(unit, sizes, before) for sizes in (shape, larger)}
    left = places.pop() if len(places) == 1 else None
    # Of an image that is no multiple of its blocks a convolution would leave out the rest, where PyTorch refuses it.
    unsure = left is not None and left.block > 1 and not before and larger[2:] != shape[2:]
    return None if unsure else left


def _is_dynamic(unit: Unit, dim: int) -> bool:
    growth = () if unit.sizes is None else unit.sizes.growth(unit.inputs[0], dim)
    return growth is None or any(factor != 1 for factor in growth)


def _freed_at(unit: Unit, shape: Sequence[int], before: bool) -> Freed | None:
    order, rank = ChannelOrder.TENSORFLOW, len(shape)
    return freed(order.to_physical(shape), reordered(unit.steps(shape), order, order, rank, rank), before)


def _with(unit: Unit, move: Unit, left: Freed, before: bool) -> Unit | None:
    """A layer that also does what a move does: behind it, where the order `before` the move is free, or ahead of it."""
    folding = unit.converter.folding
    assert folding is not None
    wider = replace(unit, behind=(move, left)) if before else replace(unit, ahead=(move, left))
    if not folding.fits(unit.node, wider.taken, wider.given):
        return None
    node = unit.node
    if before:
        return replace(wider, node=replace(node, outputs=move.outputs[0]), outputs=move.outputs)
    source = move.inputs[0]
    args, kwargs = map_leaves(lambda leaf: source if leaf is unit.inputs[0] else leaf, (node.args, dict(node.kwargs)))
    return replace(wider, node=replace(node, args=args, kwargs=kwargs), inputs=(source,))
