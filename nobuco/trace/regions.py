"""Regions, the bodies of control-flow calls: what they read from outside becomes an argument of the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from nobuco.errors import ConversionError
from nobuco.ir import Graph, Node, Value, ValueKind, map_leaves, values


def closed(nodes: Sequence[Node], states: Iterable[Value] = ()) -> tuple[Node, ...]:
    """The nodes with every region's outer values among the arguments of its call.

    Parameters and buffers are not: a region holds them as weights of its own layers, as any graph does. But
    `states`, the buffers that a call of the model changes, are no constants.
    """
    changing = frozenset(v.id for v in states)
    return tuple(_closed(node, changing) for node in nodes)


def _closed(node: Node, states: frozenset[int]) -> Node:
    children = tuple(_closed(child, states) for child in node.children)
    if not node.regions:
        return replace(node, children=children) if children else node
    explicit, before = node.args[:-1], node.args[-1]
    own = [region.inputs[: len(region.inputs) - len(before)] for region in node.regions]
    bodies = [tuple(_closed(inner, states) for inner in region.nodes) for region in node.regions]
    read: dict[int, Value] = {}
    for inputs, nodes, region in zip(own, bodies, node.regions):
        calls = _outside_regions(nodes)
        made = {v.id for v in (*inputs, *(v for n in calls for v in n.results))}
        inner_inputs = (v for n in calls for v in n.inputs)
        for v in (*inner_inputs, *values(region.outputs)):
            if v.id not in made and (v.id in states or not v.kind.is_constant):
                read[v.id] = v
    captured = tuple(read.values()) or values(explicit)[:1]  # a Keras model needs at least one input
    return replace(
        node,
        args=(*explicit, captured),
        regions=tuple(
            replace(region, nodes=nodes, inputs=(*inputs, *captured))
            for region, nodes, inputs in zip(node.regions, bodies, own)
        ),
    )


def every_node(nodes: Sequence[Node]) -> list[Node]:
    """All nodes of a tree with those in regions, outermost first."""
    return [inner for node in nodes for inner in node.walk()]


def _outside_regions(nodes: Sequence[Node]) -> list[Node]:
    return [inner for node in nodes for inner in (node, *_outside_regions(node.children))]


def mapped(
    nodes: Sequence[Node], fn: Callable[[Any], Any], drop: Callable[[Node], bool] = lambda node: False
) -> tuple[Node, ...]:
    """The nodes, without those to `drop`, with `fn` applied to each leaf of arguments and outputs, in regions too."""

    def body(region: Graph) -> Graph:
        return replace(region, nodes=mapped(region.nodes, fn, drop), outputs=map_leaves(fn, region.outputs))

    return tuple(
        replace(
            node,
            args=map_leaves(fn, node.args),
            kwargs=map_leaves(fn, dict(node.kwargs)),
            outputs=map_leaves(fn, node.outputs),
            children=mapped(node.children, fn, drop),
            regions=tuple(body(region) for region in node.regions),
        )
        for node in nodes
        if not drop(node)
    )


def refuse_leaks(nodes: Sequence[Node], results: Sequence[Value]) -> None:
    """Check that what a region makes stays in it.

    Raises:
        ConversionError: a tensor made in a branch or a loop is read outside although it is not returned.
    """
    made_in: dict[int, Node] = {}
    for node in every_node(nodes):
        for region in node.regions:
            for inner in every_node(region.nodes):
                made_in.update((v.id, node) for v in inner.results if v.kind is ValueKind.RESULT)
    outer = (v for n in _outside_regions(nodes) for v in n.inputs) if made_in else ()
    for v in (*outer, *results):
        if v.id in made_in:
            raise ConversionError(
                f"{made_in[v.id].site}: a tensor made in one side of a branch, or in the body of a loop, is used "
                "outside of it although it is not returned (it was kept in an attribute, perhaps); return it"
            )
