"""Models of any depth, although Keras walks their graphs by recursion.

To make a model, and to load one, Keras goes from the outputs up to the inputs, a Python call within the other per
layer, and so fails at a thousand layers in a row. It does not go again where it has been; so a layer in front of
the output that also takes tensors from further up, the furthest one first, lets it come up in short stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nobuco.assemble.names import Names
from nobuco.layers import Waypoints

# Python allows 1000 calls within each other; the caller of Keras has made some of them already.
STAGE = 400


def in_stages(tensor: Any, outputs: Sequence[Any], names: Names) -> Any:
    """The tensor, behind a layer that lets Keras walk up to the inputs in stages if the outputs are far from them.

    Args:
        tensor: the output that Keras starts from.
        outputs: all outputs.
        names: the names of the model's layers.
    """
    passed = _waypoints(outputs)
    return Waypoints(name=names.unique("waypoints"))(*passed, tensor) if passed else tensor


def _waypoints(outputs: Sequence[Any]) -> list[Any]:
    """Tensors, those nearest to the inputs first, between which no way is longer than a stage."""
    waypoints: list[Any] = []
    reach: dict[Any, int] = {}
    for node in _in_order(outputs):
        reach[node] = 1 + max((reach[before] for before in node.parent_nodes), default=0)
        if reach[node] == STAGE:
            waypoints.append(node.outputs[0])
            reach[node] = 0
    return waypoints


def _in_order(outputs: Sequence[Any]) -> Iterator[Any]:
    """The nodes of a Keras graph, each behind those that it reads."""
    seen, waiting = set(), [(_node(tensor), False) for tensor in reversed(outputs)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting += [(before, False) for before in reversed(node.parent_nodes)]


def _node(tensor: Any) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]
