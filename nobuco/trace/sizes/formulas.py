"""Sizes as formulas of the input's dynamic axes, by which they are known where the program was never run.

A size of a tensor inside the program is known as it was in each run only. Nearly all are `(p * axis + a) // b`: so is
what a convolution or a pooling gives, and a chain of them. A formula that holds in all runs is taken for the size's
own; arithmetic on sizes is followed as it was recorded.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nobuco.ir import Graph, Guard, Node, Value, ValueKind
from nobuco.trace.sizes.numbers import size_of

# Runs that a formula must hold in before it is believed.
_FEWEST_RUNS = 4
_LARGEST_FACTOR = 64
# At how many combinations of sizes a formula is looked at, besides the regular ones.
_DRAWN = 3000
_TOLD = 64  # numbers that sizes are compared with
_LARGEST_SIZE = 1 << 16

_INFIX: dict[Callable[..., Any], str] = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.floordiv: "//", operator.mod: "%",
    operator.truediv: "/", operator.pow: "**", operator.or_: "|", operator.xor: "^",
}  # fmt: skip
_BINDING = {operator.or_: 0, operator.xor: 0, operator.add: 1, operator.sub: 1}
COMPARISONS: dict[str, tuple[str, str]] = {
    "eq": ("==", "!="), "ne": ("!=", "=="), "lt": ("<", ">="), "ge": (">=", "<"), "gt": (">", "<="), "le": ("<=", ">"),
}  # fmt: skip
_ARRAYWISE: dict[Callable[..., Any], Callable[..., Any]] = {
    max: np.maximum, min: np.minimum, math.ceil: np.ceil, math.floor: np.floor, math.trunc: np.trunc, round: np.rint,
    math.sqrt: np.sqrt, math.log: np.log, math.log2: np.log2, abs: np.abs,
    int.bit_length: lambda n: np.ceil(np.log2(np.abs(n) + 1.0)),
}  # fmt: skip

ROUNDS = "rounds"
"""What a `Guard` is about that a loop makes so many rounds at least."""


@dataclass(frozen=True)
class Axis:
    """Dynamic axes of inputs that are as long as each other in every run.

    `places` are their inputs and dimensions, `text` the name of the first; `lengths` those in the example and each run.
    """

    text: str
    places: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Formula:
    """What a size is: in words, and at every combination of lengths of the axes that is looked at."""

    text: str
    numbers: Any
    binding: int = 3

    @property
    def is_constant(self) -> bool:
        """Whether it is the same number everywhere."""
        return bool(np.all(self.numbers == self.numbers.flat[0]))

    def inside(self, binding: int) -> str:
        """The text as an operand of an operator that binds so tightly."""
        return self.text if self.binding > binding else f"({self.text})"


@dataclass
class Formulas:
    """The formulas of a graph's sizes.

    `shapes` tells the shape (or the number) of a value in the example and in each run, None where it was not made.
    `counted` are the ids of those sizes that follow from how many elements values have chosen; `looked_at` has what
    decisions are by, by their ids, where that is not the size which they looked at on the example.
    """

    graph: Graph
    axes: Sequence[Axis]
    shapes: Callable[[Value], Sequence[Any]]
    counted: frozenset[int] = frozenset()
    looked_at: Mapping[int, Formula] = field(default_factory=dict)
    _known: dict[int, Formula | None] = field(default_factory=dict)
    _fitted: dict[tuple[Any, ...], Formula | None] = field(default_factory=dict)

    @cached_property
    def lengths(self) -> list[Any]:
        """For each axis, its length in each combination that is looked at: of runs, small ones, larger ones drawn."""
        random = np.random.default_rng(0)
        told = [guard.other for guard in self.graph.guards if type(guard.other) is int]
        told = [n for number in told for n in (number, number + 1) if 1 <= n <= _LARGEST_SIZE]  # where one turns
        large = np.geomspace(70, _LARGEST_SIZE, 60).astype(int)
        sizes = np.unique(np.r_[0:70, large, 2 ** np.arange(17), told[:_TOLD]]).astype(np.int64)
        mine = np.array([[axis.lengths[0] for axis in self.axes]])
        ran = np.array([axis.lengths for axis in self.axes]).T if self.axes else mine  # first the example
        alone = [np.where(np.arange(len(self.axes)) == i, sizes[:, None], mine) for i in range(len(self.axes))]
        equal = np.repeat(sizes[:, None], len(self.axes), 1)
        drawn = np.exp(random.uniform(0, math.log(_LARGEST_SIZE), (_DRAWN, len(self.axes)))).astype(np.int64)
        return list(np.concatenate([ran, *alone, equal, drawn]).T)

    @cached_property
    def _made(self) -> Mapping[int, Node]:
        leaf_nodes = [node for node in self.graph.walk() if not node.children]
        # The first one: what comes later has returned what it was given.
        return {v.id: node for node in reversed(leaf_nodes) for v in node.results if v.kind is ValueKind.SIZE}

    def of(self, leaf: Any) -> Formula | None:
        """The formula of a size (or a number); None where it is not known."""
        if not isinstance(leaf, Value):
            return Formula(exact(leaf) if isinstance(leaf, float) else str(leaf), np.asarray(leaf)[None])
        if leaf.id not in self._known:
            self._known[leaf.id] = None  # while it is looked for
            self._known[leaf.id] = self._found(leaf)
        return self._known[leaf.id]

    def _found(self, size: Value) -> Formula | None:
        node = self._made.get(size.id)
        if node is None:
            return None
        if node.op is size_of:
            base, dim = node.args
            if base in self.graph.inputs:
                place = (self.graph.inputs.index(base), dim)
                for axis, lengths in zip(self.axes, self.lengths):
                    if place in axis.places:
                        return Formula(axis.text, lengths)
            if size.id in self.counted:
                return self._counted(base, dim)
            shapes = self.shapes(base)
            return self.fitted(
                [shape[dim] if shape is not None and len(shape) == base.rank else None for shape in shapes]
            )
        if node.op is operator.index and type(node.args[0]) is int:  # counted in each run
            return self.fitted(self.shapes(size))
        return _applied(node.op, [self.of(arg) for arg in node.args])

    def _looked_at(self, guard: Guard) -> Formula | None:
        return self.looked_at.get(id(guard)) or self.of(guard.size)

    def made_with(self, size: Value, part: Formula) -> Iterator[Formula]:
        """What would be made instead of a size, were one of those that it is made of another."""
        node = self._made.get(size.id)
        if node is None or node.op is size_of:
            return
        for place, arg in enumerate(node.args):
            if isinstance(arg, Value):
                made = _applied(node.op, [part if i == place else self.of(a) for i, a in enumerate(node.args)])
                if made is not None:
                    yield made

    def applied(self, op: Callable[..., Any], args: Sequence[Formula | None]) -> Formula | None:
        """The formula of an operation on sizes."""
        return _applied(op, args)

    def _counted(self, base: Value, dim: int) -> Formula:
        """The formula of how many elements were chosen: any number, whatever the axes are."""
        many = len(self.lengths[0]) if self.axes else _DRAWN
        drawn = np.random.default_rng(base.id).integers(0, 4 * max(base.shape[dim], 4), many)
        drawn[:3] = base.shape[dim], 0, 1
        return Formula(f"shape[{dim}] of what is chosen", drawn)

    def fitted(self, numbers: Sequence[Any]) -> Formula | None:
        """The formula of what was these numbers in the runs; None in one that did not come so far."""
        key = tuple(numbers)
        if key not in self._fitted:
            self._fitted[key] = self._fit(key)
        return self._fitted[key]

    def _fit(self, numbers: tuple[Any, ...]) -> Formula | None:
        known = [i for i, n in enumerate(numbers) if n is not None]
        seen = [numbers[i] for i in known]
        if len(set(seen)) == 1:
            return self.of(seen[0])
        if len(seen) >= _FEWEST_RUNS and len(set(seen)) == _FEWEST_RUNS - 1:  # too few for any formula but this one
            equal = (i for i, axis in enumerate(self.axes) if [axis.lengths[k] for k in known] == seen)
            return next((Formula(self.axes[i].text, self.lengths[i]) for i in equal), None)
        if len(set(seen)) < min(_FEWEST_RUNS, len(seen)) or any(type(n) is not int for n in seen):
            return None
        step, start = steps(seen)
        for axis, lengths in zip(self.axes, self.lengths):
            fit = linear_fit([axis.lengths[i] for i in known], seen)
            if fit is not None:
                return _linear(axis.text, lengths, *fit)
        if step > 1:  # as a size is that was halved twice and doubled
            whole = self.fitted([None if n is None else (n - start) // step for n in numbers])
            if whole is not None:
                return _applied(operator.add, [_applied(operator.mul, [whole, self.of(step)]), self.of(start)])
        return self._product(numbers)

    def _product(self, numbers: Sequence[int | None]) -> Formula | None:
        """The formula of a product, as sizes are that were flattened: one axis times what remains."""
        for axis, lengths in zip(self.axes, self.lengths):
            pairs = list(zip(numbers, axis.lengths))
            if all(n is None or (length and n % length == 0) for n, length in pairs):
                rest = self.fitted([None if n is None else n // length for n, length in pairs])
                if rest is not None:
                    return _applied(operator.mul, [Formula(axis.text, lengths), rest])
        return None

    def outcomes(self, guard: Guard, clearly: bool = False) -> Any | None:
        """Where a guard goes as it did in the example, at each combination that is looked at; None: unknown.

        `clearly`: also where its sides are nearly equal.
        """
        mine, other = self._looked_at(guard), self.of(guard.other)
        if mine is None or other is None:
            return None
        with np.errstate(all="ignore"):
            if guard.how in COMPARISONS:
                outcomes = getattr(operator, guard.how)(mine.numbers, other.numbers) == guard.outcome
                return outcomes | (np.abs(mine.numbers - other.numbers) <= 1) if clearly else outcomes
            if guard.how == "bool":
                return (mine.numbers != 0) == guard.outcome
            if guard.how == ROUNDS:
                return mine.numbers >= guard.outcome
            if guard.how == "int":
                return np.trunc(mine.numbers) == guard.outcome
            return mine.numbers == self.graph.samples[guard.size.id]

    def region(self, guard: Guard) -> str:
        """Where a guard goes as it did, in words."""
        mine, other = self._looked_at(guard), self.of(guard.other)
        number = self.graph.samples[guard.size.id]
        text = "a size" if mine is None else mine.inside(0)
        if guard.how in COMPARISONS:
            sign = COMPARISONS[guard.how][0 if guard.outcome else 1]
            return f"{text} {sign} {'another size' if other is None else other.inside(0)}"
        if guard.how == "bool":
            return f"{text} {'!=' if guard.outcome else '=='} 0"
        if guard.how == ROUNDS:
            return f"{text} >= {guard.outcome}"
        if guard.how == "int" and mine is not None:
            return f"trunc({mine.text}) == {guard.outcome}"
        return f"{text} == {exact(number)}"


def exact(number: Any) -> str:
    """A number as a region has it, to be compared with: all its digits, and none that are zeros."""
    number = number.item() if hasattr(number, "item") else number
    return repr(int(number) if number == int(number) else number) if math.isfinite(number) else repr(number)


def linear_fit(lengths: Sequence[int], numbers: Sequence[int]) -> tuple[int, int, int] | None:
    """`p, a, b` with `(p * length + a) // b` the number in every run, the simplest; None where there is none."""
    low, high = min(range(len(lengths)), key=lengths.__getitem__), max(range(len(lengths)), key=lengths.__getitem__)
    run, rise = lengths[high] - lengths[low], numbers[high] - numbers[low]
    if run <= 0 or rise <= 0:
        return None
    for b in range(1, _LARGEST_FACTOR + 1):
        around = rise * b / run
        for p in {math.floor(around), math.ceil(around), round(around)} - {0}:
            least = max(n * b - p * length for length, n in zip(lengths, numbers))
            most = min((n + 1) * b - 1 - p * length for length, n in zip(lengths, numbers))
            if least <= most and math.gcd(p, b) == 1:
                return p, _simplest(least, most, b), b
    return None


def steps(numbers: Sequence[int]) -> tuple[int, int]:
    """The largest step, and where it starts, by which all of these numbers can be reached."""
    step = math.gcd(*(n - numbers[0] for n in numbers))
    return step, numbers[0] % step if step else numbers[0]


def _simplest(least: int, most: int, b: int) -> int:
    """The offset to believe in among those that fit: none, that of rounding up, or the smallest."""
    return next((a for a in (0, b - 1) if least <= a <= most), min(least, most, key=abs))


def _linear(text: str, lengths: Any, p: int, a: int, b: int) -> Formula:
    product = text if p == 1 else f"{p} * {text}"
    total = product if a == 0 else f"{product} {'+' if a > 0 else '-'} {abs(a)}"
    if b != 1:
        total = f"{f'({total})' if a else total} // {b}"
    return Formula(total, (p * lengths + a) // b, 3 if total == text else 2 if b != 1 or a == 0 else 1)


def _applied(op: Callable[..., Any], args: Sequence[Formula | None]) -> Formula | None:
    given = [arg for arg in args if arg is not None]
    if len(given) < len(args):
        return None
    if op is operator.index:
        return given[0]
    with np.errstate(all="ignore"):
        try:
            numbers = _ARRAYWISE.get(op, op)(*(arg.numbers for arg in given))
        except (TypeError, ValueError):
            return None
    if op is operator.mul and "1" in (given[0].text, given[1].text):
        return given[1] if given[0].text == "1" else given[0]
    if op is operator.add and given[1].text == "0":
        return given[0]
    if op in _INFIX and len(given) == 2:
        binding = _BINDING.get(op, 2)
        left = binding if op in (operator.pow, operator.or_, operator.xor) else binding - 1  # `(h * w) ** .5`
        text = f"{given[0].inside(left)} {_INFIX[op]} {given[1].inside(binding)}"
        return Formula(text, numbers, binding)
    if op is operator.neg:
        return Formula(f"-{given[0].inside(2)}", numbers, 2)
    return Formula(f"{getattr(op, '__name__', op)}({', '.join(arg.text for arg in given)})", numbers)
