"""Letting go of large tensors, while tracing, that nothing but the trace holds.

The trace knows tensors by their identity, so it must hold each as long as the program can come back to it. That it
cannot is seen from the counts of references: none to the tensors of a memory but the trace's own. What such a tensor
was is computed again where it is asked for (`ir.Samples`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from nobuco.ir import Value, ValueKind, leaves
from nobuco.trace.memory import Memory, Slot, storage

# Bytes of a memory for which it is worth to compute a tensor again.
LARGE = 1 << 18
# Bytes that are made between one look and the next.
_BETWEEN = 1 << 26


class Idle:
    """The values of a memory that a call can give again. Where `keeps_all`, none are let go of."""

    def __init__(self, memory: Memory, keeps_all: bool) -> None:
        self.keeps_all = keeps_all
        self._memory = memory
        self._repeatable: set[int] = set()
        self._memories: set[int] = set()
        self._made = 0
        self._busy = False
        # What Python counts of a tensor in a slot: some PyTorchs add one where a view of it is left.
        slot = Slot(torch.empty(1), Value(0, ValueKind.RESULT, (1,), "float32"))
        self._alone = _references(slot)
        view = slot.tensor.view(1)
        self._viewed = _references(slot)
        del view

    def note(self, value: Value, tensor: torch.Tensor) -> None:
        """Note that a call has made a tensor and would make it again."""
        size = _bytes_around(tensor)
        if size >= LARGE and not self.keeps_all:
            self._repeatable.add(value.id)
            self._memories.add(storage(tensor))
            self._made += size

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """In this block nothing is let go of: what was there before a write is still needed."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def let_go_now_and_then(self) -> None:
        """Let go of what is idle if much has been made since the last time."""
        if self._made >= _BETWEEN:
            self.let_go()

    def let_go(self) -> None:
        """Let go of what is idle now."""
        if not self.keeps_all and not self._busy:
            with torch._C.DisableTorchFunction():
                self._let_go()

    def _let_go(self) -> None:
        samples = self._memory.samples
        for id in list(self._repeatable):
            slot = self._memory.find(samples[id])
            if slot is None or slot.value.id != id:  # a copy of what was there before a write
                self._forget(id)
        for number in list(self._memories):
            slots = self._memory.in_storage(number)
            if all(map(self._is_repeatable, slots)) and not self._is_used(slots):
                for slot in slots:
                    if samples.get(slot.value.id) is slot.tensor:  # another tensor may have the value, too
                        self._forget(slot.value.id)
                self._memory.forget(number)
                self._memories.discard(number)
        self._made = 0

    def _is_repeatable(self, slot: Slot) -> bool:
        """Whether the trace can do without what a tensor holds; of a value that several have, one may be gone."""
        return slot.stale or slot.value.id in self._repeatable or slot.value.id not in self._memory.samples

    def _forget(self, id: int) -> None:
        self._repeatable.discard(id)
        self._memory.samples.pop(id, None)

    def _is_used(self, slots: Sequence[Slot]) -> bool:
        """Whether anything but the trace holds one of these tensors, all that it knows of one memory."""
        views = Counter(id(slot.tensor._base) for slot in slots if slot.tensor._base is not None)
        return self._is_held_in_python(slots, views) or _is_held_in_c([slot.tensor for slot in slots])

    def _is_held_in_python(self, slots: Sequence[Slot], views: Mapping[int, int]) -> bool:
        calls = {id(slot.view.args): (slot.view.args, slot.view.kwargs) for slot in slots if slot.view is not None}
        own = Counter(id(leaf) for call in calls.values() for leaf in leaves(call))
        for slot in slots:
            own[id(slot.tensor)] += self._memory.samples.get(slot.value.id) is slot.tensor
        return any(
            _references(slot) != own[id(slot.tensor)] + (self._viewed if id(slot.tensor) in views else self._alone)
            for slot in slots
        )


def _references(slot: Slot) -> int:
    return sys.getrefcount(slot.tensor)


def _is_held_in_c(tensors: Sequence[Any]) -> bool:
    """Whether more holds these tensors or their memory than their Python objects, and views among them their bases.

    Autograd does, and TorchScript. The base of a view may be no tensor that the trace has met: one inside of a call.
    """
    bases = [tensor._base for tensor in tensors]
    views = Counter(id(base) for base in bases if base is not None)
    every = {id(tensor): tensor for tensor in (*tensors, *bases) if tensor is not None}.values()
    memory = tensors[0].untyped_storage()  # a reference of its own
    uses = torch._C._storage_Use_Count(memory._cdata)
    return uses != len(every) + 1 or any(tensor._use_count() != 1 + views[id(tensor)] for tensor in every)


def _bytes_around(tensor: torch.Tensor) -> int:
    """The size of the memory that a tensor keeps alive; nothing where it is no plain tensor."""
    if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or tensor.is_meta:
        return 0
    return tensor.untyped_storage().nbytes()
