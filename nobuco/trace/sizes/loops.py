"""Loops over a dynamic size: the rounds that a run made become one call of `scan`, whose body is a round.

Python shows nothing of a loop; a run at another size just makes more calls. Where all runs make the same calls, some
of them over and over, and what a round reads tells how rounds hang together, it is a loop. A round may read what was
there before the loop, what it made itself, what the round before it made, and numbers that grow evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from itertools import product
from typing import Any

from nobuco.ir import Graph, Node, Value, ValueKind, leaves, map_leaves, values
from nobuco.registry import operation_name
from nobuco.trace.calls import name_of
from nobuco.trace.sizes.alike import same
from nobuco.trace.sizes.repeats import Part, pattern, rounds

Round = Sequence[Node]
_MOST_LOOPS = 16
# The first rounds may be unlike the others: `h` is None, or a number, before them.
_MOST_SKIPPED = 2
# A round may itself make the same calls so many times, as for two layers.
_MOST_WITHIN = 4
_JOINING = {"stack", "cat", "concat", "concatenate"}


class Role(Enum):
    """What an argument of a call in a round is: the same in all, made in it, made in the one before, or a number."""

    SAME = "same"
    MADE = "made"
    CARRIED = "carried"
    NUMBER = "number"


@dataclass(frozen=True)
class Read:
    """An argument in a round: which of the values that a round makes, or by how much a number grows in a round.

    `from_zero`: the number begins with 0 in every run.
    """

    role: Role
    number: int = 0
    from_zero: bool = False


@dataclass(frozen=True)
class Loop:
    """A loop of a program: where it stands, and how its rounds hang together.

    `row` are the numbers of the calls, outermost first, in which it stands; `parts` the calls there, `part` the number
    of the one that it is. `reads` are the arguments of a round. Of the values that a round makes, by their numbers:
    `listed` are in lists behind the loop, those of all rounds together, each with whether the last round comes first;
    `indexed` those that are asked of a round that is not the last, `last` those of the last alone; `replacing` those
    that a skipped round made in the same form.
    """

    row: tuple[int, ...]
    parts: tuple[Part, ...]
    part: int
    skipped: int
    reads: tuple[Read, ...] = ()
    listed: Mapping[int, bool] | None = None
    indexed: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    replacing: frozenset[int] = frozenset()

    @cached_property
    def carried(self) -> tuple[int, ...]:
        """The values that the next round reads, or that replace what a skipped round made."""
        read = (read.number for read in self.reads if read.role is Role.CARRIED)
        return tuple(dict.fromkeys([*read, *sorted(self.replacing)]))

    @cached_property
    def stacked(self) -> tuple[int, ...]:
        """The values of which those of all rounds are given out."""
        return tuple(sorted({*(self.listed or ()), *self.indexed, *(self.last - {*self.carried})}))

    def rounds(self, graph: Graph) -> list[Round]:
        """The rounds that a run made; none if it made other calls than these."""
        return self._rounds(graph)[self.skipped :]

    def begins(self, graph: Graph) -> dict[int, Value]:
        """What a run has in the places of the carried values before its first round."""
        first = Rounds(graph, self.rounds(graph)).leaves[0]
        read = {read.number: leaf for read, leaf in zip(self.reads, first) if read.role is Role.CARRIED}
        return {
            number: read[number] if number in read else self.skipped_values(graph)[number] for number in self.carried
        }

    def skipped_values(self, graph: Graph) -> dict[int, Value]:
        """What the round before the first one gave, by the numbers of what stands in its place in that."""
        if not self.skipped:
            return {}
        before, first = self._rounds(graph)[self.skipped - 1 : self.skipped + 1]
        numbers = Rounds(graph, [first]).number_of
        pairs = ((v, twin) for node, same in zip(before, first) for v, twin in zip(node.results, same.results))
        return {numbers[twin.id][1]: v for v, twin in pairs if twin.id in numbers}

    def _rounds(self, graph: Graph) -> list[Round]:
        nodes = row(graph, self.row)
        counts = rounds(tuple(map(call_of, nodes)), self.parts)
        if counts is None:
            return []
        length = len(self.parts[self.part].calls)
        start = sum(len(part.calls) * count for part, count in zip(self.parts[: self.part], counts))
        return [nodes[start + n * length : start + (n + 1) * length] for n in range(counts[self.part])]


def loops_in(graphs: Sequence[Graph], rolled: Callable[[Graph, Loop], Graph | None]) -> tuple[Loop, ...]:
    """The loops that runs of a program made more or fewer rounds of; the first run is that on the example."""
    found: list[Loop] = []
    while len(found) < _MOST_LOOPS:
        loop = _first_loop(graphs, ())
        if loop is None:
            break
        found.append(loop)
        graphs = [after for after in (rolled(graph, loop) for graph in graphs) if after is not None]
    return tuple(found)


def row(graph: Graph, numbers: Sequence[int]) -> Sequence[Node]:
    """The calls that a call makes which is reached by these numbers."""
    nodes: Sequence[Node] = graph.nodes
    for number in numbers:
        nodes = nodes[number].children if number < len(nodes) else ()
    return nodes


def call_of(node: Node) -> tuple[Any, ...]:
    """What tells a call from others: what is called, and on which line."""
    return operation_name(node.op), node.path, node.site


def _first_loop(graphs: Sequence[Graph], numbers: tuple[int, ...]) -> Loop | None:
    rows = [row(graph, numbers) for graph in graphs]
    if len({sum(1 for node in nodes for _ in node.walk()) for nodes in rows}) == 1:
        return None
    calls = [tuple(map(call_of, nodes)) for nodes in rows]
    alike = [graph for graph, made in zip(graphs, calls) if made == calls[0]]
    if len(alike) < len(graphs):
        loop = _loop_among(graphs, calls, numbers)
        if loop is not None:
            return loop
    inner = (_first_loop(alike, (*numbers, number)) for number in range(len(rows[0])))
    return next((loop for loop in inner if loop is not None), None)


def _loop_among(graphs: Sequence[Graph], calls: Sequence[tuple[Any, ...]], numbers: tuple[int, ...]) -> Loop | None:
    """A loop among the calls of a row, if those of the runs differ by the number of rounds."""
    parts = pattern(max(calls, key=len))
    repeated = [number for number, part in enumerate(parts) if part.repeats]
    for number, times in product(repeated, range(1, _MOST_WITHIN + 1)):
        one = replace(parts[number], calls=parts[number].calls * times)
        found = _loop_of((*parts[:number], one, *parts[number + 1 :]), number, graphs, calls, numbers)
        if found is not None:
            return found
    return None


def _loop_of(
    parts: tuple[Part, ...],
    number: int,
    graphs: Sequence[Graph],
    calls: Sequence[tuple[Any, ...]],
    numbers: tuple[int, ...],
) -> Loop | None:
    """One of the parts as a loop, if runs made more or fewer rounds of it."""
    counts = [rounds(made, parts) for made in calls]
    ran = [(graph, count) for graph, count in zip(graphs, counts) if count is not None]
    if counts[0] is None or len({count[number] for _, count in ran}) == 1:
        return None
    skips = range(min(_MOST_SKIPPED, counts[0][number] - 1) + 1)
    tried = (_learnt(Loop(numbers, parts, number, skipped), [graph for graph, _ in ran]) for skipped in skips)
    return next((loop for loop in tried if loop is not None), None)


def _learnt(loop: Loop, graphs: Sequence[Graph]) -> Loop | None:
    """The loop with how its rounds hang together, as the longest run tells, if that is so in the example, too."""
    longest = max(graphs, key=lambda graph: len(loop.rounds(graph)))
    made = Rounds(longest, loop.rounds(longest))
    reads = made.reads()
    if reads is None:
        return None
    loop = replace(loop, reads=reads)
    if not Rounds(graphs[0], loop.rounds(graphs[0])).fit(loop):
        return None
    starts = [Rounds(graph, loop.rounds(graph)) for graph in graphs]
    zero = [all(one.fit(loop) and one.leaves[0][i] == 0 for one in starts if one.rounds) for i in range(len(reads))]
    reads = tuple(replace(read, from_zero=read.role is Role.NUMBER and is0) for read, is0 in zip(reads, zero))
    listed, indexed, last = made.uses()
    replacing = frozenset.intersection(
        *(_replaced(loop.skipped_values(one.graph), one) for one in starts if one.fit(loop))
    )
    return replace(
        loop, reads=reads, listed=listed, indexed=indexed, last=last, replacing=replacing & {*listed, *indexed, *last}
    )


def _replaced(before: Mapping[int, Value], made: Rounds) -> frozenset[int]:
    """The numbers of the values of a round that have the same form in all rounds, and before them."""
    forms = {number: {_form(v), *(_form(found[number]) for found in made.made)} for number, v in before.items()}
    return frozenset(number for number, found in forms.items() if len(found) == 1)


def _form(value: Value) -> tuple[Any, ...]:
    return value.shape, value.dtype, value.kind


@dataclass(frozen=True, eq=False)
class Rounds:
    """The rounds of a loop in one run."""

    graph: Graph
    rounds: Sequence[Round]

    @cached_property
    def leaves(self) -> list[list[Any]]:
        """Of each round, what its calls were given, gave and wrote."""
        return [[leaf for node in calls for inner in node.walk() for leaf in seen_in(inner)] for calls in self.rounds]

    @cached_property
    def made(self) -> list[list[Value]]:
        """Of each round, the values that it makes."""
        return [list(_made_in(calls)) for calls in self.rounds]

    @cached_property
    def number_of(self) -> dict[int, tuple[int, int]]:
        """The number of the round, and of the value in it, by the id of each value made."""
        return {v.id: (number, place) for number, found in enumerate(self.made) for place, v in enumerate(found)}

    def reads(self) -> tuple[Read, ...] | None:
        """What each argument of a round is; None where one is nothing that can be followed, or there are few rounds."""
        has_loops = any(inner.regions for calls in self.rounds for node in calls for inner in node.walk())
        if len(self.rounds) < 3 or has_loops or len({len(found) for found in self.leaves}) > 1:
            return None
        found = [self._read(place) for place in range(len(self.leaves[0]))]
        if any(read is None for read in found):
            return None
        reads = tuple(read for read in found if read is not None)
        return reads if self.fit_reads(reads) else None

    def _read(self, place: int) -> Read | None:
        first, second = self.leaves[0][place], self.leaves[1][place]
        candidates = [Read(Role.SAME)]
        if isinstance(second, Value) and second.id in self.number_of:
            number, which = self.number_of[second.id]
            candidates.append(Read(Role.MADE if number == 1 else Role.CARRIED, which))
        if type(first) is type(second) is int:
            candidates.append(Read(Role.NUMBER, second - first))
        return next((read for read in candidates if self._plays(read, place)), None)

    def fit(self, loop: Loop) -> bool:
        """Whether these rounds hang together as those of a loop."""
        return bool(self.rounds) and self.fit_reads(loop.reads)

    def fit_reads(self, reads: Sequence[Read]) -> bool:
        """Whether each argument is what it should be, and one value is what each is before the first round."""
        if any(len(found) != len(reads) for found in self.leaves) or len({*map(len, self.made)}) > 1:
            return False
        if not all(self._plays(read, place) for place, read in enumerate(reads)):
            return False
        before = {(read.number, self.leaves[0][i].id) for i, read in enumerate(reads) if read.role is Role.CARRIED}
        return len(before) == len({number for number, _ in before})

    def _plays(self, read: Read, place: int) -> bool:
        """Whether an argument of all rounds is what is said."""
        first, *others = (found[place] for found in self.leaves)
        match read.role:
            case Role.SAME:
                return all(self._is_same(first, other) for other in others)
            case Role.MADE:
                return all(self._is_made(found[place], number, read) for number, found in enumerate(self.leaves))
            case Role.NUMBER:
                return type(first) is int and all(
                    type(other) is int and other == first + number * read.number
                    for number, other in enumerate(others, 1)
                )
        return self._may_begin(first, read.number) and all(
            self._is_made(other, number, read) for number, other in enumerate(others)
        )

    def _is_same(self, one: Any, other: Any) -> bool:
        if isinstance(one, Value) and isinstance(other, Value):
            constant = one.kind is other.kind is ValueKind.CONSTANT and not one.name
            return one is other or (constant and same(self.graph.samples.kept.get(one.id), self._sample(other)))
        return type(one) is type(other) and not isinstance(one, Value) and same(one, other)

    def _sample(self, value: Value) -> Any:
        return self.graph.samples.kept.get(value.id)

    def _is_made(self, leaf: Any, number: int, read: Read) -> bool:
        made = self.made[number]
        return isinstance(leaf, Value) and read.number < len(made) and made[read.number].id == leaf.id

    def _may_begin(self, leaf: Any, number: int) -> bool:
        """Whether a value may stand for the one that the first round finds where others find what a round has made."""
        if not isinstance(leaf, Value) or leaf.kind is ValueKind.SIZE or leaf.id in self.number_of:
            return False
        made = {(found[number].shape, found[number].dtype) for found in self.made if number < len(found)}
        return made == {(leaf.shape, leaf.dtype)}

    def uses(self) -> tuple[dict[int, bool], frozenset[int], frozenset[int]]:
        """What is read behind the loop: in lists of all rounds, of single rounds, and of the last alone."""
        inside = {inner.id for calls in self.rounds for node in calls for inner in node.walk()}
        listed: dict[int, bool] = {}
        single: set[tuple[int, int]] = set()
        for node in self.graph.walk():
            if node.id not in inside:
                for tree in (node.args, dict(node.kwargs), node.outputs):
                    rest = self.without_lists(tree, listed) if opens_lists(node) else tree
                    single |= {self.number_of[v.id] for v in values(rest) if v.id in self.number_of}
        ends = [self.graph.outputs, [after for _, after in self.graph.states]]
        single |= {self.number_of[v.id] for v in values(ends) if v.id in self.number_of}
        indexed = frozenset(which for number, which in single if number != len(self.rounds) - 1)
        return listed, indexed, frozenset(which for _, which in single) - indexed

    def without_lists(self, tree: Any, listed: dict[int, bool]) -> Any:
        """A tree without the values of all rounds in its lists, which are noted."""

        def drop(items: Sequence[Any]) -> list[Any]:
            kept = []
            for item in self.bundled(items, None):
                if isinstance(item, Bundle):
                    listed[item.number] = item.backwards
                else:
                    kept.append(item)
            return kept

        return map_lists(drop, tree)

    def bundled(self, items: Sequence[Any], only: Collection[int] | None) -> list[Any]:
        """The items of a list, in place of the values of all rounds in a row a `Bundle`.

        Args:
            items: the list.
            only: which values are known to be in lists, which tells a round alone; None: those of several rounds.
        """
        found: list[Any] = []
        place = 0
        while place < len(items):
            bundle = self._bundle(items[place:])
            is_clear = len(self.rounds) > 1 or only is not None
            taken = bundle is not None and is_clear and (only is None or bundle.number in only)
            found.append(bundle if taken else items[place])
            place += len(self.rounds) if taken else 1
        return found

    def _bundle(self, items: Sequence[Any]) -> Bundle | None:
        count = len(self.rounds)
        here = [self.number_of.get(v.id) if isinstance(v, Value) else None for v in items[:count]]
        if len(here) < count or here[0] is None:
            return None
        numbers = range(count)
        for backwards in (False, True):
            if here == [(number, here[0][1]) for number in (reversed(numbers) if backwards else numbers)]:
                return Bundle(here[0][1], backwards)
        return None


@dataclass(frozen=True)
class Bundle:
    """The values of one number that all rounds made, in a list; `backwards` if the last round comes first."""

    number: int
    backwards: bool


def opens_lists(node: Node) -> bool:
    """Whether a call may be given what all rounds made as one tensor: it joins them, or passes them on."""
    return bool(node.children) or is_joining(node)


def is_joining(node: Node) -> bool:
    """Whether a call stacks or concatenates tensors."""
    return not node.children and name_of(node.op) in _JOINING


def map_lists(fn: Callable[[Sequence[Any]], list[Any]], tree: Any) -> Any:
    """A tree with its lists and tuples of tensors, at any depth, replaced by what `fn` makes of them."""
    if type(tree) in (list, tuple):
        return type(tree)(map_lists(fn, item) for item in fn(tree))
    if type(tree) is dict:
        return {key: map_lists(fn, item) for key, item in tree.items()}
    return tree


def swapped(node: Node, swap: Mapping[int, Value]) -> Node:
    """A call, with all that it makes, in which some values stand for others."""
    if not swap:
        return node

    def instead(tree: Any) -> Any:
        return map_leaves(lambda leaf: swap.get(leaf.id, leaf) if isinstance(leaf, Value) else leaf, tree)

    children = tuple(swapped(child, swap) for child in node.children)
    args, kwargs, outputs, writes = map(instead, (node.args, dict(node.kwargs), node.outputs, node.writes))
    return replace(node, args=args, kwargs=kwargs, outputs=outputs, writes=writes, children=children)


def seen_in(node: Node) -> list[Any]:
    """What a call was given, gave and wrote, leaf by leaf."""
    return list(leaves((node.args, dict(node.kwargs), node.outputs, node.writes)))


def _made_in(calls: Round) -> list[Value]:
    """The values that calls make: not those that they only pass on."""
    found: dict[int, Value] = {}
    for node in calls:
        for inner in node.walk():
            if not inner.children:
                given = {v.id for v in (*inner.inputs, *(before for before, _ in inner.writes))}
                new = (*inner.results, *(after for _, after in inner.writes))
                found.update((v.id, v) for v in new if v.id not in given)
    return list(found.values())
