"""What a program may change while it runs, to be put back: so that a call can be run again another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nobuco.ir import Value
from nobuco.trace.held import copied, items_on, put_back, shelves
from nobuco.trace.memory import Memory, Slot
from nobuco.trace.randomness import Randomness

# A container, by its number, and the key or the number in it.
Place = tuple[int, Any]


@dataclass(frozen=True)
class State:
    """A moment of a trace: the value of each live tensor, the random generators, and what modules hold.

    `attributes` are the containers that this is in, each with a copy.
    """

    slots: tuple[tuple[Slot, Value, bool], ...]
    random: Randomness
    attributes: tuple[tuple[Any, Any], ...]

    @classmethod
    def of(cls, memory: Memory, root: Any = None) -> State:
        """The state now; `root` is the module whose attributes count (and those of all below it)."""
        return cls._of(memory, [shelf for module in _modules(root) for shelf in shelves(module)])

    @classmethod
    def _of(cls, memory: Memory, containers: Sequence[Any]) -> State:
        return cls(
            tuple((slot, slot.value, slot.stale) for slot in memory.slots.values()),
            Randomness.now(memory.generators),
            tuple((shelf, copied(shelf)) for shelf in containers),
        )

    def later(self, memory: Memory) -> State:
        """The state now, of the same containers."""
        return self._of(memory, [shelf for shelf, _ in self.attributes])

    def restore(self, memory: Memory) -> None:
        """Make the program's memory what it was. Values made since keep their samples."""
        self.random.restore()
        for shelf, kept in self.attributes:
            put_back(shelf, kept)
        for slot, value, _ in self.slots:
            if slot.value is not value and slot.view is None:
                _write(memory, slot, memory.samples[value.id])
        self.restore_values()

    def assigned(self) -> dict[Place, torch.Tensor]:
        """The tensors that containers hold now and did not then, by place."""
        return {
            (i, key): item
            for i, (shelf, kept) in enumerate(self.attributes)
            for key, item in items_on(shelf)
            if isinstance(item, torch.Tensor) and dict(items_on(kept)).get(key) is not item
        }

    def held(self, place: Place) -> tuple[Any, Any]:
        """What there was in a place, and the value that it had if it is a tensor."""
        item = dict(items_on(self.attributes[place[0]][1])).get(place[1])
        return item, next((value for slot, value, _ in self.slots if slot.tensor is item), item)

    def restore_values(self) -> None:
        """Let each tensor have the value that it had, whatever its elements are."""
        for slot, value, stale in self.slots:
            slot.value, slot.stale = value, stale

    def changed(self, *others: State) -> list[int]:
        """Which of the tensors that own their memory have another value in one of these later states."""
        return [
            i
            for i, (slot, value, _) in enumerate(self.slots)
            if slot.view is None and any(other.slots[i][1] is not value for other in others)
        ]

    def set_value(self, memory: Memory, position: int, value: Value) -> None:
        """Give a tensor a new value; all views of it are to be taken again."""
        slot = self.slots[position][0]
        slot.value, memory.samples[value.id] = value, slot.tensor
        for other in memory.sharing(slot.tensor):
            other.stale = other.view is not None


def _write(memory: Memory, slot: Slot, sample: torch.Tensor) -> None:
    """Overwrite a tensor, keeping a copy of what it held for all values that are these elements."""
    if sample is slot.tensor:
        return
    memory.about_to_write(slot.tensor)
    memory.take_writes()
    with torch._C.DisableTorchFunction():
        slot.tensor.copy_(sample)
    memory.take_writes()


def _modules(root: Any) -> list[nn.Module]:
    return list(root.modules()) if isinstance(root, nn.Module) else []
