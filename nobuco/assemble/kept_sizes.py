"""Dynamic sizes that a converter takes for numbers: the converted model keeps what they were, and that is told.

A size reaches a converter as a number while the model is built, and its callable as a tensor when the model runs.
Whoever needs a number all the same (the stride of TensorFlow's convolutions, a condition in Python) either raises, or
makes no use of the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from nobuco.ir import Condition, Graph, Site, Value, ValueKind, map_leaves
from nobuco.layout.strategy import Signature
from nobuco.registry import operation_name
from nobuco.select import Unit
from nobuco.trace.sizes.formulas import exact


@dataclass(frozen=True)
class KeptSize:
    """A size that is a number in the model, and the call that it is an argument of.

    `certainly`: the call is known to need it; else its converter has made nothing of it, and may well be right to.
    """

    size: Value
    name: str
    site: Site
    certainly: bool

    @classmethod
    def of(cls, unit: Unit, sizes: Sequence[Value], certainly: bool) -> list[KeptSize]:
        """Those of a unit."""
        name = operation_name(unit.node.op)
        return [cls(size, name, unit.node.site, certainly) for size in dict.fromkeys(sizes)]


def dynamic_sizes(unit: Unit, graph: Graph) -> list[Value]:
    """The sizes among a unit's arguments that are not the same in every call."""
    return [v for v in unit.inputs if v.kind is ValueKind.SIZE and v.id in graph.dynamic]


def with_numbers(unit: Unit, signature: Signature, sizes: Sequence[Value], graph: Graph) -> tuple[Unit, Signature]:
    """A unit, and the orders that it runs in, with numbers in place of these sizes."""
    kept = {size.id: graph.samples[size.id] for size in sizes}

    def number(leaf: Any) -> Any:
        return kept.get(leaf.id, leaf) if isinstance(leaf, Value) else leaf

    args, kwargs = map_leaves(number, (unit.node.args, dict(unit.node.kwargs)))
    left = [i for i, value in enumerate(unit.inputs) if value.id not in kept]
    node = replace(unit.node, args=args, kwargs=kwargs)
    inputs = tuple(unit.inputs[i] for i in left)
    orders = tuple(signature.inputs[i] for i in left if i < len(signature.inputs))
    return replace(unit, node=node, inputs=inputs), replace(signature, inputs=orders)


def without_use(layer: Any, live: Sequence[Value], tensors: Sequence[Any], sizes: Sequence[Value]) -> list[Value]:
    """Those of these sizes that a layer, which is called with the `live` values, makes nothing of."""
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
    body = tf.function(lambda *inputs: layer(*inputs)).get_concrete_function(*specs)
    used = {value.id for value, tensor in zip(live, body.inputs) if tensor.consumers()}
    return [size for size in sizes if size.id not in used]


def telling(graph: Graph, kept: Sequence[KeptSize], is_tried: bool) -> Graph:
    """The graph with a condition for each size that the model keeps.

    Where the model is right at other sizes, too, those that are not certain are refuted; where it is not tried there
    (not `is_tried`, or no such trial), they are told, and no call is refused for them.
    """
    telling_of = {item: _trials_with_another(graph, item.size) for item in kept}
    conditions = [
        (_condition(graph, item, item.certainly or (is_tried and bool(telling_of[item]))), item) for item in kept
    ]
    by_message = {condition.message: (condition, item) for condition, item in conditions}
    evidence: Mapping[str, Any] = {
        message: () if item.certainly else telling_of[item] for message, (_, item) in by_message.items()
    }
    return replace(
        graph,
        conditions=(*graph.conditions, *(condition for condition, _ in by_message.values())),
        warnings=(*graph.warnings, *by_message),
        evidence={**graph.evidence, **evidence},
    )


def _trials_with_another(graph: Graph, size: Value) -> tuple[Any, ...]:
    """The trials at other sizes in which a size is not the example's, as far as that is known."""
    same = [
        [tuple(run.get(value.id, value.shape)) for value in graph.inputs]
        for run in graph.runs
        if run.get(size.id) == graph.samples[size.id]
    ]
    shapes = [(trial, [tuple(tensor.shape) for tensor in trial.inputs[0]]) for trial in graph.trials]
    mine = [tuple(value.shape) for value in graph.inputs]
    return tuple(trial for trial, found in shapes if found not in (mine, *same))


def _condition(graph: Graph, kept: KeptSize, is_known: bool) -> Condition:
    number, text = exact(graph.samples[kept.size.id]), graph.size_texts.get(kept.size.id)
    region = f"{text} == {number}" if text else "sizes are as in the example"
    message = (
        f"{kept.site}: {kept.name} is converted with a number in place of {text or 'a size'}, which is dynamic; the "
        f"converted model keeps {number}, so it is right where {region}"
    )
    return Condition(region, message, is_exact=is_known and bool(text))
