"""What Python made of sizes where nothing shows it: found by comparing runs that made the same calls.

`len(x)`, `int(h / 2)`, `max(h, w)` and `math.log(n)` are plain numbers to Python, which keep no record. Where a call
was given a number that in every run is the same function of a size met before, it is recorded as what it must have
been; where nothing fits, the model keeps the example's, and that is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nobuco.ir import Graph, Node, Site, Value, ValueKind, leaves, map_leaves
from nobuco.trace.sizes.alike import same
from nobuco.trace.sizes.numbers import size_of
from nobuco.trace.sizes.recipes import HERE, Recipe, candidates
from nobuco.trace.sizes.reruns import is_number

_Key = tuple[tuple[Any, ...], type]


def _key(numbers: tuple[Any, ...]) -> _Key:
    """Numbers in all runs, and of which kind: `4` and `4.0` are equal to Python."""
    return numbers, type(numbers[0])


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


def inferred(
    graph: Graph, others: Sequence[Graph], follows_all: bool = True, met: Sequence[Value] = (), first_id: int = 0
) -> Inferred:
    """The graph with what its arguments must have been; `others` made the same calls, and are in step with its runs.

    `follows_all`: also what follows from lengths of the inputs that the program did not ask for. `met` are sizes that
    the graph is given; `first_id` is where the ids of new ones begin.
    """
    finder = _Finder(graph, others, follows_all, first_id)
    finder.hidden.update((_key(finder.numbers_of(size)), size) for size in met)
    nodes = finder.rewritten(graph.nodes, [other.nodes for other in others])
    changed = replace(graph, nodes=nodes, samples=graph.samples.plus(finder.numbers), runs=tuple(finder.runs))
    return Inferred(changed, tuple(finder.lost), any(recipe and recipe.steps for recipe in finder.recipes.values()))


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
    first_id: int = 0
    numbers: dict[int, Any] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    scopes: list[dict[_Key, Value]] = field(default_factory=list)
    hidden: dict[_Key, Value] = field(default_factory=dict)
    recipes: dict[_Key, Recipe | None] = field(default_factory=dict)
    _constants: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.runs = [dict(run) for run in self.graph.runs]
        self.back = [_back(self.graph, other) for other in self.others]
        self._next_id = self.first_id or max(self.graph.samples, default=0) + 1_000_000
        self._axes = dict(self._input_axes()) if self.follows_all else {}

    def rewritten(self, nodes: Sequence[Node], others: Sequence[Sequence[Node]]) -> tuple[Node, ...]:
        """The nodes of one call, with the arithmetic before those that use it."""
        found: list[Node] = []
        self.scopes.append({})
        for node, *theirs in zip(nodes, *others):
            children = self.rewritten(node.children, [other.children for other in theirs])
            regions = tuple(
                self._region(region, [other.regions[number] for other in theirs])
                for number, region in enumerate(node.regions)
            )
            given = []
            for in_runs in zip(_given(node), *map(_given, theirs)):
                calls, leaf = self._argument(node, in_runs)
                found += [replace(call, site=node.site) for call in calls]
                self._meet([call.outputs for call in calls[-1:]])
                given.append(leaf)
            found.append(replace(_given_instead(node, given), children=children, regions=regions))
            self._meet(node.results)
        self.hidden.update(self.scopes.pop())
        return tuple(found)

    def _meet(self, results: Iterable[Value]) -> None:
        for value in results:
            if value.kind is ValueKind.SIZE and value.id not in self.graph.dynamic:  # not of a loop's rounds
                self.scopes[-1].setdefault(_key(self.numbers_of(value)), value)

    def _region(self, region: Graph, others: Sequence[Graph]) -> Graph:
        """A body of a branch or a loop: what is met in it is not there outside."""
        hidden = dict(self.hidden)
        nodes = self.rewritten(region.nodes, [other.nodes for other in others])
        self.hidden = hidden
        return replace(region, nodes=nodes)

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

    def numbers_of(self, leaf: Any) -> tuple[Any, ...]:
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
            calls = self._choice(stood)
            return (calls, calls[-1].outputs) if calls else self._kept(node, mine, theirs)
        if all(type(s) is type(mine) and s == mine for s in stood):
            return (), mine
        # NumPy's numbers bring a dtype of their own into what is made of them, which sizes have not.
        recipe = None if isinstance(mine, np.generic) else self._recipe(stood)
        return self._kept(node, mine, theirs) if recipe is None else self._cooked(recipe)

    def _kept(self, node: Node, mine: Any, theirs: Sequence[Any]) -> tuple[Sequence[Node], Any]:
        """The example's argument, where nothing tells what it must have been."""
        agree = tuple(isinstance(t, Value) or same(mine, t) for t in theirs)
        there = next((t for t in theirs if not isinstance(t, Value) and not same(mine, t)), theirs[0])
        self.lost.append(Lost(node, self.numbers_of(mine)[0], there, agree))
        return (), mine

    def note_constants(self, mine: Any, theirs: Sequence[Any], node: Node) -> None:
        """Note where what is no number differs between runs: a string, or a tensor that Python made."""
        if isinstance(mine, Value):
            if mine.kind is not ValueKind.CONSTANT or mine.name or mine.id in self._constants:
                return
            self._constants.add(mine.id)
            theirs = [other.samples.kept.get(t.id) for other, t in zip(self.others, theirs)]
            mine = self.graph.samples[mine.id]
        agree = tuple(same(mine, t) for t in theirs)
        if not all(agree):
            self.lost.append(Lost(node, mine, theirs[agree.index(False)], agree))

    # -- what it must have been -------------------------------------------------------------------------

    def _choice(self, stood: tuple[Any, ...]) -> list[Node]:
        """The larger, or the smaller, of two sizes, where Python took one of them in each run; or one within two."""
        among = list(dict.fromkeys(stood))
        if None in among or len(among) not in (2, 3):
            return []
        numbers = list(zip(*map(self.numbers_of, among)))
        taken = [each[among.index(s)] for each, s in zip(numbers, stood)]
        if len(among) == 3:
            return self._within(among, taken)
        op = next((op for op in (max, min) if taken == [op(pair) for pair in numbers]), None)
        return [] if op is None else [self._made(op, tuple(among), taken)]

    def _within(self, among: Sequence[Any], taken: Sequence[Any]) -> list[Node]:
        """`max(low, min(size, high))` of three sizes or numbers, if that is what was taken in each run."""
        for size, high, low in itertools.permutations(among):
            cut = list(map(min, self.numbers_of(size), self.numbers_of(high)))
            if list(taken) == list(map(max, self.numbers_of(low), cut)):
                inner = self._made(min, (size, high), cut)
                return [inner, self._made(max, (low, inner.outputs), taken)]
        return []

    def _recipe(self, numbers: tuple[Any, ...]) -> Recipe | None:
        """How these numbers come of a size met before, if they do."""
        for met, size in self._met:
            if met == numbers and type(met[0]) is type(numbers[0]):
                return Recipe(size)
        key = _key(numbers)
        if key not in self.recipes:
            whole = not any(isinstance(n, bool) for n in numbers)
            self.recipes[key] = next(candidates(list(self._met), numbers), None) if whole else None
        return self.recipes[key]

    def _cooked(self, recipe: Recipe) -> tuple[Sequence[Node], Value]:
        calls: list[Node] = []
        size = self._asked_for(recipe.size, calls)
        for op, given in recipe.steps:
            args = tuple(size if arg is HERE else self._asked_for(arg, calls) for arg in given)
            numbers = tuple(op(*in_run) for in_run in zip(*map(self.numbers_of, args)))
            calls.append(self._made(op, args, numbers))
            size = calls[-1].outputs
        return calls, size

    def _asked_for(self, size: Any, calls: list[Node]) -> Any:
        """A size; that of an input's axis by a call of its own."""
        axis = next((axis for axis in self._axes.values() if axis is size), None)
        if axis is None:
            return size
        lengths = self.numbers_of(axis)
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
        value = Value(self._next_id, ValueKind.SIZE, (), "float64" if isinstance(numbers[0], float) else "int32")
        self.numbers[value.id] = numbers[0]
        for run, number in zip(self.runs, numbers[1:]):
            run[value.id] = number
        return Node(-value.id, op, args, {}, value, Site("", 0))


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
        for region, theirs in zip(node.regions, other.regions):
            yield from zip(region.inputs, theirs.inputs)


def _seen(second: Graph, pairs: Iterable[tuple[Value, Value]]) -> dict[int, Any]:
    return {
        mine.id: second.samples[theirs.id] if mine.kind is ValueKind.SIZE else theirs.shape for mine, theirs in pairs
    }


def _back(first: Graph, second: Graph) -> dict[int, Value]:
    """The first run's values by the ids of the second's."""
    return {theirs.id: mine for mine, theirs in _made_in_both(zip(first.walk(), second.walk()))}


def _given(node: Node) -> list[Any]:
    return list(leaves((node.args, dict(node.kwargs))))


def _given_instead(node: Node, arguments: Sequence[Any]) -> Node:
    queue = iter(arguments)
    args, kwargs = map_leaves(lambda _: next(queue), (node.args, dict(node.kwargs)))
    return replace(node, args=args, kwargs=kwargs)
