"""Which tensor holds which value, and what a write to memory does to it.

A tensor keeps its value until something writes to its memory. A write through a view is a write to its base,
and makes every other view of that base stale; a stale view is taken again when it is next read. Samples are
kept by reference; a value whose memory is about to be overwritten gets a copy of what it held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nobuco.ir import Value, leaves, map_leaves
from nobuco.trace.fused import LSTM_LAYER, lstm_layer
from nobuco.trace.unchecked import refuse_unchecked


@dataclass(frozen=True)
class View:
    """How a tensor was taken from its base: output number `index` of `function(*args, **kwargs)`."""

    base: Slot
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    index: int

    def instead(self, old: torch.Tensor, new: torch.Tensor) -> View:
        """The same view taken of `new` where it was taken of `old`."""
        call = self.args, dict(self.kwargs)
        if not any(leaf is old for leaf in leaves(call)):
            return self
        args, kwargs = map_leaves(lambda leaf: new if leaf is old else leaf, call)
        return replace(self, args=args, kwargs=kwargs)


@dataclass(eq=False)
class Slot:
    """A live tensor, the value that it has now, and the view that it is."""

    tensor: torch.Tensor
    value: Value
    view: View | None = None
    stale: bool = False


@dataclass
class Memory:
    """All live tensors of a trace, by identity and by storage; and the states in which it met generators."""

    slots: dict[int, Slot] = field(default_factory=dict)
    samples: dict[int, torch.Tensor] = field(default_factory=dict)
    written: list[torch.Tensor] = field(default_factory=list)
    generators: dict[torch.Generator, torch.Tensor] = field(default_factory=dict)
    _ever_written: set[int] = field(default_factory=set)
    _by_storage: dict[int, list[Slot]] = field(default_factory=dict)

    def meet(self, generators: Iterable[torch.Generator]) -> None:
        """Note the state of generators that the trace may draw from."""
        for generator in generators:
            if generator not in self.generators:
                self.generators[generator] = generator.get_state()

    @contextmanager
    def putting_generators_back(self) -> Iterator[None]:
        """Afterwards, the generators that the trace has met are as they were when it did."""
        try:
            yield
        finally:
            for generator, state in self.generators.items():
                generator.set_state(state)

    def find(self, tensor: torch.Tensor) -> Slot | None:
        """The slot of a tensor that the trace has met."""
        return self.slots.get(id(tensor))

    def hold(self, tensor: torch.Tensor, value: Value, view: View | None = None) -> Slot:
        """Give a tensor its value; the slot keeps the tensor alive, so that its id stays its own."""
        slot = self.slots.get(id(tensor))
        if slot is None:
            slot = self.slots[id(tensor)] = Slot(tensor, value, view)
            self._by_storage.setdefault(storage(tensor), []).append(slot)
        else:
            slot.value, slot.stale = value, False
        self.samples[value.id] = tensor
        return slot

    def sharing(self, tensor: torch.Tensor) -> list[Slot]:
        """The slots of all tensors that live in the same memory."""
        return self.in_storage(storage(tensor))

    def in_storage(self, number: int) -> list[Slot]:
        """The slots of all tensors in the memory of this identity."""
        return self._by_storage.get(number, [])

    def forget(self, number: int) -> None:
        """Know the tensors in the memory of this identity no more."""
        for slot in self._by_storage.pop(number):
            del self.slots[id(slot.tensor)]
        self._ever_written.discard(number)

    def about_to_write(self, tensor: torch.Tensor) -> None:
        """Copy the samples that a write to this memory would change, and note the write."""
        for slot in self.sharing(tensor):
            if self.samples.get(slot.value.id) is slot.tensor:
                self.samples[slot.value.id] = slot.tensor.clone()
        self.written.append(tensor)
        self._ever_written.add(storage(tensor))

    def mark_written(self, tensor: torch.Tensor) -> None:
        """Note that a tensor is not what it was."""
        self._ever_written.add(storage(tensor))

    def set_aside(self, tensor: torch.Tensor) -> torch.Tensor:
        """Have another tensor stand for what this one is so far; gives that tensor."""
        kept = tensor.detach()
        slot = self.slots[id(tensor)]
        slot.tensor = kept
        self.slots = {id(kept) if s is slot else key: s for key, s in self.slots.items()}  # at its place in the order
        self.samples.update({key: kept for key, sample in self.samples.items() if sample is tensor})
        for other in self.slots.values():
            if other.view is not None:
                other.view = other.view.instead(tensor, kept)
        return kept

    def is_written(self, tensor: torch.Tensor) -> bool:
        """Whether anything has written to a tensor's memory."""
        return storage(tensor) in self._ever_written

    def take_writes(self) -> list[torch.Tensor]:
        """The tensors written since the last call."""
        writes, self.written = self.written, []
        return writes


class Watch(TorchDispatchMode):
    """Sees each ATen call just before it runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Without this, PyTorch imports all of Dynamo (2 s, 70 MB) at the first call."""
        return False


class WriteWatch(Watch):
    """Tells the memory which arguments each call will write.

    An ATen call that arises outside of any Python call (in TorchScript, in a backward pass) is handed to
    `recorder`, the mode that records Python's calls; and so are those that `telling` has asked for.
    """

    def __init__(self, memory: Memory, recorder: TorchFunctionMode) -> None:
        super().__init__()
        self.memory, self.recorder = memory, recorder
        self._calls: list[Any] = []
        self._tells = False

    def take_calls(self) -> list[Any]:
        """The ATen calls since the last time."""
        calls, self._calls = self._calls, []
        return calls

    @contextmanager
    def telling(self, tells: bool = True) -> Iterator[None]:
        """Hand the ATen calls that arise in this block to the recorder, in place of the Python call that it handles."""
        before, self._tells = self._tells, tells
        try:
            yield
        finally:
            self._tells = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._is_torch_function_mode_enabled() or self._tells:
            active = torch._C._is_torch_function_mode_enabled()
            called = lstm_layer if func is LSTM_LAYER else func
            with self.telling(False), self, nullcontext() if active else self.recorder:
                return called(*args, **kwargs)
        self._calls.append(func)
        refuse_unchecked(func, args, kwargs)
        self.memory.meet(item for item in (kwargs.get("generator"),) if item is not None)
        silent = _RUNNING_STATISTICS if func._schema.name in _SILENT_WRITERS and args[5] else ()
        for position, argument in enumerate(func._schema.arguments):
            if (argument.alias_info is not None and argument.alias_info.is_write) or argument.name in silent:
                given = args[position] if position < len(args) else kwargs.get(argument.name)
                for tensor in given if isinstance(given, (list, tuple)) else (given,):
                    if isinstance(tensor, torch.Tensor) and self.memory.sharing(tensor):
                        self.memory.about_to_write(tensor)
        return func(*args, **kwargs)


# Their schemas do not say that in training (argument 5) they update the running statistics.
_SILENT_WRITERS = ("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm")
_RUNNING_STATISTICS = ("running_mean", "running_var")


def storage(tensor: torch.Tensor) -> int:
    """The identity of a tensor's memory."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def same_place(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the very same elements of memory."""
    return (
        storage(a) == storage(b)
        and a.storage_offset() == b.storage_offset()
        and a.shape == b.shape
        and a.stride() == b.stride()
    )
