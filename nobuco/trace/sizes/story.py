"""All runs of a program side by side: which decisions went otherwise in which run, and where that is not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nobuco.ir import Graph, Guard, Node, Site, Value, ValueKind
from nobuco.trace.sizes.formulas import ROUNDS, Formula, Formulas
from nobuco.trace.sizes.reruns import Rerun

_INEQUALITIES = ("lt", "le", "gt", "ge")


@dataclass(frozen=True)
class Story:
    """All runs of a program. `axes` are the example's lengths of the dynamic axes, `names` the names of the inputs.

    `ways` tells of each run that PyTorch could make where it first parts from the example's.

    `same` are the runs at other sizes that made the same calls, `recounted` those with other numbers of elements chosen
    that did; `recounted_apart` are those that made other calls, each with the first that it did not make.

    `unlike` are the ids of runs that made the same calls with arguments that could not be followed and are not the
    example's.
    """

    graph: Graph
    names: Sequence[str]
    axes: Mapping[tuple[int, int], int]
    formulas: Formulas
    runs: Sequence[Rerun]
    ways: Sequence[tuple[Node, int] | None]
    same: Sequence[Graph]
    recounted: Sequence[Graph]
    recounted_apart: Sequence[tuple[Graph, Node]]
    unlike: frozenset[int] = frozenset()

    def told_of(self, unlike: Sequence[bool]) -> Story:
        """The story with which of `same` gave arguments that could not be followed and are not the example's."""
        same = [run for run, way in zip([run for run in self.runs if run.graph is not None], self.ways) if way is None]
        return replace(self, unlike=frozenset(id(run) for run, is_unlike in zip(same, unlike) if is_unlike))

    @property
    def apart(self) -> list[tuple[Rerun, Node]]:
        """The runs that made other calls, each with the first call that it did not make."""
        ran = [run for run in self.runs if run.graph is not None]
        return [(run, way[0]) for run, way in zip(ran, self.ways) if way is not None]

    @property
    def _apart_filled(self) -> list[tuple[Rerun, Node]]:
        """Those of inputs with elements: that nothing gives what it gave does not tell what a decision is worth."""
        return [(run, node) for run, node in self.apart if all(run.sizes.values())]

    def name(self, place: tuple[int, int]) -> str:
        """A dynamic axis in words."""
        return f"{self.names[place[0]]}.shape[{place[1]}]"

    @property
    def failing(self) -> list[Guard]:
        """The last decisions that went otherwise in runs which ended in an error, one of each region that is known."""
        last = [self.graph.guards[numbers[-1]] for run, numbers in self.turned if run.graph is None and numbers]
        known = (g for g in last if id(g) not in self.varying and self.formulas.outcomes(g) is not None)
        return list({self.formulas.region(guard): guard for guard in known}.values())

    @cached_property
    def varying(self) -> set[int]:
        """The ids of decisions between a size and a number that was another in other runs: what it is, is not known."""
        found = set[int]()
        for run in self.runs:
            for _, mine, theirs in aligned(self.graph.guards, run.guards):
                if not isinstance(mine.other, Value) and mine.other != theirs.other:
                    found.add(id(mine))
        return found

    @property
    def unchanged(self) -> list[tuple[int, int]]:
        """The dynamic axes that were as long as in the example in every run that PyTorch could make."""
        ran = [run.sizes for run in self.runs if run.graph is not None]
        return [place for place, mine in self.axes.items() if ran and all(sizes[place] == mine for sizes in ran)]

    @cached_property
    def turned(self) -> list[tuple[Rerun, tuple[int, ...]]]:
        """Of each run, the numbers of the decisions that went otherwise than in the example."""
        return [(run, tuple(turned_in(self.graph.guards, run.guards))) for run in self.runs]

    @cached_property
    def _numbers(self) -> dict[int, dict[int, Any]]:
        """What the example's sizes were in each other run, as far as that made the same calls, by the id of the run."""
        resized = [run.graph for run in self.runs if run.graph is not None]
        graphs = [*resized, *self.same, *self.recounted, *(other for other, _ in self.recounted_apart)]
        return {id(other): dict(_sizes_in(self.graph, other)) for other in graphs}

    def sizes(self) -> Iterator[tuple[Value, Formula]]:
        """The sizes that are known and not the same everywhere, in order."""
        for node in self.graph.walk():
            for size in node.results if node.results and node.results[0].kind is ValueKind.SIZE else ():
                formula = self.formulas.of(size)
                if formula is not None and not formula.is_constant:
                    yield size, formula

    def numbers_of(self, size: Value, others: Sequence[Graph]) -> list[Any]:
        """What a size was in other runs; None in one that did not come so far."""
        return [self._numbers[id(other)].get(size.id) for other in others]

    @cached_property
    def deciding(self) -> list[tuple[Guard, Rerun | None]]:
        """The decisions that other runs part by, each with such a run, and those that may go another way elsewhere."""
        parting = [(last_before(self, run, node), run) for run, node in self._apart_filled]
        found: list[tuple[Guard, Rerun | None]] = [(guard, run) for guard, run in parting if guard is not None]
        return [*found, *((guard, None) for guard, _ in self.open_guards)]

    @cached_property
    def open_guards(self) -> list[tuple[Guard, dict[tuple[int, int], int]]]:
        """The decisions that went one way in every run and would go the other way elsewhere, each with where."""
        tried = {tuple(run.sizes.values()) for run in self.runs}
        harmless, known = self._known
        regions = {self.formulas.region(guard) for guard in known}
        inside = self._inside(known)
        found: dict[tuple[Site, str], tuple[Guard, dict[tuple[int, int], int]]] = {}
        for guard in self.graph.guards:
            key = guard.place
            if (
                id(guard) in self.varying
                or guard.how == ROUNDS
                or self.is_counted(guard)
                or key in harmless
                or key in found
                or self.formulas.region(guard) in regions
            ):
                continue  # values decide about it, not sizes; or it is known what comes of it
            outcomes = self.formulas.outcomes(guard)
            if outcomes is None or np.all(outcomes | ~inside):
                continue
            sizes = self._sizes(self._smallest(outcomes | ~inside))
            if tuple(sizes.values()) not in tried:
                found[key] = guard, sizes
        return list(found.values())

    @property
    def _known(self) -> tuple[set[tuple[Site, str]], list[Guard]]:
        """The decisions of which is known what comes of them: nothing, by their lines; and those that runs part by.

        What went otherwise behind the call where a run parts does not tell. Nor does a run that ended in an error: it
        may have failed of something else.
        """
        parted = {id(run): node for run, node in self._apart_filled}
        last = {id(run): last_before(self, run, node) for run, node in self._apart_filled}
        harmless = set[tuple[Site, str]]()
        for run, numbers in (turned for turned in self.turned if all(turned[0].sizes.values())):
            for guard in (self.graph.guards[i] for i in numbers if run.graph is not None):
                node = parted.get(id(run))
                if id(run) in self.unlike:
                    continue
                if node is None or (guard.position <= node.id and guard is not last[id(run)]):
                    harmless.add(guard.place)
        return harmless, list({self.formulas.region(g): g for g in last.values() if g is not None}.values())

    def _inside(self, guards: Sequence[Guard]) -> Any:
        """Where these decisions go as in the example, at each combination of lengths; elsewhere others are not seen."""
        found = [self.formulas.outcomes(guard) for guard in guards]
        return np.all([np.broadcast_to(o, len(self.formulas.lengths[0])) for o in found if o is not None], axis=0)

    def is_counted(self, guard: Guard) -> bool:
        """Whether a decision is by how many elements were chosen."""
        sizes = (size for size in (guard.size, guard.other) if isinstance(size, Value))
        return any(size.id in self.formulas.counted for size in sizes)

    def other_way(self, reach: float) -> dict[tuple[int, int], int] | None:
        """Sizes to run at next, since an open decision goes the other way there; none that are `reach` times larger."""
        wanted = (*(sizes for _, sizes in self.open_guards), *self._beyond())
        return next((sizes for sizes in wanted if self._growth(sizes) <= reach), None)

    def _beyond(self) -> Iterator[dict[tuple[int, int], int]]:
        """Where inequalities that runs part by go the other way by more than one, if they did by that alone."""
        tried = {tuple(run.sizes.values()) for run in self.runs}
        regions = self.formulas.region
        last = [(run, guard) for run, node in self.apart if (guard := last_before(self, run, node)) is not None]
        clear = {regions(guard) for run, guard in last if not self._is_close(run, guard)}
        for guard in {regions(guard): guard for _, guard in last if regions(guard) not in clear}.values():
            outcomes = self.formulas.outcomes(guard, clearly=True)
            if outcomes is not None and not np.all(outcomes):
                sizes = self._sizes(self._smallest(outcomes))
                if tuple(sizes.values()) not in tried:
                    yield sizes

    def _is_close(self, run: Rerun, guard: Guard) -> bool:
        """Whether the two sides of an inequality were nearly equal in a run."""
        graph, theirs = run.graph, run.guards[self.graph.guards.index(guard)]
        if graph is None or guard.how not in _INEQUALITIES:
            return False
        mine, other = (graph.samples.kept.get(s.id) if isinstance(s, Value) else s for s in (theirs.size, theirs.other))
        return mine is not None and other is not None and abs(mine - other) <= 1

    def lengths_of(self, place: tuple[int, int]) -> Any:
        """The length of a dynamic axis in each combination that is looked at."""
        return next(n for axis, n in zip(self.formulas.axes, self.formulas.lengths) if place in axis.places)

    def among(self, combinations: Any, reach: float) -> dict[tuple[int, int], int] | None:
        """Sizes of such combinations, none `reach` times larger: of those that were not tried, in the middle."""
        lengths = np.array(self.formulas.lengths)
        mine = np.array([axis.lengths[0] for axis in self.formulas.axes])
        places = np.array([len(axis.places) for axis in self.formulas.axes])
        growth = np.prod((lengths / mine[:, None]) ** places[:, None], axis=0)
        tried = np.array([[run.sizes[axis.places[0]] for axis in self.formulas.axes] for run in self.runs])
        is_new = ~np.any(np.all(lengths.T[:, None] == tried[None], axis=2), axis=1)
        found = np.flatnonzero(combinations & is_new & (growth <= reach) & np.all(lengths > 0, axis=0))
        if not len(found):
            return None
        return self._sizes(lengths[:, found[np.argsort(growth[found], kind="stable")[len(found) // 2]]])

    def _sizes(self, lengths: Any) -> dict[tuple[int, int], int]:
        """Of each dynamic axis the length, where each group of equal axes has one of these."""
        number_of = {place: number for number, axis in enumerate(self.formulas.axes) for place in axis.places}
        return {place: int(lengths[number_of[place]]) for place in self.axes}

    def is_kept_in(self, guard: Guard, run: Rerun) -> bool:
        """Whether a decision, by what is known of its sizes, would go as in the example at the sizes of a run."""
        outcomes = self.formulas.outcomes(guard)
        if outcomes is None or run.graph is None:
            return False
        number = [other for other in self.runs if other.graph is not None].index(run)
        return bool(np.broadcast_to(outcomes, len(self.formulas.lengths[0]))[1 + number])

    def _growth(self, sizes: Mapping[tuple[int, int], int]) -> float:
        return float(np.prod([sizes[place] / mine for place, mine in self.axes.items()]))

    def _smallest(self, outcomes: Any) -> Any:
        """The lengths of the axes, of those combinations where the outcome is another, that make the least work."""
        lengths = np.array(self.formulas.lengths)
        other = np.flatnonzero(~np.broadcast_to(outcomes, lengths.shape[1:]))
        distance = np.abs(np.log(lengths[:, other] + 1e-9) - np.log(lengths[:, :1])).sum(0)  # nothing is far away
        return lengths[:, other[np.argmin(distance)]]


def last_before(story: Story, run: Rerun, node: Node) -> Guard | None:
    """The last decision before a call that went otherwise in another run, as what it says would have it there.

    One that says nothing of that run is about another size there, since one before it went otherwise: `max(h, w) > 9`.
    """
    numbers = next(turned for other, turned in story.turned if other is run)
    before = [story.graph.guards[i] for i in numbers if story.graph.guards[i].position <= node.id]
    before = [guard for guard in before if id(guard) not in story.varying]
    telling = [guard for guard in before if not story.is_kept_in(guard, run)]
    found = telling or before
    return found[-1] if found else None


def _sizes_in(first: Graph, second: Graph) -> Iterator[tuple[int, Any]]:
    """What sizes of a run were in another one, by their ids, until it makes another call."""
    for node, other in zip(first.walk(), second.walk()):
        if node.op != other.op or len(node.results) != len(other.results):
            return
        for mine, theirs in zip(node.results, other.results):
            if mine.kind is theirs.kind is ValueKind.SIZE:
                yield mine.id, second.samples.kept.get(theirs.id)


def turned_in(mine: Sequence[Guard], theirs: Sequence[Guard]) -> Iterator[int]:
    """The numbers of the decisions that went otherwise in another run, as far as both made the same ones."""
    return (number for number, one, other in aligned(mine, theirs) if one.outcome != other.outcome)


def aligned(mine: Sequence[Guard], theirs: Sequence[Guard]) -> Iterator[tuple[int, Guard, Guard]]:
    """The decisions that two runs both made: after one that went otherwise, the next may be about another number."""
    has_turned = False
    for number, (one, other) in enumerate(zip(mine, theirs)):
        if (one.site, one.how) != (other.site, other.how) or (has_turned and _about_others(one, other)):
            return
        yield number, one, other
        has_turned = has_turned or (isinstance(one.outcome, bool) and one.outcome != other.outcome)


def _about_others(one: Guard, other: Guard) -> bool:
    """Whether two decisions compare with numbers of the program that are not the same."""
    numbers = [guard.other for guard in (one, other)]
    return not any(isinstance(number, Value) for number in numbers) and numbers[0] != numbers[1]
