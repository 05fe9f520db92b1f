"""Running a recorded call again, on what its inputs were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from nobuco.ir import Node, Value, map_leaves, tensors


def run_again(node: Node, samples: Mapping[int, Any]) -> list[torch.Tensor]:
    """The results of a call: what it returned, and what it only wrote. Nothing of the samples is written."""
    written = {before.id for before, _ in node.writes}
    inputs = list({value.id: value for value in node.inputs}.values())
    arguments = [samples[v.id].clone() if v.id in written else samples[v.id] for v in inputs]
    with torch.no_grad():
        return as_function(node, inputs, samples)(*arguments)


def as_function(
    node: Node, inputs: Sequence[Value], samples: Mapping[int, Any], function: Callable[..., Any] | None = None
) -> Callable[..., list[torch.Tensor]]:
    """A call as a function of its tensors, which gives its results; `function` is called in place of its own."""
    before = {after.id: old.id for old, after in node.writes}

    def call(*own: torch.Tensor) -> list[torch.Tensor]:
        by_id = {v.id: tensor for v, tensor in zip(inputs, own)}

        def sample(leaf: Any) -> Any:
            return (by_id[leaf.id] if leaf.id in by_id else samples[leaf.id]) if isinstance(leaf, Value) else leaf

        args, kwargs = map_leaves(sample, (node.args, dict(node.kwargs)))
        with _as_then(node):
            returned = tensors((function or node.op)(*args, **kwargs))
        return [*returned, *(by_id[before[v.id]] for v in node.results[len(returned) :])]

    return call


def _as_then(node: Node) -> Any:
    """The `torch.autocast` that a node was called under."""
    if node.autocast is None:
        return nullcontext()
    return torch.autocast(node.autocast[0], dtype=node.autocast[1], cache_enabled=False)
