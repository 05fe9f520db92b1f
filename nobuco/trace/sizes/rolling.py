"""Rolling a loop up: in one run, its rounds are replaced by a call of `scan`.

The body is the first round, for the number of the round and what it carries. What lies behind the loop is given what
the last round made, or, where it joined what all rounds made, or looked at one of them, all of it in one tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import Any

import torch

from nobuco.ir import Graph, Guard, Node, Value, ValueKind, map_leaves, values
from nobuco.trace.sizes.formulas import ROUNDS
from nobuco.trace.sizes.loops import Loop, row
from nobuco.trace.sizes.unlisted import unlisted
from nobuco.trace.sizes.unrolled import Bundle, Role, Rounds, is_joining, map_lists, opens_lists, swapped

_SCAN = torch.ops.higher_order.scan


def rolled(graph: Graph, loop: Loop) -> Graph | None:
    """A run with a loop as one call; None where its rounds do not hang together as the loop's do."""
    rounds = Rounds(graph, loop.rounds(graph))
    if not rounds.fit(loop.reads):
        return None
    try:
        return _Roller(graph, loop, rounds).graph_rolled()
    except _UnlikeError:
        return None


def all_rolled(graph: Graph, loops: Sequence[Loop]) -> Graph:
    """A run with these loops rolled up, or as it is if it makes others."""
    after = unlisted(graph)
    for loop in loops:
        following = rolled(after, loop)
        if following is None:
            return _missing(graph, after, loop)
        after = following
    return after


def _missing(graph: Graph, before: Graph, loop: Loop) -> Graph:
    """A run that a loop is not rolled up in, with how many rounds it made as a decision where these are too few."""
    missed = loop.missed(before)
    if missed is None:
        return graph
    made, behind = missed
    ids = [abs(node.id) for node in graph.walk()]
    size = Value(max(ids, default=0) + 1_000_000, ValueKind.SIZE, (), "int32")
    position = next((node.id for node in row(before, loop.row)[behind:]), max(ids, default=0))
    return replace(graph, guards=_with_guard(graph.guards, Guard(size, ROUNDS, None, made, loop.site, position)))


def _with_guard(guards: Sequence[Guard], guard: Guard) -> tuple[Guard, ...]:
    """Decisions with one more, in its place among them."""
    before = [other for other in guards if other.position < guard.position]
    return (*before, guard, *guards[len(before) :])


class _UnlikeError(Exception):
    """A run reads of a loop what others do not."""


@dataclass
class _Roller:
    """One run while its loop is rolled up. `fresh` are the values of the body by those of the first round.

    `outside` has the ids of what calls give that the rounds were made in.
    """

    graph: Graph
    loop: Loop
    rounds: Rounds
    samples: dict[int, Any] = field(default_factory=dict)
    fresh: dict[int, Value] = field(default_factory=dict)
    outside: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        ids = [i for node in self.graph.walk() for i in (abs(node.id), *(v.id for v in node.results))]
        self._ids = count(max([*ids, *self.graph.samples.kept]) + 1_000_000)
        self.index = self._value(ValueKind.SIZE, (), "int32", 0)
        self.total = self._value(ValueKind.SIZE, (), "int32", len(self.rounds.rounds) + self.loop.skipped)
        self.begins = self.loop.begins(self.graph)
        self.holders = {number: self._like(self.begins[number], self.begins[number]) for number in self.loop.carried}
        self.stacks = {number: self._stack(number) for number in self.loop.stacked}

    def graph_rolled(self) -> Graph:
        """The run with the loop as one call."""
        body, dynamic = self._body()
        nodes = self._outside(self.graph.nodes, self._scan(body))
        kept = {v.id: v for v in values((self.graph.outputs, [after for _, after in self.graph.states]))}
        last = {self.rounds.made[-1][number].id for number in self.loop.carried}
        if any(id in self.rounds.number_of and id not in last for id in kept):
            nodes = (*nodes, *self._given_out([v for v in kept.values() if v.id not in last]))
        return replace(
            self.graph,
            nodes=nodes,
            samples=self.graph.samples.plus(self.samples),
            guards=self._all_guards(),
            dynamic=self.graph.dynamic | dynamic,
        )

    # -- values -------------------------------------------------------------------------------------------

    def _value(self, kind: ValueKind, shape: tuple[int, ...], dtype: str, sample: Any = None) -> Value:
        value = Value(next(self._ids), kind, shape, dtype)
        if sample is not None:
            self.samples[value.id] = sample
        return value

    def _like(self, value: Value, sampled: Value) -> Value:
        """A new value that looks like another one, and was in the example what `sampled` was."""
        kind = ValueKind.SIZE if value.kind is ValueKind.SIZE else ValueKind.RESULT
        samples = self.graph.samples
        return self._value(kind, value.shape, value.dtype, samples.get(sampled.id))

    def _stack(self, number: int) -> Value:
        """What all rounds made of a value, in a new first dimension."""
        made = [found[number] for found in self.rounds.made]
        if len({value.shape for value in made}) > 1:
            raise _UnlikeError
        samples = [self.graph.samples[v.id] for v in made if v.id in self.graph.samples]
        sample = torch.stack(samples) if len(samples) == len(made) else None
        return self._value(ValueKind.RESULT, (len(made), *made[0].shape), made[0].dtype, sample)

    def _call(self, op: Callable[..., Any], args: tuple[Any, ...], outputs: Any, **about: Any) -> Node:
        return Node(-next(self._ids), op, args, about.pop("kwargs", {}), outputs, self.loop.site, **about)

    # -- the call of scan -----------------------------------------------------------------------------------

    def _scan(self, body: Sequence[Node]) -> tuple[Node, ...]:
        made, last = self.rounds.made[0], self.rounds.made[-1]
        rounds = len(self.rounds.rounds)
        numbers = self._value(ValueKind.RESULT, (rounds,), "int32", torch.arange(rounds, dtype=torch.int32))
        carried = [self.fresh[made[number].id] for number in self.loop.carried]
        stacked = [self.fresh[made[number].id] for number in self.loop.stacked]
        count = self._value(ValueKind.SIZE, (), "int32", rounds)
        # Python's range of less than nothing is empty; the skipped rounds are made in any case.
        counting = (operator.sub, (self.total, self.loop.skipped)) if self.loop.skipped else (max, (self.total, 0))
        region = Graph(tuple(body), (*self.holders.values(), self.index), (*carried, *stacked), self.graph.samples)
        outputs = (*(last[number] for number in self.loop.carried), *self.stacks.values())
        begins = tuple(self.begins[number] for number in self.loop.carried)
        return (
            self._call(operator.index, (rounds + self.loop.skipped,), self.total),
            self._call(*counting, count),
            self._call(torch.arange, (count,), numbers, kwargs={"dtype": torch.int32}),
            self._call(_SCAN, (begins, (numbers,), ()), outputs, regions=(region,)),
        )

    def _body(self) -> tuple[list[Node], frozenset[int]]:
        """The first round for any round, and the ids of its sizes that are not the same in all."""
        first = self.rounds.made[0]
        self.fresh.update((v.id, self._like(v, v)) for v in first)
        queue = iter(list(zip(self.loop.reads, self.rounds.leaves[0])))
        numbers: list[Node] = []
        dynamic = {self.index.id}

        def read() -> Any:
            how, leaf = next(queue)
            match how.role:
                case Role.MADE:
                    return self.fresh[leaf.id]
                case Role.CARRIED:
                    return self.holders[how.number]
                case Role.NUMBER:
                    numbers.extend(self._number(leaf, how.number, how.from_zero))
                    found = numbers[-1].outputs if how.number != 1 or not how.from_zero else self.index
                    dynamic.add(found.id)
                    return found
            return leaf

        calls = [self._rewritten(node, read) for node in self.rounds.rounds[0]]
        dynamic |= {node.outputs.id for node in numbers} | {self.fresh[first[n].id].id for n in self.loop.varying}
        return [*numbers, *calls], frozenset(dynamic)

    def _number(self, start: int, by: int, from_zero: bool) -> Iterator[Node]:
        """The calls that make a number of the number of the round."""
        grown = self.index
        if by != 1:
            grown = self._value(ValueKind.SIZE, (), "int32", 0)
            yield self._call(operator.mul, (self.index, by), grown)
        if not from_zero:
            yield self._call(operator.add, (grown, start), self._value(ValueKind.SIZE, (), "int32", start))

    def _rewritten(self, node: Node, read: Callable[[], Any]) -> Node:
        """A call of the first round with what it reads in any round; calls are met outermost first."""
        given = (node.args, dict(node.kwargs), node.outputs, node.writes)
        args, kwargs, outputs, writes = map_leaves(lambda _: read(), given)
        children = tuple(self._rewritten(child, read) for child in node.children)
        return replace(
            node, id=-next(self._ids), args=args, kwargs=kwargs, outputs=outputs, writes=writes, children=children
        )

    # -- behind the loop ------------------------------------------------------------------------------------

    def _outside(self, nodes: Sequence[Node], scan: Sequence[Node]) -> tuple[Node, ...]:
        """Calls with those of the rounds replaced, and what they read of these."""
        first = self.rounds.rounds[0][0]
        inside = {node.id for calls in self.rounds.rounds for node in calls}
        found: list[Node] = []
        for node in nodes:
            if node is first:
                found += scan
            elif node.id not in inside:
                found += self._reading(node, scan)
        return tuple(found)

    def _reading(self, node: Node, scan: Sequence[Node]) -> list[Node]:
        """A call outside of the loop, behind those that it needs to read what rounds made."""
        if opens_lists(node):
            args, kwargs = map_lists(self._bundled, (node.args, dict(node.kwargs)))
            outputs = map_lists(self._bundled, node.outputs)
            changed = replace(node, args=args, kwargs=kwargs, outputs=outputs)
        else:
            changed = node
        picks, swap = self._picks(values((changed.args, changed.kwargs, [before for before, _ in node.writes])))
        changed = swapped(changed, swap)
        if node.children:
            inner = (*self._outside(changed.children, scan), *self._given_out(values(changed.outputs)))
            whole = map_leaves(self._whole, (changed.args, dict(changed.kwargs), changed.outputs))
            return [*picks, replace(changed, args=whole[0], kwargs=whole[1], outputs=whole[2], children=inner)]
        if is_joining(node) and any(isinstance(leaf, Bundle) for leaf in _leaves(changed)):
            return [*picks, *self._joined(changed)]
        return [*picks, changed]

    def _bundled(self, items: Sequence[Any]) -> list[Any]:
        return self.rounds.bundled(items, self.loop.listed)

    def _whole(self, leaf: Any) -> Any:
        return self.stacks[leaf.number] if isinstance(leaf, Bundle) else leaf

    def _picks(self, read: Sequence[Value]) -> tuple[list[Node], dict[int, Value]]:
        """The calls that take what a round made out of what all made, and what stands for it; each reader has its own.

        None of what the loop carries to its end.
        """
        calls: list[Node] = []
        swap: dict[int, Value] = {}
        for value in read:
            place = self.rounds.number_of.get(value.id)
            if place is None or value.id in swap or value.id in self.outside:
                continue
            number, which = place
            is_last = number == len(self.rounds.rounds) - 1 and which not in self.loop.indexed
            if is_last and which in self.loop.carried:
                continue
            if which not in self.stacks:
                raise _UnlikeError
            swap[value.id] = self._like(value, value)
            calls.append(self._call(torch.select, (self.stacks[which], 0, -1 if is_last else number), swap[value.id]))
        return calls, swap

    def _given_out(self, ends: Sequence[Value]) -> list[Node]:
        """The calls that take what a call, or the program, gives out of what all rounds made."""
        calls, swap = self._picks(ends)
        self.outside |= swap.keys()
        return [replace(call, outputs=value) for call, value in zip(calls, [v for v in ends if v.id in swap])]

    def _joined(self, node: Node) -> list[Node]:
        """A call of `stack` or `cat` of tensors, of which some are what all rounds made."""
        args = dict(zip(("tensors", "dim"), node.args)) | dict(node.kwargs)
        items, dim = (
            list(args["tensors"] if "tensors" in args else args["arrays"]),
            args.get("dim", args.get("axis", 0)),
        )
        is_stack = getattr(node.op, "__name__", "") == "stack"
        rank = node.results[0].rank
        if type(dim) is not int:
            raise _UnlikeError
        dim %= rank
        calls: list[Node] = []
        parts: list[Value] = []
        for item in items:
            made = self._along(item, dim, is_stack) if isinstance(item, Bundle) else self._alone(item, dim, is_stack)
            calls += made
            parts.append(made[-1].outputs if made else item)
        if len(parts) == 1:
            return [*calls[:-1], replace(node, op=calls[-1].op, args=calls[-1].args, kwargs={})]
        return [*calls, replace(node, op=torch.cat, args=(parts, dim), kwargs={})]

    def _along(self, bundle: Bundle, dim: int, is_stack: bool) -> list[Node]:
        """What all rounds made, one behind the other along a dimension, a new one if it `is_stack`."""
        whole, calls = self.stacks[bundle.number], list[Node]()
        if bundle.backwards:
            calls.append(self._step(torch.flip, (whole, [0]), whole.shape, whole.dtype))
            whole = calls[-1].outputs
        count, *shape = whole.shape
        shape.insert(dim, count)
        calls.append(self._step(torch.movedim, (whole, 0, dim), shape, whole.dtype))
        if not is_stack:
            joined = [*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :]]
            calls.append(self._step(torch.flatten, (calls[-1].outputs, dim, dim + 1), joined, whole.dtype))
        return calls

    def _alone(self, item: Value, dim: int, is_stack: bool) -> list[Node]:
        if not is_stack:
            return []
        shape = [*item.shape[:dim], 1, *item.shape[dim:]]
        return [self._step(torch.unsqueeze, (item, dim), shape, item.dtype)]

    def _step(self, op: Callable[..., Any], args: tuple[Any, ...], shape: Sequence[int], dtype: str) -> Node:
        """A call, with what it gave in the example if what it is given is known."""
        known = self.samples.get(args[0].id, self.graph.samples.get(args[0].id))
        sample = None if known is None else op(known, *args[1:])
        return self._call(op, args, self._value(ValueKind.RESULT, tuple(shape), dtype, sample))

    def _all_guards(self) -> tuple[Guard, ...]:
        """The decisions, with one that the skipped rounds are made."""
        skipped = self.loop.skipped_rounds(self.graph)
        guards = tuple(self._guards())
        if not skipped:
            return guards
        begin = skipped[0][0].id
        return _with_guard(guards, Guard(self.total, ROUNDS, None, len(skipped), self.loop.site, begin))

    def _guards(self) -> Iterator[Guard]:
        """The decisions, those of the first round in place of those of all: each has to go the same way for good."""
        rounds = self.rounds.rounds
        starts = [min(inner.id for node in calls for inner in node.walk()) for calls in rounds]
        end = max(inner.id for node in rounds[-1] for inner in node.walk())
        within: dict[Any, list[Guard]] = {}
        for guard in self.graph.guards:
            if starts[0] <= guard.position <= end:
                within.setdefault(guard.place, []).append(guard)
        # That of the first round is not among them where nothing was called in the round before it.
        repeated = [guards for guards in within.values() if len(guards) >= len(rounds) - 1 > 0]
        needless = [guard for guards in repeated for guard in self._needless(guards, end)]
        dropped = {id(guard) for guard in needless if guard.position >= starts[1]}
        for guard in self.graph.guards:
            if id(guard) not in dropped:
                size, other = (self._of_first(leaf) for leaf in (guard.size, guard.other))
                yield replace(guard, size=size, other=other)

    def _of_first(self, leaf: Any) -> Any:
        """What a decision is about, in the body if the first round made it."""
        if not isinstance(leaf, Value) or leaf.id not in self.rounds.number_of:
            return leaf
        if leaf.id not in self.fresh:
            raise _UnlikeError
        return self.fresh[leaf.id]

    def _needless(self, guards: Sequence[Guard], end: int) -> Iterator[Guard]:
        """Those of the decisions at one place that say no more than the number of rounds does.

        Each goes the same way in all rounds, and would in further ones, since what it compares stays as far apart or
        drifts apart; or it is what ends the loop, and that of the last round may go the other way.
        """
        each = -(-len(guards) // len(self.rounds.rounds))
        later = next((g for g in self.graph.guards if g.position > end and g.place == guards[0].place), None)
        for first in range(each):
            ones = guards[len(guards) - 1 - first :: -each][::-1]
            alike = [guard for guard in ones if guard.outcome == ones[0].outcome]
            ends = len(alike) < len(ones) or (later is not None and later.outcome != ones[0].outcome)
            distances = [self._distance(guard) for guard in alike]
            if alike != list(ones[: len(alike)]) or not (ends or _stays(distances)):
                raise _UnlikeError
            yield from ones if len(alike) == len(ones) - 1 else alike

    def _distance(self, guard: Guard) -> Any:
        """How far apart the two are that a decision compares, or the size that it is about."""
        size, other = (
            self.graph.samples.kept.get(v.id) if isinstance(v, Value) else v for v in (guard.size, guard.other)
        )
        if not isinstance(size, (int, float)):
            return None
        return size - other if isinstance(other, (int, float)) else size


def _stays(distances: Sequence[Any]) -> bool:
    """Whether distances are the same, or grow and keep their sign, whose first may be 0."""
    if len(set(distances)) == 1:
        return True
    return all(isinstance(d, (int, float)) for d in distances) and all(
        abs(one) < abs(other) and one * other >= 0 for one, other in pairwise(distances)
    )


def _leaves(node: Node) -> Iterator[Any]:
    """The items of a call's lists, and its other arguments."""
    for tree in (*node.args, *node.kwargs.values()):
        yield from tree if isinstance(tree, (list, tuple)) else (tree,)
