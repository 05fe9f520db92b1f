"""What Python made of sizes where nothing shows it: found by comparing runs that made the same calls.

`len(x)`, `int(h / 2)`, `max(h, w)` and `math.log(n)` are plain numbers to Python, which keep no record. Where a call
was given a number that in every run is the same function of a size met before, it is recorded as what it must have
been; where nothing fits, the model keeps the example's, and that is told.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from nobuco.ir import Graph, Node, Site, Value, ValueKind, leaves, map_leaves
from nobuco.trace.sizes.formulas import linear_fit, steps
from nobuco.trace.sizes.numbers import size_of
from nobuco.trace.sizes.reruns import is_number

_HERE = object()
_Key = tuple[tuple[Any, ...], type]


def _key(numbers: tuple[Any, ...]) -> _Key:
    """Numbers in all runs, and of which kind: `4` and `4.0` are equal to Python."""
    return numbers, type(numbers[0])


# In so many runs a function of a size must hold, with different results, before it is believed.
_FEWEST_NUMBERS = 4
_OF_TWO: tuple[Callable[..., int], ...] = (operator.mul, operator.add, operator.sub, max, min)
_MOST_PAIRED = 30
_Steps = tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...]
# Functions of one size that give a whole number: the root, and the next power of two.
_WHOLE_FUNCTIONS: tuple[tuple[_Steps, Callable[[int], int]], ...] = (
    (((math.sqrt, (_HERE,)), (math.floor, (_HERE,))), math.isqrt),
    (
        ((operator.sub, (_HERE, 1)), (int.bit_length, (_HERE,)), (operator.pow, (2, _HERE))),
        lambda n: 1 << (n - 1).bit_length(),
    ),
    (((int.bit_length, (_HERE,)),), int.bit_length),
)
_FUNCTIONS: tuple[Callable[[Any], float], ...] = (math.sqrt, math.log, math.log2, math.log10)


@dataclass(frozen=True)
class Lost:
    """An argument of a call that was another in other runs, in a way that could not be followed.

    `agree` tells of each run after the example's whether it had the example's.
    """

    node: Node
    here: Any
    there: Any
    agree: tuple[bool, ...]


@dataclass(frozen=True)
class Inferred:
    """A graph with sizes in the places of plain numbers, and the arguments for which none was found.

    `guessed`: some of these sizes are what a formula gives that fits the runs.
    """

    graph: Graph
    lost: tuple[Lost, ...]
    guessed: bool = False


def inferred(graph: Graph, others: Sequence[Graph], follows_all: bool = True) -> Inferred:
    """The graph with what its arguments must have been; `others` made the same calls, and are in step with its runs.

    `follows_all`: also what follows from lengths of the inputs that the program did not ask for.
    """
    finder = _Finder(graph, others, follows_all)
    nodes = finder.rewritten(graph.nodes, [other.nodes for other in others])
    changed = replace(graph, nodes=nodes, samples=graph.samples.plus(finder.numbers), runs=tuple(finder.runs))
    return Inferred(changed, tuple(finder.lost), any(recipe and recipe.steps for recipe in finder.recipes.values()))


@dataclass(frozen=True)
class _Recipe:
    """A size met before, and the calls that make a number of it; `_HERE` is what the call before gave.

    A call may take another size, too.
    """

    size: Value
    steps: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = ()


@dataclass
class _Finder:
    """Walks all runs in step.

    `scopes` has the sizes met so far by what they were in each run: a dictionary for the program, one for each call
    that is walked, the first of equal ones in each. What was met inside an earlier call is there only if that call is
    opened, and so is a last resort (`hidden`).
    """

    graph: Graph
    others: Sequence[Graph]
    follows_all: bool
    numbers: dict[int, Any] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    scopes: list[dict[_Key, Value]] = field(default_factory=list)
    hidden: dict[_Key, Value] = field(default_factory=dict)
    recipes: dict[_Key, _Recipe | None] = field(default_factory=dict)
    _constants: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.runs = [dict(run) for run in self.graph.runs]
        self.back = [_back(self.graph, other) for other in self.others]
        self._next_id = max(self.graph.samples, default=0) + 1_000_000
        self._axes = dict(self._input_axes()) if self.follows_all else {}

    def rewritten(self, nodes: Sequence[Node], others: Sequence[Sequence[Node]]) -> tuple[Node, ...]:
        """The nodes of one call, with the arithmetic before those that use it."""
        found: list[Node] = []
        self.scopes.append({})
        for node, *theirs in zip(nodes, *others):
            children = self.rewritten(node.children, [other.children for other in theirs])
            given = []
            for in_runs in zip(_given(node), *map(_given, theirs)):
                calls, leaf = self._argument(node, in_runs)
                found += [replace(call, site=node.site) for call in calls]
                given.append(leaf)
            found.append(replace(_given_instead(node, given), children=children))
            for value in node.results:
                if value.kind is ValueKind.SIZE:
                    self.scopes[-1].setdefault(_key(self._in_runs(value)), value)
        self.hidden.update(self.scopes.pop())
        return tuple(found)

    def _input_axes(self) -> Iterator[tuple[_Key, Value]]:
        """The lengths of the inputs' axes that are not the same in all runs, which a program need not ask for."""
        for given, *theirs in zip(self.graph.inputs, *(other.inputs for other in self.others)):
            for dim, lengths in enumerate(zip(given.shape, *(other.shape for other in theirs))):
                if len(set(lengths)) > 1:
                    yield _key(lengths), self._made(size_of, (given, dim), lengths).outputs

    @property
    def _met(self) -> Iterator[tuple[tuple[Any, ...], Value]]:
        for sizes in (*self.scopes, self._axes, self.hidden):
            for (numbers, _), size in sizes.items():
                yield numbers, size

    def _in_runs(self, leaf: Any) -> tuple[Any, ...]:
        """What a size, or a number, was in each run."""
        if not isinstance(leaf, Value):
            return (leaf,) * (len(self.runs) + 1)
        mine = self.graph.samples.kept.get(leaf.id, self.numbers.get(leaf.id))
        return (mine, *(run.get(leaf.id) for run in self.runs))

    def _argument(self, node: Node, in_runs: tuple[Any, ...]) -> tuple[Sequence[Node], Any]:
        """The calls that make an argument what it was in every run, and what stands in its place."""
        mine, *theirs = in_runs
        if not all(map(is_number, in_runs)):
            self.note_constants(mine, theirs, node)
            return (), mine
        stood = (mine, *(back.get(t.id) if isinstance(t, Value) else t for back, t in zip(self.back, theirs)))
        if any(isinstance(s, Value) for s in stood):
            if all(s is mine for s in stood):
                return (), mine
            call = self._choice(stood)
            return ((call,), call.outputs) if call is not None else self._kept(node, mine, theirs)
        if all(type(s) is type(mine) and s == mine for s in stood):
            return (), mine
        # NumPy's numbers bring a dtype of their own into what is made of them, which sizes have not.
        recipe = None if isinstance(mine, np.generic) else self._recipe(stood)
        return self._kept(node, mine, theirs) if recipe is None else self._cooked(recipe)

    def _kept(self, node: Node, mine: Any, theirs: Sequence[Any]) -> tuple[Sequence[Node], Any]:
        """The example's argument, where nothing tells what it must have been."""
        agree = tuple(isinstance(t, Value) or _same(mine, t) for t in theirs)
        there = next((t for t in theirs if not isinstance(t, Value) and not _same(mine, t)), theirs[0])
        self.lost.append(Lost(node, mine, there, agree))
        return (), mine

    def note_constants(self, mine: Any, theirs: Sequence[Any], node: Node) -> None:
        """Note where what is no number differs between runs: a string, or a tensor that Python made."""
        if isinstance(mine, Value):
            if mine.kind is not ValueKind.CONSTANT or mine.name or mine.id in self._constants:
                return
            self._constants.add(mine.id)
            theirs = [other.samples.kept.get(t.id) for other, t in zip(self.others, theirs)]
            mine = self.graph.samples[mine.id]
        agree = tuple(_same(mine, t) for t in theirs)
        if not all(agree):
            self.lost.append(Lost(node, mine, theirs[agree.index(False)], agree))

    # -- what it must have been -------------------------------------------------------------------------

    def _choice(self, stood: tuple[Any, ...]) -> Node | None:
        """The larger, or the smaller, of two sizes, where Python took one of them in each run."""
        among = list(dict.fromkeys(stood))
        if None in among or len(among) != 2:
            return None
        numbers = list(zip(*map(self._in_runs, among)))
        taken = [pair[among.index(s)] for pair, s in zip(numbers, stood)]
        op = next((op for op in (max, min) if taken == [op(pair) for pair in numbers]), None)
        return None if op is None else self._made(op, tuple(among), taken)

    def _recipe(self, numbers: tuple[Any, ...]) -> _Recipe | None:
        """How these numbers come of a size met before, if they do."""
        for met, size in self._met:
            if met == numbers and type(met[0]) is type(numbers[0]):
                return _Recipe(size)
        key = _key(numbers)
        if key not in self.recipes:
            whole = not any(isinstance(n, bool) for n in numbers)
            self.recipes[key] = next(self._candidates(numbers), None) if whole else None
        return self.recipes[key]

    def _candidates(self, numbers: tuple[Any, ...]) -> Iterator[_Recipe]:
        sizes = list(self._met)
        if all(type(n) is float and n.is_integer() for n in numbers):
            for recipe in self._candidates(tuple(map(int, numbers))):
                yield replace(recipe, steps=(*recipe.steps, (operator.mul, (_HERE, 1.0))))
        whole = [(met, size) for met, size in sizes if all(type(n) is int for n in (*met, *numbers))]
        for met, size in whole:
            yield from _bounded(size, met, numbers)
        if len(set(numbers)) < _FEWEST_NUMBERS:
            return
        for met, size in whole:
            yield from _fitted(size, met, numbers)
            for first, made in _WHOLE_FUNCTIONS:
                for recipe in _fitted(size, [made(abs(n)) for n in met], numbers):
                    yield replace(recipe, steps=(*first, *recipe.steps))
        for met, size in sizes if any(type(n) is float for n in numbers) else ():
            yield from _affine(size, met, numbers)
        made_first = dict(reversed(whole))  # of sizes that are equal everywhere
        yield from _of_two({met: made_first[met] for met, _ in whole}, numbers)

    def _cooked(self, recipe: _Recipe) -> tuple[Sequence[Node], Value]:
        calls: list[Node] = []
        size = self._asked_for(recipe.size, calls)
        for op, given in recipe.steps:
            args = tuple(size if arg is _HERE else self._asked_for(arg, calls) for arg in given)
            numbers = tuple(op(*in_run) for in_run in zip(*map(self._in_runs, args)))
            calls.append(self._made(op, args, numbers))
            size = calls[-1].outputs
        return calls, size

    def _asked_for(self, size: Any, calls: list[Node]) -> Any:
        """A size; that of an input's axis by a call of its own."""
        axis = next((axis for axis in self._axes.values() if axis is size), None)
        if axis is None:
            return size
        lengths = self._in_runs(axis)
        place = next(
            (given, dim)
            for given, *theirs in zip(self.graph.inputs, *(other.inputs for other in self.others))
            for dim, found in enumerate(zip(given.shape, *(other.shape for other in theirs)))
            if found == lengths
        )
        calls.append(self._made(size_of, place, lengths))
        return calls[-1].outputs

    def _made(self, op: Callable[..., Any], args: tuple[Any, ...], numbers: Sequence[Any]) -> Node:
        self._next_id += 1
        value = Value(self._next_id, ValueKind.SIZE, (), "float32" if isinstance(numbers[0], float) else "int32")
        self.numbers[value.id] = numbers[0]
        for run, number in zip(self.runs, numbers[1:]):
            run[value.id] = number
        return Node(-value.id, op, args, {}, value, Site("", 0))


def _bounded(size: Value, met: Sequence[int], numbers: Sequence[int]) -> Iterator[_Recipe]:
    """`max(size, n)` or `min(size, n)`, where both sides were seen."""
    other = {n for n, m in zip(numbers, met) if n != m}
    if len(other) == 1 and sum(n == m for n, m in zip(numbers, met)) > 1:
        (bound,) = other
        for op in (max, min):
            if tuple(numbers) == tuple(op(m, bound) for m in met):
                yield _Recipe(size, ((op, (_HERE, bound)),))


def _of_two(sizes: Mapping[tuple[int, ...], Value], numbers: tuple[Any, ...]) -> Iterator[_Recipe]:
    """A number that two sizes make: their product, their sum, and so on."""
    if all(type(n) is int for n in numbers):
        for (met, size), (other, second) in itertools.product(list(sizes.items())[:_MOST_PAIRED], repeat=2):
            for op in _OF_TWO:
                if numbers == tuple(map(op, met, other)):
                    yield _Recipe(size, ((op, (_HERE, second)),))


def _fitted(size: Value, met: Sequence[int], numbers: Sequence[int]) -> Iterator[_Recipe]:
    """`(p * size + a) // b`, or such a number in steps of more than one, as `ceil(h / 8) * 8` is."""
    step, start = steps(numbers)
    for by, offset in dict.fromkeys(((1, 0), (step, start))):
        fit = linear_fit(met, [(n - offset) // by for n in numbers])
        if fit is not None:
            p, a, b = fit
            made = ((operator.mul, p, 1), (operator.add, a, 0), (operator.floordiv, b, 1))
            whole = (*made, (operator.mul, by, 1), (operator.add, offset, 0))
            yield _Recipe(size, tuple((op, (_HERE, n)) for op, n, nothing in whole if n != nothing))


def _affine(size: Value, met: Sequence[Any], numbers: Sequence[Any]) -> Iterator[_Recipe]:
    """A float that is `a * g(size) + b`, for a few functions `g`."""
    if len(set(met)) < _FEWEST_NUMBERS or not all(map(math.isfinite, numbers)):
        return
    firsts: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [(f, (_HERE,)) for f in _FUNCTIONS]
    for first in (None, (operator.truediv, (1.0, _HERE)), *firsts):
        try:
            seen = [float(m) if first is None else first[0](*(m if a is _HERE else a for a in first[1])) for m in met]
        except (ValueError, ArithmeticError):  # the root of what is negative, or one by nothing
            continue
        line = _line(seen, numbers)
        if line is not None and np.allclose(np.multiply(line[0], seen) + line[1], numbers, rtol=1e-11, atol=0):
            steps = [] if first is None else [first]
            steps += [(operator.mul, (_HERE, line[0]))] if line[0] != 1 or first is None else []
            steps += [(operator.add, (_HERE, line[1]))] if line[1] else []
            yield _Recipe(size, tuple(steps))


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float] | None:
    """The slope and the offset of a line through the outermost points, rounded to what was written, if that fits."""
    low, high = int(np.argmin(x)), int(np.argmax(x))
    if x[low] == x[high]:
        return None
    slope = (y[high] - y[low]) / (x[high] - x[low])
    near = float(f"{slope:.9g}")
    slope = near if math.isclose(near, slope, rel_tol=1e-12) else slope
    offset = y[low] - slope * x[low]
    return (slope, 0.0 if abs(offset) < 1e-11 * max(map(abs, y)) else offset) if slope else None


def seen_by(first: Graph, second: Graph) -> dict[int, Any]:
    """By the first run's values: the shapes and sizes of the second, which made the same calls."""
    return _seen(second, [*zip(first.inputs, second.inputs), *_made_in_both(zip(first.walk(), second.walk()))])


def seen_before(first: Graph, second: Graph, way: tuple[Node, int] | None) -> dict[int, Any]:
    """What `seen_by` tells, of a run that went another way from `way` on: what was made before."""
    mine = list(first.walk())
    if way is None or way[1] >= len(mine):
        return seen_by(first, second)
    alike = list(zip(mine, second.walk()))[: way[1]]
    # A call that was under way has given what it gave since then.
    made = [pair for pair in _made_in_both(alike) if pair[0].id < mine[way[1]].id]
    return _seen(second, [*zip(first.inputs, second.inputs), *made])


def _made_in_both(nodes: Iterable[tuple[Node, Node]]) -> Iterator[tuple[Value, Value]]:
    for node, other in nodes:
        yield from zip(node.results, other.results)


def _seen(second: Graph, pairs: Iterable[tuple[Value, Value]]) -> dict[int, Any]:
    return {
        mine.id: second.samples[theirs.id] if mine.kind is ValueKind.SIZE else theirs.shape for mine, theirs in pairs
    }


def _back(first: Graph, second: Graph) -> dict[int, Value]:
    """The first run's values by the ids of the second's."""
    return {
        theirs.id: mine
        for node, other in zip(first.walk(), second.walk())
        for mine, theirs in zip(node.results, other.results)
    }


def _given(node: Node) -> list[Any]:
    return list(leaves((node.args, dict(node.kwargs))))


def _given_instead(node: Node, arguments: Sequence[Any]) -> Node:
    queue = iter(arguments)
    args, kwargs = map_leaves(lambda _: next(queue), (node.args, dict(node.kwargs)))
    return replace(node, args=args, kwargs=kwargs)


def _same(one: Any, other: Any) -> bool:
    """Whether two constants are equal; what has no equality that says so counts as equal."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one.cpu(), other.cpu()))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    plain = (int, float, complex, str, bytes, bool, type(None), torch.dtype)
    return not (isinstance(one, plain) and isinstance(other, plain)) or one == other or (one != one and other != other)
