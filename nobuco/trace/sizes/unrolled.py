"""The rounds of a loop in one run, call by call, and what each argument in them is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from nobuco.ir import Graph, Node, Value, ValueKind, leaves, map_leaves, values
from nobuco.registry import operation_name
from nobuco.trace.calls import name_of
from nobuco.trace.sizes.alike import same

Round = Sequence[Node]
# So many rounds tell how they hang together.
_FEWEST = 3
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
        return [list(made_in(calls)) for calls in self.rounds]

    @cached_property
    def number_of(self) -> dict[int, tuple[int, int]]:
        """The number of the round, and of the value in it, by the id of each value made."""
        return {v.id: (number, place) for number, found in enumerate(self.made) for place, v in enumerate(found)}

    @cached_property
    def is_alike(self) -> bool:
        """Whether all rounds make the same calls, with all that these make, and with arguments in the same places."""
        first, *others = (
            [(form_of(inner), *_about(inner)) for node in calls for inner in node.walk()] for calls in self.rounds
        )
        return all(other == first for other in others)

    @cached_property
    def varying(self) -> frozenset[int]:
        """The numbers of the sizes that are not the same in all rounds."""
        kept = self.graph.samples.kept
        return frozenset(
            number
            for number, found in enumerate(zip(*self.made))
            if found[0].kind is ValueKind.SIZE and len({kept.get(value.id) for value in found}) > 1
        )

    def reads(self) -> tuple[Read, ...] | None:
        """What each argument of a round is; None where one is nothing that can be followed, or there are few rounds."""
        has_loops = any(inner.regions for calls in self.rounds for node in calls for inner in node.walk())
        if len(self.rounds) < _FEWEST or has_loops or not self.is_alike:
            return None
        candidates = [self._read(place) for place in range(len(self.leaves[0]))]
        reads = tuple(read for read in candidates if read is not None)
        return reads if len(reads) == len(candidates) and self.fit(reads) else None

    def _read(self, place: int) -> Read | None:
        first, second = self.leaves[0][place], self.leaves[1][place]
        candidates = [Read(Role.SAME)]
        if isinstance(second, Value) and second.id in self.number_of:
            number, which = self.number_of[second.id]
            candidates.append(Read(Role.MADE if number == 1 else Role.CARRIED, which))
        if type(first) is type(second) is int:
            candidates.append(Read(Role.NUMBER, second - first))
        return next((read for read in candidates if self._plays(read, place)), None)

    def fit(self, reads: Sequence[Read]) -> bool:
        """Whether there are rounds whose arguments are these, and one value is what each is before the first."""
        if not self.rounds or not self.is_alike or len(self.leaves[0]) != len(reads):
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

    def uses(self) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
        """What is read behind the loop: in lists of all rounds, of single rounds, and of the last alone."""
        inside = {inner.id for calls in self.rounds for node in calls for inner in node.walk()}
        listed: set[int] = set()
        single: set[tuple[int, int]] = set()
        for node in self.graph.walk():
            if node.id not in inside:
                for tree in (node.args, dict(node.kwargs), node.outputs):
                    rest = self.without_lists(tree, listed) if opens_lists(node) else tree
                    single |= {self.number_of[v.id] for v in values(rest) if v.id in self.number_of}
        ends = [self.graph.outputs, [after for _, after in self.graph.states]]
        single |= {self.number_of[v.id] for v in values(ends) if v.id in self.number_of}
        indexed = frozenset(which for number, which in single if number != len(self.rounds) - 1)
        return frozenset(listed), indexed, frozenset(which for _, which in single) - indexed

    def without_lists(self, tree: Any, listed: set[int]) -> Any:
        """A tree without the values of all rounds in its lists, which are noted."""

        def drop(items: Sequence[Any]) -> list[Any]:
            kept = []
            for item in self.bundled(items, None):
                if isinstance(item, Bundle):
                    listed.add(item.number)
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


def form_of(node: Node) -> tuple[Any, ...]:
    """What tells a call from others: what is called, and on which line."""
    return operation_name(node.op), node.path, node.site


def _about(node: Node) -> tuple[Any, ...]:
    """What else makes a call what it is, but for the leaves of what it was given and gave."""
    trees = (node.args, dict(node.kwargs), node.outputs, node.writes)
    return id(node.module), node.autocast, node.rebound, len(node.children), map_leaves(lambda _: None, trees)


def seen_in(node: Node) -> list[Any]:
    """What a call was given, gave and wrote, leaf by leaf."""
    return list(leaves((node.args, dict(node.kwargs), node.outputs, node.writes)))


def made_in(calls: Round) -> list[Value]:
    """The values that calls make: not those that they only pass on."""
    found: dict[int, Value] = {}
    for node in calls:
        for inner in node.walk():
            if not inner.children:
                given = {v.id for v in (*inner.inputs, *(before for before, _ in inner.writes))}
                new = (*inner.results, *(after for _, after in inner.writes))
                found.update((v.id, v) for v in new if v.id not in given)
    return list(found.values())
