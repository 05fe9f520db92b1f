"""One unit as a Keras layer: its own where the converter gives one, ours around a function for the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.assemble.chain import Chain
from nobuco.assemble.closures import loads_by_itself, variables_of
from nobuco.assemble.joints import joining
from nobuco.assemble.moves import moving_function, plan_moves, stepping
from nobuco.assemble.names import Names
from nobuco.assemble.tensors import Tensors
from nobuco.assemble.units import bound, single
from nobuco.ir import Value, leaves, map_leaves
from nobuco.layers import OpLayer
from nobuco.layout.strategy import Signature
from nobuco.plan.calling import call_converter
from nobuco.registry import operation_name
from nobuco.select import Unit

Bodies = Sequence[Callable[..., Any]]


def layer_of(
    unit: Unit,
    signature: Signature,
    constants: Mapping[int, np.ndarray],
    tensors: Tensors,
    bodies: Callable[[], Bodies],
    anew: bool = False,
) -> tuple[Any, bool]:
    """The Keras layer (or chain) of a unit, and whether it had one: a module called again shares its layer.

    Args:
        unit: the unit.
        signature: the orders that it runs in.
        constants: by position among the unit's inputs, what is embedded, already laid out.
        tensors: the model so far.
        bodies: makes the bodies of a control-flow call.
        anew: make one although there is one, which does not take tensors of these ranks; others of them share it.
    """
    node = unit.node
    literals = repr(map_leaves(lambda v: "*" if isinstance(v, Value) else v, (node.args, dict(node.kwargs))))
    key = (id(node.module), unit.converter, signature, literals)
    of_rank = (*key, *(v.rank for v in unit.inputs))
    shareable = node.module is not None and unit.converter.reusable and not constants
    known = tensors.shared.get(of_rank, tensors.shared.get(key)) if shareable and not anew else None
    if known is not None:
        return known, True
    if unit.moves_only:
        layer = _moving(unit, signature, constants, tensors)
    elif unit.vanishes:
        layer = _unchanged
    else:
        if unit.parts:
            result = joining(unit)
        elif unit.converter.make is None:
            result = stepping(unit)
        else:
            result = call_converter(unit, tensors.graph.samples, signature, bodies())
        layer = _converted(unit, signature, constants, tensors.graph.natural, result)
    _name(unit, layer, tensors.names)
    if shareable:
        tensors.shared[of_rank if anew else key] = layer
    return layer, False


def _moving(unit: Unit, signature: Signature, constants: Mapping[int, np.ndarray], tensors: Tensors) -> Any:
    before, after = signature.inputs[0], signature.outputs[0]
    moves = plan_moves(unit, before.to_physical(tensors.shape(unit.inputs[0])), before, after)
    tensors.transpositions += sum(move.transposes for move in moves)
    move = moving_function(unit, before, after)
    if constants:  # what moves is embedded, and only the shape that it takes is another tensor's
        return OpLayer(lambda _: move(tf.constant(constants[0])))
    return OpLayer(move) if moves else _unchanged


def _converted(
    unit: Unit, signature: Signature, constants: Mapping[int, np.ndarray], natural: Collection[int], result: Any
) -> Any:
    """What the converter returned, if that is a layer for the unit's only argument; else a layer that calls it."""
    count = len(list(leaves((unit.node.args, dict(unit.node.kwargs)))))
    alone = len(unit.inputs) == 1 == count and not constants
    if isinstance(result, (keras.layers.Layer, Chain)) and alone and loads_by_itself(result):
        return result
    function = bound(unit, result, signature, constants, natural)
    if not unit.inputs or len(constants) == len(unit.inputs):
        return OpLayer(lambda _: single(function()), variables_of(result))
    return OpLayer(lambda *tensors: single(function(*tensors)), variables_of(result))


def name_of(unit: Unit) -> str:
    """What a unit's layer is called, before names are made unique: its module's path, or its scope and operation."""
    operation = operation_name(getattr(unit.node.op, "overloadpacket", unit.node.op)).split(".")[-1].strip("_")
    return unit.node.path or ".".join(filter(None, (unit.scope, operation)))


def name_of_last(unit: Unit) -> str:
    """The same of the layer that gives the unit's outputs."""
    return name_of(unit if unit.behind is None or unit.behind[1].block == 1 else unit.behind[0])


def _name(unit: Unit, layer: Any, names: Names) -> None:
    """Name a layer after the path of its module, or after the scope and the operation."""
    if layer is _unchanged:
        return
    name = name_of(unit)
    main = layer.main if isinstance(layer, Chain) else layer
    layers = layer.layers if isinstance(layer, Chain) else (main,)
    for place, inner in enumerate(layers):
        if inner is not main:
            behind = unit.behind if place > layers.index(main) else None
            inner.name = names.unique(f"{name}_pad" if behind is None else name_of(behind[0]))
    main.name = names.unique(name)


def _unchanged(tensor: Any) -> Any:
    """What a movement, or a joint, becomes when nothing is left of it."""
    return tensor
