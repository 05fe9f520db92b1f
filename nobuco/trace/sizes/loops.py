"""Loops over a dynamic size: the rounds that a run made become one call of `scan`, whose body is a round.

Python shows nothing of a loop; a run at another size just makes more calls. Where all runs make the same calls, some
of them over and over, and what a round reads tells how rounds hang together, it is a loop. A round may read what was
there before the loop, what it made itself, what the round before it made, and numbers that grow evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from nobuco.ir import Graph, Node, Site, Value
from nobuco.trace.sizes.repeats import Part, begun, pattern, rounds
from nobuco.trace.sizes.unrolled import Read, Role, Round, Rounds, form_of

_MOST_LOOPS = 16
# The first rounds may be unlike the others: `h` is None, or a number, before them.
_MOST_SKIPPED = 2
# A round may itself make the same calls so many times, as for two layers.
_MOST_WITHIN = 4


@dataclass(frozen=True)
class Loop:
    """A loop of a program: where it stands, and how its rounds hang together.

    `row` are the numbers of the calls, outermost first, in which it stands; `parts` the calls there, `part` the number
    of the one that it is. `reads` are the arguments of a round. Of the values that a round makes, by their numbers:
    `listed` are in lists behind the loop, those of all rounds together; `indexed` those that are asked of a round that
    is not the last, `last` those of the last alone; `replacing` those that a skipped round made in the same form;
    `varying` are sizes that are not the same in all rounds.
    """

    row: tuple[int, ...]
    parts: tuple[Part, ...]
    part: int
    skipped: int
    reads: tuple[Read, ...] = ()
    listed: frozenset[int] = frozenset()
    indexed: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    replacing: frozenset[int] = frozenset()
    varying: frozenset[int] = frozenset()

    @cached_property
    def carried(self) -> tuple[int, ...]:
        """The values that the next round reads, or that replace what a skipped round made."""
        read = (read.number for read in self.reads if read.role is Role.CARRIED)
        return tuple(dict.fromkeys([*read, *sorted(self.replacing)]))

    @cached_property
    def stacked(self) -> tuple[int, ...]:
        """The values of which those of all rounds are given out."""
        return tuple(sorted(self.listed | self.indexed | (self.last - {*self.carried})))

    @property
    def site(self) -> Site:
        """The line of its first call."""
        _, _, site = self.parts[self.part].calls[0]
        return site

    def rounds(self, graph: Graph) -> list[Round]:
        """The rounds that a run made; none if it made other calls than these."""
        return self._rounds(graph)[self.skipped :]

    def skipped_rounds(self, graph: Graph) -> list[Round]:
        """The first rounds of a run, which stay as they are."""
        return self._rounds(graph)[: self.skipped]

    def missed(self, graph: Graph) -> tuple[int, int] | None:
        """Of a run that does not even make the skipped rounds: how many it makes, and the number of the next call."""
        nodes = row(graph, self.row)
        parts = self.parts[: self.part + 1]
        counts = begun(tuple(map(form_of, nodes)), parts)
        if len(counts) < len(parts) or counts[-1] >= self.skipped:
            return None
        return counts[-1], sum(len(part.calls) * count for part, count in zip(parts, counts))

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
        counts = rounds(tuple(map(form_of, nodes)), self.parts)
        if counts is None:
            return []
        length = len(self.parts[self.part].calls)
        start = sum(len(part.calls) * count for part, count in zip(self.parts[: self.part], counts))
        return [nodes[start + n * length : start + (n + 1) * length] for n in range(counts[self.part])]


def loops_in(graphs: Sequence[Graph], rolled: Callable[[Graph, Loop], Graph | None]) -> tuple[Loop, ...]:
    """The loops that runs of a program made more or fewer rounds of; the first run is that on the example."""
    loops: list[Loop] = []
    while len(loops) < _MOST_LOOPS:
        loop = _first_loop(graphs, ())
        after = [] if loop is None else [rolled(graph, loop) for graph in graphs]
        if loop is None or after[0] is None:
            break
        loops.append(loop)
        graphs = [graph for graph in after if graph is not None]
    return tuple(loops)


def row(graph: Graph, numbers: Sequence[int]) -> Sequence[Node]:
    """The calls that a call makes which is reached by these numbers."""
    nodes: Sequence[Node] = graph.nodes
    for number in numbers:
        nodes = nodes[number].children if number < len(nodes) else ()
    return nodes


def _first_loop(graphs: Sequence[Graph], numbers: tuple[int, ...]) -> Loop | None:
    rows = [row(graph, numbers) for graph in graphs]
    if len({sum(1 for node in nodes for _ in node.walk()) for nodes in rows}) == 1:
        return None
    calls = [tuple(map(form_of, nodes)) for nodes in rows]
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
    if not Rounds(graphs[0], loop.rounds(graphs[0])).fit(loop.reads):
        return None
    starts = [Rounds(graph, loop.rounds(graph)) for graph in graphs]
    zero = [
        all(one.fit(loop.reads) and one.leaves[0][i] == 0 for one in starts if one.rounds) for i in range(len(reads))
    ]
    reads = tuple(replace(read, from_zero=read.role is Role.NUMBER and is0) for read, is0 in zip(reads, zero))
    listed, indexed, last = made.uses()
    kept = frozenset.intersection(
        *(_replaced(loop.skipped_values(one.graph), one) for one in starts if one.fit(loop.reads))
    )
    return replace(
        loop, reads=reads, listed=listed, indexed=indexed, last=last, replacing=kept & (listed | indexed | last),
        varying=made.varying,
    )  # fmt: skip


def _replaced(before: Mapping[int, Value], made: Rounds) -> frozenset[int]:
    """The numbers of the values of a round that have the same form in all rounds, and before them."""
    forms = {number: {_form(v), *(_form(found[number]) for found in made.made)} for number, v in before.items()}
    return frozenset(number for number, found in forms.items() if len(found) == 1)


def _form(value: Value) -> tuple[Any, ...]:
    return value.shape, value.dtype, value.kind
