"""Writes in place: which tensors a call wrote, and what becomes of all others that share their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nobuco.ir import tensors
from nobuco.trace.calls import name_of
from nobuco.trace.memory import Memory, Slot, View, same_place, storage
from nobuco.trace.session import Session
from nobuco.trace.sizes import SizeTracing
from nobuco.trace.views import aliasing, counted, overlaps, places_of, rewriting


def written_slots(
    memory: Memory, func: Any, inputs: Sequence[torch.Tensor], writes: Sequence[torch.Tensor]
) -> list[Slot]:
    """Which of a call's tensors it wrote: per written memory its very elements, else the first in order."""
    slots: dict[int, Slot] = {}
    for target in writes:
        there = [t for t in inputs if storage(t) == storage(target)]
        exact = [t for t in there if same_place(t, target)]
        chosen = there if name_of(func) == "__setitem__" else exact or there
        slot = memory.find(chosen[0]) if chosen else None
        if slot is not None:
            slots[id(slot)] = slot
    return list(slots.values())


def view_by(memory: Memory, tensor: torch.Tensor, func: Any, call: Any, position: int) -> View | None:
    """The view that a call, `(args, kwargs)`, has taken by giving this tensor; None where it is no view."""
    for base in tensors(call):
        if base is not tensor and storage(base) == storage(tensor):
            slot = memory.find(base)
            return View(slot, func, call[0], call[1], position) if slot else None
    return None


def propagate_write(session: Session, slot: Slot) -> None:
    """After a write to `slot`: rewrite the bases that it is a view of, and mark all other views stale."""
    memory = session.memory
    fresh = {id(slot)}
    current = slot
    _adopt(memory, current)
    while current.view is not None:
        current = _rewritten_base(session, current, current.view)
        fresh.add(id(current))
        _adopt(memory, current)
    for other in memory.sharing(slot.tensor):
        if id(other) not in fresh:
            other.stale = other.view is not None


def write_places(session: Session, tensor: torch.Tensor, key: Any, value: Any) -> bool:
    """`tensor[key] = value` where elements share places: written to the tensor that has each place once.

    Gives whether there is one that the trace knows.
    """
    slot, views = session.tensors.slot_of(tensor), list[View]()
    while slot.view is not None and overlaps(slot.tensor):
        views.insert(0, slot.view)
        slot = slot.view.base
    if overlaps(slot.tensor):
        return False
    numbers = places_of(views) if session.sizes is SizeTracing.OFF else None
    base = slot.tensor
    with session.mode:
        places = (counted(views, base) if numbers is None else numbers)[key]
        new = torch.as_tensor(value, dtype=base.dtype)
        new = torch.reshape(new, new.shape[max(new.dim() - places.dim(), 0) :])
        written = torch.index_put(torch.reshape(base, (-1,)), (places,), new)
        base.copy_(torch.reshape(written, base.shape))
    return True


def _rewritten_base(session: Session, written: Slot, view: View) -> Slot:
    """Give the base of a view that was written its new value, made by plain calls; gives the base."""
    memory, views = session.memory, [view]
    while overlaps(views[0].base.tensor) and views[0].base.view is not None:
        views.insert(0, views[0].base.view)
    base = views[0].base
    rewrite = rewriting(views, written.tensor, session.sizes is not SizeTracing.OFF)
    before = memory.samples[base.value.id]
    memory.hold(before, base.value)
    with session.mode:
        rewritten = rewrite(before, written.tensor)
    base.value, base.stale = session.tensors.value_of(rewritten), False
    memory.samples[base.value.id] = base.tensor
    return base


def _adopt(memory: Memory, root: Slot) -> None:
    """Find the views among tensors that share the memory of `root` by other ways than a call that was seen."""
    if root.view is not None:
        return
    loose = [slot for slot in memory.sharing(root.tensor) if slot.view is None and slot is not root]
    for other in sorted(loose, key=lambda slot: -slot.tensor.numel()):
        for base, tensor in ((other, root), (root, other)):
            args = aliasing(base.tensor, tensor.tensor)
            if args is not None and tensor.view is None and base.view is None:
                tensor.view = View(base, torch.as_strided, args, {}, 0)
                break
