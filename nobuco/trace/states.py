"""Which of the tensors that modules hold a call changes, and which of these a converted model can keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.ir import Graph, Node, Site, Value, values
from nobuco.trace.held import Held
from nobuco.trace.site import definition_site


@dataclass(frozen=True)
class Changed:
    """A held tensor that a call changed: its value before and after; `lost` says why it cannot be kept."""

    name: str
    after: Value
    before: Value | None = None
    lost: str = ""


def changed_tensors(
    held: Mapping[str, Held],
    held_after: Mapping[str, Held],
    is_written: Callable[[torch.Tensor], bool],
    first: Callable[[torch.Tensor], Value],
    now: Callable[[torch.Tensor], Value],
) -> list[Changed]:
    """What has become of the tensors that were held before the call, in order, each once.

    Args:
        held: the tensors held before the call, by name.
        held_after: those held after it.
        is_written: whether the call wrote to a tensor's memory.
        first: the value that a tensor had before the call.
        now: the value that it has now.
    """
    found: dict[int, Changed] = {}
    for name, after in held_after.items():
        before = held[name].tensor if name in held else None
        if before is not None and (id(before) in found or (before is after.tensor and not is_written(before))):
            continue
        if before is None:
            found[id(after.tensor)] = Changed(name, now(after.tensor), None, "nothing before the call")
            continue
        old, new = first(before), now(after.tensor)
        if old is new:
            continue
        same = (old.shape, old.dtype) == (new.shape, new.dtype)
        was = f"{old.dtype}{list(old.shape)} before the call and {new.dtype}{list(new.shape)} after it"
        found[id(before)] = Changed(name, new, old, "" if same else was)
    return list(found.values())


def observed(changes: Sequence[Changed], nodes: Sequence[Node], outputs: Any) -> set[int]:
    """The ids of the values that something reads: a call, the caller, or the state of the next call."""
    read = {v.id for top in nodes for node in top.walk() for v in node.inputs} | {v.id for v in values(outputs)}
    for _ in changes:
        read |= {c.after.id for c in changes if c.before is not None and c.before.id in read}
    return read


def changed_numbers(
    before: Mapping[str, tuple[int | float, nn.Module]], after: Mapping[str, tuple[int | float, nn.Module]]
) -> list[str]:
    """A message for each Python number that a module counts with: no model can keep that."""
    return [
        f"{definition_site(type(module)) or type(module).__name__}: the call changes the Python number {name!r} from "
        f"{before[name][0]} to {number}; the converted model computes as it did while tracing, on every call. "
        "Register a tensor as buffer instead."
        for name, (number, module) in after.items()
        if name in before and before[name][0] != number
    ]


def lost_state(changed: Changed, nodes: tuple[Node, ...]) -> str:
    """The warning for a tensor whose change the model cannot keep, with the line that made it."""
    return (
        f"{_made_at(changed.after, nodes)}: the call changes {changed.name!r}, but the converted model cannot keep it: "
        f"it is {changed.lost}. Each call of the model starts from what was there while tracing. "
        "Register a buffer of a fixed shape to make it state."
    )


def _made_at(value: Value, nodes: tuple[Node, ...]) -> Site | str:
    sites = [n.site for top in nodes for n in top.walk() if value in n.results or value in (w for _, w in n.writes)]
    return sites[-1] if sites else "the model"


def depending(graph: Graph) -> frozenset[int]:
    """The ids of all values that depend on state."""
    found = {before.id for before, _ in graph.states}
    for node in graph.walk():
        if not node.children and any(v.id in found for v in node.inputs):
            found |= {v.id for v in values(node.outputs)}
    return frozenset(found)
