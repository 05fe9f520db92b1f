"""Sizes that remember where they come from.

While tracing with a dynamic axis, `x.shape` and `x.size()` give integers of a subclass: PyTorch takes them
wherever it takes an int, and arithmetic on them is recorded like any other call. What Python makes of them
beyond arithmetic (a comparison, `int(h ** 0.5)`) is baked in, and noted.
"""

from __future__ import annotations

import dis
import math
import operator
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

import torch

from nobuco.ir import Value
from nobuco.trace.site import is_library


class Kept(Enum):
    """Which sizes remember where they come from: none, those that `nobuco.shape` is asked for, or all."""

    NONE = "none"
    ASKED = "asked"
    ALL = "all"


class Recorder(Protocol):
    """What a traced number needs of the tracer."""

    def record_number(self, op: Callable[..., Any], args: tuple[Any, ...], number: int | float) -> Value:
        """Record `op(*args)`, which gave `number`."""

    def note_baked_size(self, value: Value, what: str, chooses: bool = False) -> None:
        """Note that Python has looked at a size."""


def size_of(x: torch.Tensor, dim: int) -> int:
    """The operation that a traced size starts with: the size of dimension `dim`."""
    return x.shape[dim]


def traced_number(number: int | float, value: Value, recorder: Recorder) -> Any:
    """A number that remembers its value in the graph."""
    kind = TracedFloat if isinstance(number, float) else TracedInt
    traced = kind(number)
    traced.value, traced.recorder = value, recorder
    return traced


class TracedInt(int):
    """An integer that depends on a dynamic axis."""

    value: Value
    recorder: Recorder

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __copy__(self) -> TracedInt:
        return self

    def __deepcopy__(self, memo: Any) -> TracedInt:
        return self


class TracedFloat(float):
    """A float computed from a dynamic axis."""

    value: Value
    recorder: Recorder

    def __hash__(self) -> int:
        return float.__hash__(self)


def plain(number: Any) -> Any:
    """The number without its memory."""
    if isinstance(number, TracedInt):
        return int.__int__(number)
    return float.__float__(number) if isinstance(number, TracedFloat) else number


def _arithmetic(op: Callable[..., Any], swapped: bool) -> Callable[..., Any]:
    def method(self: Any, *others: Any) -> Any:
        if any(not isinstance(o, (int, float)) or isinstance(o, bool) for o in others):
            return NotImplemented
        args = (self, *others) if not swapped else (*others, self)
        number = op(*map(plain, args))
        return traced_number(number, self.recorder.record_number(op, args, number), self.recorder)

    return method


def _divided(self: Any, other: Any) -> Any:
    return self // other, self % other


def _divided_by(self: Any, other: Any) -> Any:
    return other // self, other % self


def _comparison(op: Callable[..., Any], base: type) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        for number in (self, other):
            _note_if_user(number, f"the comparison {op.__name__}")
        return getattr(base, f"__{op.__name__}__")(plain(self), plain(other))

    return method


def _look(name: str, base: type) -> Callable[..., Any]:
    def method(self: Any) -> Any:
        _note_if_user(self, f"{name.strip('_')}()")
        return getattr(base, name)(plain(self))

    return method


def _note_if_user(number: Any, what: str) -> None:
    """Note a baked size unless it is PyTorch itself that looks (argument checks do so all the time)."""
    frame = sys._getframe(2)
    if not isinstance(number, (TracedInt, TracedFloat)) or is_library(frame.f_code.co_filename):
        return
    # A comparison where a line of Python calls something is one that a function in C makes.
    chooses = what.startswith("the comparison") and "CALL" in dis.opname[frame.f_code.co_code[frame.f_lasti]]
    number.recorder.note_baked_size(number.value, "a choice (max, min, sorted)" if chooses else what, chooses)


_BINARY: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "mod": operator.mod, "truediv": operator.truediv, "pow": operator.pow,
}  # fmt: skip
_UNARY: dict[str, Callable[..., Any]] = {
    "neg": operator.neg,
    "ceil": math.ceil,
    "floor": math.floor,
    "trunc": math.trunc,
    "round": round,
    "abs": abs,
}

for _kind, _base in ((TracedInt, int), (TracedFloat, float)):
    for _name, _op in _BINARY.items():
        setattr(_kind, f"__{_name}__", _arithmetic(_op, swapped=False))
        setattr(_kind, f"__r{_name}__", _arithmetic(_op, swapped=True))
    for _name, _op in _UNARY.items():
        setattr(_kind, f"__{_name}__", _arithmetic(_op, swapped=False))
    for _op in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        setattr(_kind, f"__{_op.__name__}__", _comparison(_op, _base))
    for _name in ("__bool__", "__int__", "__float__"):
        if (_base, _name) not in ((int, "__int__"), (float, "__float__")):
            setattr(_kind, _name, _look(_name, _base))
    for _name, _method in (("__divmod__", _divided), ("__rdivmod__", _divided_by)):
        setattr(_kind, _name, _method)
