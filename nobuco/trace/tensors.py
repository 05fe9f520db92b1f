"""Which value each tensor has: those that calls have made, and those that the program held before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nobuco.ir import Value, ValueKind, map_leaves, map_tensors
from nobuco.trace.held import Held, held_tensors
from nobuco.trace.memory import Memory, Slot, View, same_place, storage
from nobuco.trace.record import Record
from nobuco.trace.sizes import TracedFloat, TracedInt
from nobuco.trace.views import overlaps


class Tensors:
    """The tensors of a trace. `held` are those that modules hold before the program runs, by name.

    Those that are named in `kept` are live, like an input.
    """

    def __init__(self, record: Record, kept: frozenset[str]) -> None:
        self.memory = Memory()
        self.held = held_tensors(record.root)
        self._record = record
        self._kept = kept
        self._first: dict[int, Value] = {}
        self._named: dict[int, tuple[str, Held]] = {}
        self._aliases: dict[int, list[torch.Tensor]] = {}
        self._homes: dict[int, torch.Tensor] = {}
        for name, held in self.held.items():
            self._named.setdefault(id(held.tensor), (name, held))
            self._aliases.setdefault(storage(held.tensor), []).append(held.tensor)

    # -- asking -----------------------------------------------------------------------------------------

    def read(self, tree: Any) -> Any:
        """An argument tree with each tensor and traced size replaced by the value that it has now."""

        def value(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor):
                return self.value_of(leaf)
            return leaf.value if isinstance(leaf, (TracedInt, TracedFloat)) else leaf

        return map_leaves(value, tree)

    def value_of(self, tensor: torch.Tensor) -> Value:
        """The value that a tensor has now."""
        return self.slot_of(tensor).value

    def slot_of(self, tensor: torch.Tensor) -> Slot:
        """The slot of a tensor, up to date."""
        slot = self.memory.find(tensor)
        if slot is None:
            slot = self._met(tensor)
        self._refresh(slot)
        return slot

    def _met(self, tensor: torch.Tensor) -> Slot:
        """The slot of a tensor that no call has given: one that was held before, or another name of a known one."""
        for held in self._aliases.get(storage(tensor), ()):
            self.first_value(held)
        twins = (
            s for s in self.memory.sharing(tensor) if same_place(s.tensor, tensor) and s.tensor.dtype == tensor.dtype
        )
        twin = None if id(tensor) in self._named else next(twins, None)
        if twin is None:
            self.first_value(tensor)
            return self.memory.slots[id(tensor)]
        self._refresh(twin)
        return self.memory.hold(tensor, twin.value, View(twin, torch.Tensor.detach, (twin.tensor,), {}, 0))

    def first_value(self, tensor: torch.Tensor) -> Value:
        """The value that a tensor which the program did not make had when the trace first met it."""
        if id(tensor) not in self._first:
            name, held = self._named.get(id(tensor), ("", None))
            kind = held.kind if held is not None else ValueKind.CONSTANT
            value = self._first[id(tensor)] = self._record.new_value(tensor, kind, name, live=name in self._kept)
            self.memory.hold(tensor, value)
        return self._first[id(tensor)]

    def is_current(self, tensor: torch.Tensor) -> bool:
        """Whether the value of a tensor is known and nothing has been written since."""
        slot = self.memory.find(tensor)
        return slot is not None and not slot.stale

    def register_held(self) -> None:
        """Give each tensor that modules hold its value now, not first inside a branch."""
        for held in self.held.values():
            self.value_of(held.tensor)

    # -- new tensors --------------------------------------------------------------------------------------

    def add_input(self, tensor: torch.Tensor) -> torch.Tensor:
        """Make an argument an input of the graph; returns the copy that the program shall see."""
        copy = tensor.detach().clone()
        if tensor.requires_grad:
            copy.requires_grad_()
        self.memory.hold(copy, self._record.new_input(copy))
        return copy

    def placeholder(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor that stands for one which a region is given, with the elements of `tensor`."""
        copy = tensor.detach().clone()
        self.memory.hold(copy, self._record.new_value(copy, ValueKind.INPUT, live=True))
        return copy

    def hold(self, tensor: torch.Tensor, live: bool, view: View | None = None) -> Value:
        """The value of what a call has just made of a tensor."""
        return self.memory.hold(tensor, self._record.new_value(tensor, live=live), view).value

    def set_aside(self, tensor: torch.Tensor) -> None:
        """Have another tensor stand for what this one is so far, as it is about to take another form."""
        self.slot_of(tensor)
        self._homes.setdefault(id(tensor), self.memory.set_aside(tensor))

    # -- views --------------------------------------------------------------------------------------------

    def _refresh(self, slot: Slot) -> None:
        """Take a stale view again from its base."""
        view = slot.view
        if not slot.stale or view is None:
            return
        self._refresh(view.base)
        slot.stale = False
        args, kwargs = self.read((view.args, view.kwargs))
        live = self._record.is_live((args, kwargs))
        with torch._C.DisableTorchFunction():
            results = view.function(*view.args, **view.kwargs)

        def taken(tensor: torch.Tensor, position: int) -> Value:
            if position == view.index:
                return self.hold(slot.tensor, live)
            value = self._record.new_value(tensor, live=live)
            self.memory.samples[value.id] = tensor.clone()
            return value

        self._record.add(view.function, args, kwargs, map_tensors(taken, results))

    # -- afterwards ---------------------------------------------------------------------------------------

    def copy_written(self) -> None:
        """Copy what held tensors have been made, as they are about to be put back, and views of them with them."""
        for held in self.held.values():
            if self.memory.is_written(held.tensor):
                self.memory.about_to_write(held.tensor)

    @contextmanager
    def putting_back(self) -> Iterator[None]:
        """Afterwards, the tensors that modules hold are what they were before."""
        try:
            yield
        finally:
            for held in self.held.values():
                if id(held.tensor) in self._homes:
                    held.tensor.data = self._homes[id(held.tensor)]
                first = self._first.get(id(held.tensor))
                if first is None or not self.memory.is_written(held.tensor) or overlaps(held.tensor):
                    continue
                held.tensor.data.copy_(self.memory.samples[first.id])
