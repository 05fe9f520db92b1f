"""Answers about sizes of live tensors: numbers that remember where they come from, with their arithmetic recorded."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from nobuco.ir import Value
from nobuco.trace.calls import name_of
from nobuco.trace.explore import decided
from nobuco.trace.session import Session
from nobuco.trace.sizes.numbers import COMPARISONS, NEGATED, SizeTracing, TracedInt, plain, size_of, traced_number
from nobuco.trace.traceable import asks_for_sizes


class SizeRecorder:
    """What traced numbers report to."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def answer(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Answer a question about a tensor."""
        answer = func(*args, **kwargs)
        if not self._keeps_sizes() or not args or not self._is_live(args[0]):
            return answer
        if isinstance(answer, torch.Size):
            return torch.Size([self._size(args[0], dim, n) for dim, n in enumerate(answer)])
        if name_of(func) in ("size", "sym_size"):
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            return self._size(args[0], dim % args[0].dim(), answer)
        if name_of(func) == "__len__":  # Python wants a plain number; what it was is found later (`lengths`)
            self._size(args[0], 0, answer)
        if name_of(func) in ("numel", "nelement", "sym_numel"):
            return math.prod(self._size(args[0], dim, n) for dim, n in enumerate(args[0].shape))
        return answer

    def note_squeeze(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
        """Note what `squeeze` decides by: which of the dimensions that it is asked about are one element long."""
        if name_of(func) != "squeeze" or not self._keeps_sizes() or not args or not self._is_live(args[0]):
            return
        input, *given = args
        asked = given[0] if given else kwargs.get("dim", tuple(range(input.dim())))
        for dim in (asked,) if isinstance(asked, int) else asked:
            if input.dim():
                size = self._size(input, dim % input.dim(), input.shape[dim])
                self._session.record.note_guard(size.value, "eq", 1, plain(size) == 1)

    def note_pieces(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
        """Note what `chunk` and `split` decide by: how many pieces there are."""
        name = name_of(func)
        if name not in ("chunk", "split") or not self._keeps_sizes() or not args or not self._is_live(args[0]):
            return
        wanted = args[1] if len(args) > 1 else next((v for k, v in kwargs.items() if k != "dim"), None)
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        if isinstance(wanted, int) and wanted > 0:
            size: Any = self._size(args[0], dim % args[0].dim(), args[0].shape[dim])
            length: Any = self._at_least_one(-(-size // wanted)) if name == "chunk" else wanted
            pieces = -(-size // length)
            self.note_guard(pieces.value, "pieces", None, plain(pieces))

    def _at_least_one(self, size: TracedInt) -> TracedInt:
        number = max(plain(size), 1)
        return traced_number(number, self.record_number(max, (size, 1), number), self)

    def record_number(self, op: Callable[..., Any], args: tuple[Any, ...], number: int | float) -> Value:
        """Record arithmetic on sizes."""
        record, tensors = self._session.record, self._session.tensors
        value = record.new_size(number)
        tensors.memory.samples[value.id] = plain(number)
        record.add(op, tensors.read(args), {}, value)
        return value

    def note_guard(self, value: Value, how: str, other: Any, outcome: Any) -> Any:
        """Note that Python decides by a size; gives what it is to see."""
        settled = self._session.record.settled(how) if isinstance(outcome, bool) else None
        if settled is None and isinstance(outcome, bool) and self._session.record.goes_both_ways(how):
            taken = decided(self._session, self._truth(value, how, other, True).value, outcome)
            if taken is not None:
                return taken
        if settled is None:
            self._session.record.note_guard(value, how, self._session.tensors.read(other), outcome)
            return outcome
        self._session.record.note_settled(how, lambda: self._truth(value, how, other, settled))
        return settled

    def _truth(self, value: Value, how: str, other: Any, way: bool) -> TracedInt:
        """1 where a decision goes that way, else 0."""
        op = COMPARISONS.get(how, operator.ne)
        op, args = op if way else NEGATED[op], (value, 0 if how == "bool" else other)
        number = int(op(self._session.memory.samples[value.id], plain(args[1])))
        return traced_number(number, self.record_number(op, args, number), self)

    def gated(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments of a call; of one to `pad` that the program would not make, such that it does nothing."""
        gate = self._session.record.gate() if name_of(func) == "pad" else None
        if gate is None:
            return args, kwargs
        input, pad, *rest = args if len(args) > 1 else (*args, kwargs["pad"])
        return (input, [n * gate for n in pad], *rest), {k: v for k, v in kwargs.items() if k != "pad"}

    def _keeps_sizes(self) -> bool:
        kept = self._session.sizes
        return kept is SizeTracing.ALL or (
            kept is SizeTracing.EXPLICIT and asks_for_sizes(self._session.record.frame.op)
        )

    def _is_live(self, leaf: Any) -> bool:
        slot = self._session.memory.find(leaf) if isinstance(leaf, torch.Tensor) else None
        return slot is not None and self._session.record.is_live(slot.value)

    def _size(self, tensor: torch.Tensor, dim: int, number: int) -> TracedInt:
        return traced_number(number, self.record_number(size_of, (tensor, dim), number), self)
