"""Movements joined: to the movement before them, or to the layer behind them that takes elements as they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nobuco.ir import Node, Value, leaves, map_leaves
from nobuco.ir.growth import Sizes
from nobuco.layout.movement import Reshape
from nobuco.select.units import Unit, is_size


def merge_movements(units: Sequence[Unit], outputs: Sequence[Value]) -> list[Unit]:
    """Join a movement to the one before it where nothing else reads what lies between."""
    uses = Counter(v.id for v in outputs)
    for unit in units:
        uses.update(v.id for v in unit.inputs)
    merged: list[Unit] = []
    position: dict[int, int] = {}
    for unit in units:
        before = position.get(unit.inputs[0].id) if unit.converter.steps is not None else None
        if before is not None and uses[unit.inputs[0].id] == 1 and _follows(unit, merged[before]):
            head = merged[before]
            unit = replace(unit, inputs=head.inputs, chain=(*head.chain, (unit.node, unit.converter)))
            merged[before] = unit
        else:
            before = len(merged)
            merged.append(unit)
        if unit.moves_only:
            position[unit.outputs[0].id] = before
    return merged


def absorb_flattenings(units: Sequence[Unit], outputs: Sequence[Value]) -> list[Unit]:
    """Leave a flattening to the layers behind it if all that read it are such as take its elements as they lie."""
    flattenings = {unit.outputs[0].id: unit for unit in units if unit.moves_only and _is_flattening(unit)}
    for value in (*outputs, *(v for unit in units if unit.converter.after_flattening is None for v in unit.inputs)):
        flattenings.pop(value.id, None)
    joined = []
    for unit in units:
        if unit.moves_only and unit.outputs[0].id in flattenings:
            continue
        flattening = flattenings.get(unit.inputs[0].id) if unit.inputs else None
        joined.append(unit if flattening is None else _joined(unit, flattening))
    return joined


def _is_flattening(unit: Unit) -> bool:
    """Whether a movement makes one dimension of all but the first."""
    source, result = unit.inputs[0], unit.outputs[0]
    reshapes = all(isinstance(step, Reshape) for step in unit.steps(source.shape))
    return reshapes and source.rank > 2 == result.rank and source.shape[0] == result.shape[0]


def _joined(unit: Unit, flattening: Unit) -> Unit:
    source, flat = flattening.inputs[0], unit.inputs[0]
    args, kwargs = map_leaves(lambda leaf: source if leaf is flat else leaf, (unit.node.args, dict(unit.node.kwargs)))
    node = replace(unit.node, args=args, kwargs=kwargs)
    converter = unit.converter.after_flattening
    assert converter is not None
    return replace(unit, node=node, converter=converter, inputs=(source,), flattening=flattening)


def _follows(unit: Unit, head: Unit) -> bool:
    """Whether the algebra of a chain can go on with a movement: it may know what the movement alone does not."""
    return unit.sizes is None or is_algebraic(unit.node, unit.sizes, head.inputs[0])


def is_algebraic(node: Node, sizes: Sizes, head: Value | None = None) -> bool:
    """Whether a movement's sizes follow from the dimensions of what it moves (or of the head of its chain).

    One that does not is what -1 says; more are known only to the running model.
    """
    first, *others = node.inputs
    asked = [(v, dim) for v in others for dim in ([None] if is_size(v, node) else range(v.rank))]
    unknown = sum(sizes.axes_of(sizes.growth(v, dim), head or first) is None for v, dim in asked)
    return unknown == 0 or (unknown == 1 and -1 not in leaves((node.args, dict(node.kwargs))))
