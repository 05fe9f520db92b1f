"""Sizes that remember where they come from.

While tracing with a dynamic axis, `x.shape` and `x.size()` give integers of a subclass: PyTorch takes them
wherever it takes an int, and arithmetic on them is recorded like any other call. Where Python decides by one (a
comparison, its truth, `float(h)`), the decision is recorded as a guard. A function in C that reads the number itself
(`range(h)`, `math.log(h)`, an index of a list) shows nothing: `reruns` notices what comes of that.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

import torch

from nobuco.ir import Value
from nobuco.trace.site import is_library


class SizeTracing(Enum):
    """Which sizes remember where they come from: none, those that `nobuco.shape` is asked for, or all."""

    OFF = "off"
    EXPLICIT = "explicit"
    ALL = "all"


class Recorder(Protocol):
    """What a traced number needs of the tracer."""

    def record_number(self, op: Callable[..., Any], args: tuple[Any, ...], number: int | float) -> Value:
        """Record `op(*args)`, which gave `number`."""

    def note_guard(self, value: Value, how: str, other: Any, outcome: Any) -> Any:
        """Note that Python decides by a size, `how` it looks at it, and what comes of it; gives what it is to see."""


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

    def __copy__(self) -> TracedInt:
        return self

    def __deepcopy__(self, memo: Any) -> TracedInt:
        return self


class TracedFloat(float):
    """A float computed from a dynamic axis."""

    value: Value
    recorder: Recorder


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


def _powered(self: Any, exponent: Any, modulus: Any = None) -> Any:
    return self**exponent % modulus if modulus is not None else _PLAIN_POWER(self, exponent)


_PLAIN_POWER = _arithmetic(operator.pow, swapped=False)


def _divided(self: Any, other: Any) -> Any:
    return self // other, self % other


def _divided_by(self: Any, other: Any) -> Any:
    return other // self, other % self


def _masked(self: Any, mask: Any) -> Any:
    """`n & 1` and the like, as the remainders that they are."""
    if type(mask) is int and mask > 0 and mask & (mask + 1) == 0:
        return self % (mask + 1)
    return _note_guard(self, "and", mask, plain(self) & plain(mask))


def _inverted(self: Any) -> Any:
    return -self - 1


def _shifted_left(self: Any, by: Any) -> Any:
    return self * 2**by


def _shifted_right(self: Any, by: Any) -> Any:
    return self // 2**by


def _shifting_left(self: Any, other: Any) -> Any:
    return other * 2**self


def _shifting_right(self: Any, other: Any) -> Any:
    return other // 2**self


def _truncated(self: Any) -> int:
    """What `int(h / 2)` gives, which is a plain number to Python: with a record of what it was made of."""
    outcome = math.trunc(plain(self))
    self.recorder.record_number(math.trunc, (self,), outcome)
    _note_guard(self, "int", None, outcome)
    return outcome


def _made_plain(self: Any) -> int:
    """What `int(n)` gives, a plain number to Python: with a record of it, as what is decided by that does not show."""
    number = plain(self)
    if not is_library(sys._getframe(1).f_code.co_filename):
        self.recorder.record_number(operator.index, (self,), number)
    return int.__int__(number)


def _comparison(op: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return _note_guard(self, op.__name__, other, op(plain(self), plain(other)))

    return method


def _look(name: str, base: type) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        return _note_guard(self, name.strip("_"), None, getattr(base, name)(plain(self), *args))

    return method


def _note_guard(number: Any, how: str, other: Any, outcome: Any) -> Any:
    """Note a decision, unless it is PyTorch itself that looks (argument checks do so all the time)."""
    if is_library(sys._getframe(2).f_code.co_filename):
        return outcome
    return number.recorder.note_guard(number.value, how, other, outcome)


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
_WHOLE: dict[str, Callable[..., Any]] = {"or": operator.or_, "xor": operator.xor}

# What gives Python something other than a number that remembers where it comes from. `int(n)` and `hash(n)` of a
# `TracedInt` are such, too; `__repr__` and `__str__` are those of errors and logs.
_LOOKS = {int: ("__bool__", "__float__", "__hash__"), float: ("__bool__", "__hash__")}

NEGATED: Mapping[Callable[..., Any], Callable[..., Any]] = MappingProxyType(
    {
        operator.eq: operator.ne, operator.ne: operator.eq, operator.lt: operator.ge, operator.ge: operator.lt,
        operator.gt: operator.le, operator.le: operator.gt,
    }
)  # fmt: skip
COMPARISONS = MappingProxyType({op.__name__: op for op in NEGATED})

for _kind, _base in ((TracedInt, int), (TracedFloat, float)):
    for _name, _op in _BINARY.items():
        setattr(_kind, f"__{_name}__", _arithmetic(_op, swapped=False))
        setattr(_kind, f"__r{_name}__", _arithmetic(_op, swapped=True))
    for _name, _op in _UNARY.items():
        setattr(_kind, f"__{_name}__", _arithmetic(_op, swapped=False))
    for _op in NEGATED:
        setattr(_kind, f"__{_op.__name__}__", _comparison(_op))
    for _name in _LOOKS[_base]:
        setattr(_kind, _name, _look(_name, _base))
    for _name, _method in (("__divmod__", _divided), ("__rdivmod__", _divided_by)):
        setattr(_kind, _name, _method)
for _name, _op in _WHOLE.items():
    setattr(TracedInt, f"__{_name}__", _arithmetic(_op, swapped=False))
    setattr(TracedInt, f"__r{_name}__", _arithmetic(_op, swapped=True))
_ALONE: dict[str, Callable[..., Any]] = {
    "__and__": _masked, "__rand__": _masked, "__invert__": _inverted, "__lshift__": _shifted_left,
    "__rshift__": _shifted_right, "__pow__": _powered, "__rlshift__": _shifting_left, "__rrshift__": _shifting_right,
    "bit_length": _arithmetic(int.bit_length, swapped=False), "__int__": _made_plain,
}  # fmt: skip
for _name, _method in _ALONE.items():
    setattr(TracedInt, _name, _method)
setattr(TracedFloat, "__int__", _truncated)  # noqa: B010
