"""Which of the tensors that modules hold a call changes, and which of these a converted model can keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.ir import Node, Site, Value, values
from nobuco.trace.held import Held, held_numbers, held_tensors
from nobuco.trace.later import LaterCalls
from nobuco.trace.session import Session
from nobuco.trace.site import definition_site


@dataclass(frozen=True)
class Changed:
    """A held tensor that a call changed: its value before and after; `lost` says why it cannot be kept.

    `in_place` is whether it is the same tensor afterwards, rather than another one in its place.
    """

    name: str
    tensor: torch.Tensor
    after: Value
    before: Value | None = None
    lost: str = ""
    in_place: bool = False


_NOTHING = "nothing before the call"


class States:
    """The state of a program, seen from before its call."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._numbers = held_numbers(session.record.root)

    def keep(self, outputs: Any, later: LaterCalls) -> None:
        """Note what the call has left in the tensors that modules hold; to be called when it is over."""
        record, tensors = self._session.record, self._session.tensors
        with torch._C.DisableTorchFunction():
            changes = self._changes(held_tensors(record.root))
            numbers = _changed_numbers(self._numbers, held_numbers(record.root))
        new = {c.name: c for c in changes if c.before is None and record.is_live(c.after)}
        used = self._used_later({name: c.tensor for name, c in new.items()}, later)
        with torch._C.DisableTorchFunction():
            nodes = tuple(record.frame.children)
            read = _observed(changes, nodes, outputs)
            for changed in changes:
                if changed.before is None:
                    continue
                if changed.before.id not in read:
                    record.left.append(changed.before)
                elif changed.lost:
                    record.forget(_lost_state(changed, nodes))
                else:
                    record.states.append((changed.before, changed.after))
            for name in sorted(used):
                record.forget(_lost_state(new[name], nodes))
            for message in numbers:
                record.forget(message)
            tensors.copy_written()

    def _changes(self, after: Mapping[str, Held]) -> list[Changed]:
        """What has become of the tensors that were held before the call, in order, each once; and what is new."""
        tensors, memory = self._session.tensors, self._session.memory
        # What has, or had, a place that was there before is that place's state, whatever else holds it now.
        known = {id(held.tensor) for held in tensors.held.values()}
        known |= {id(held.tensor) for name, held in after.items() if name in tensors.held}
        changes: dict[int, Changed] = {}
        for name, now in after.items():
            before = tensors.held[name].tensor if name in tensors.held else None
            if before is None:
                if id(now.tensor) not in known:
                    changes[id(now.tensor)] = Changed(name, now.tensor, tensors.value_of(now.tensor), None, _NOTHING)
            elif id(before) not in changes and (before is not now.tensor or memory.is_written(before)):
                old, value = tensors.first_value(before), tensors.value_of(now.tensor)
                if old is not value:
                    in_place = before is now.tensor
                    changes[id(before)] = Changed(name, now.tensor, value, old, _difference(old, value), in_place)
        return list(changes.values())

    def _used_later(self, new: Mapping[str, torch.Tensor], later: LaterCalls) -> set[str]:
        """The names of those tensors, new in a module, that matter to a later call."""
        if not new:
            return set()
        with torch._C.DisableTorchFunction():
            self._session.tensors.register_held()  # so that what those calls write is put back, too
        with self._session.muted():
            return later.used(new)


def _difference(old: Value, new: Value) -> str:
    """Why a variable that holds the one cannot hold the other."""
    if (old.shape, old.dtype) == (new.shape, new.dtype):
        return ""
    return f"{old.dtype}{list(old.shape)} before the call and {new.dtype}{list(new.shape)} after it"


def _observed(changes: Sequence[Changed], nodes: Sequence[Node], outputs: Any) -> set[int]:
    """The ids of the values that something reads: a call, one side of a branch, the caller, or the next call's state.

    What nothing reads each call makes anew: a weight that a hook computes, kept features. But what a call writes in
    place is there for another program of the same module to read (one call puts a position back, another goes on).
    """
    every = [node for top in nodes for node in top.walk()]
    read = {v.id for v in values(outputs)} | {v.id for node in every for v in node.inputs}
    read |= {v.id for node in every for region in node.regions for v in values(region.outputs)}
    read |= {c.before.id for c in changes if c.before is not None and c.in_place and not c.lost}
    for _ in changes:
        read |= {c.after.id for c in changes if c.before is not None and c.before.id in read}
    return read


def _changed_numbers(
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


def _lost_state(changed: Changed, nodes: tuple[Node, ...]) -> str:
    """The warning for a tensor whose change the model cannot keep, with the line that made it."""
    return (
        f"{_made_at(changed.after, nodes)}: the call changes {changed.name!r}, but the converted model cannot keep it: "
        f"it is {changed.lost}. Each call of the model starts from what was there while tracing. "
        "Register a buffer of a fixed shape to make it state."
    )


def _made_at(value: Value, nodes: tuple[Node, ...]) -> Site | str:
    sites = [n.site for top in nodes for n in top.walk() if value in n.results or value in (w for _, w in n.writes)]
    return sites[-1] if sites else "the model"
