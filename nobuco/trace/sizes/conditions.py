"""Where a converted model is right: which decisions of the program depend on a size, and what they depend on.

A decision that went the other way in a run which made the same calls all the same is no condition. One after which
other calls were made is; its region is what the decision says, followed to the input's axes (`x.shape[2] % 4 == 0`).
Where no decision was seen (`range(n)`, `names[n % 2]`), it is the size that was another in just those runs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from nobuco.ir import Condition, Graph, Guard, Node, Site, Value, ValueKind
from nobuco.registry import operation_name
from nobuco.trace.sizes.formulas import Formula, Formulas, exact
from nobuco.trace.sizes.infer import Lost
from nobuco.trace.sizes.reruns import Rerun


@dataclass
class Finding:
    """A condition, the calls in which it arose (a converter for one of them answers it), and the runs that show it."""

    condition: Condition
    within: frozenset[frozenset[int]]
    shown_by: list[Graph]


# Of so many decisions of one line, each is looked at; of more, as a loop makes them, one stands for all.
_MOST_ALIKE = 3
_INEQUALITIES = ("lt", "le", "gt", "ge")
_OF_SIZES = "sizes other than those of the example inputs"
_OF_COUNTS = "other numbers of elements chosen by value"


@dataclass(frozen=True)
class Story:
    """All runs of a program. `axes` are the example's lengths of the dynamic axes, `names` the names of the inputs.

    `ways` tells of each run that PyTorch could make where it first parts from the example's.

    `same` are the runs at other sizes that made the same calls, `recounted` those with other numbers of elements chosen
    that did; `recounted_apart` are those that made other calls, each with the first that it did not make.
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

    @property
    def apart(self) -> list[tuple[Rerun, Node]]:
        """The runs that made other calls, each with the first call that it did not make."""
        ran = [run for run in self.runs if run.graph is not None]
        return [(run, way[0]) for run, way in zip(ran, self.ways) if way is not None]

    def name(self, place: tuple[int, int]) -> str:
        """A dynamic axis in words."""
        return f"{self.names[place[0]]}.shape[{place[1]}]"

    @cached_property
    def turned(self) -> list[tuple[Rerun, tuple[int, ...]]]:
        """Of each run, the numbers of the decisions that went otherwise than in the example."""
        return [(run, tuple(_turned(self.graph.guards, run.guards))) for run in self.runs]

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
    def open_guards(self) -> list[tuple[Guard, dict[tuple[int, int], int]]]:
        """The decisions that went one way in every run and would go the other way elsewhere, each with where."""
        return self._open(clearly=False)

    def _open(self, clearly: bool) -> list[tuple[Guard, dict[tuple[int, int], int]]]:
        """The decisions that went the other way in no run, or in none `clearly`, as `n > 4` does at 4; with where."""
        tried = {tuple(run.sizes.values()) for run in self.runs}
        # A run that ended in an error does not tell what comes of a decision: it may have failed of something else.
        done = {
            self._key(self.graph.guards[i])
            for run, numbers in self.turned
            for i in numbers
            if run.graph is not None and not (clearly and _is_close(run.guards[i], run.graph))
        }
        found: dict[tuple[Any, ...], tuple[Guard, dict[tuple[int, int], int]]] = {}
        known = dict.fromkeys(map(self._key, self.graph.guards))
        alike = Counter(site_and_axes for site_and_axes, _ in known)
        done |= {key for key in known if alike[key[0]] > _MOST_ALIKE and any(other[0] == key[0] for other in done)}
        for guard in self.graph.guards:
            key = self._key(guard)
            if self.is_counted(guard) or key in done or key in found or (clearly and guard.how not in _INEQUALITIES):
                continue  # values decide about it, not sizes; or it is known what comes of it
            outcomes = self.formulas.outcomes(guard, clearly)
            if outcomes is None or np.all(outcomes):
                continue
            lengths = self._smallest(outcomes)
            number_of = {place: number for number, axis in enumerate(self.formulas.axes) for place in axis.places}
            sizes = {place: int(lengths[number_of[place]]) for place in self.axes}
            if tuple(sizes.values()) not in tried:
                found[key] = guard, sizes
        return list(found.values())

    def is_counted(self, guard: Guard) -> bool:
        """Whether a decision is by how many elements were chosen."""
        sizes = (size for size in (guard.size, guard.other) if isinstance(size, Value))
        return any(size.id in self.formulas.counted for size in sizes)

    def other_way(self, reach: float) -> dict[tuple[int, int], int] | None:
        """Sizes to run at next, since an open decision goes the other way there; none that are `reach` times larger."""
        wanted = itertools.chain(self.open_guards, self._open(clearly=True))
        return next((sizes for _, sizes in wanted if self._growth(sizes) <= reach), None)

    def _key(self, guard: Guard) -> tuple[Any, tuple[str, ...]]:
        """The line of a decision and which axes decide, alike in a loop; and by which sizes."""
        known = map(self.formulas.of, (guard.size, guard.other))
        texts = tuple(formula.text for formula in known if formula is not None)
        axes = (axis.text for axis in self.formulas.axes if any(axis.text in text for text in texts))
        return (guard.site, guard.how, frozenset(axes)), texts

    def _growth(self, sizes: Mapping[tuple[int, int], int]) -> float:
        return float(np.prod([sizes[place] / mine for place, mine in self.axes.items()]))

    def _smallest(self, outcomes: Any) -> Any:
        """The lengths of the axes, of those combinations where the outcome is another, that make the least work."""
        lengths = np.array(self.formulas.lengths)
        other = np.flatnonzero(~np.broadcast_to(outcomes, lengths.shape[1:]))
        distance = np.abs(np.log(lengths[:, other] + 1e-9) - np.log(lengths[:, :1])).sum(0)  # nothing is far away
        return lengths[:, other[np.argmin(distance)]]


def conditions(story: Story, lost: Sequence[Lost], same: Sequence[Graph]) -> list[Finding]:
    """What the example decided about the calls, and about the arguments that could not be followed."""
    found: dict[tuple[str, str], Finding] = {}
    for run, node in story.apart:
        reason = _reason(story, run, node)
        _add(found, reason, f"makes other calls {_there(story, run)}", "does as the example did", [run.graph])
    if lost:
        _add_arguments(found, story, lost, same)
    for guard, _ in story.open_guards:
        reason = Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
        _add(found, reason, "may go another way, which was too large to try", "does as the example did", ())
    for guard in _decided_by_counts(story):
        reason = Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}))
        _add(found, reason, "decides by how many elements were chosen", "does as the example did", ())
    for other, node in story.recounted_apart:
        reason = _reason_of_count(story, other, node)
        what = "makes other calls where other numbers of elements are chosen"
        _add(found, reason, what, "does as the example did", ())
    return list(found.values())


def _add_arguments(
    found: dict[tuple[str, str], Finding], story: Story, lost: Sequence[Lost], same: Sequence[Graph]
) -> None:
    patterns = Patterns.of(story, same)
    for item in lost:
        name = operation_name(item.node.op)
        what = f"gives {name} {_short(item.here)} here and {_short(item.there)} there"
        shown = [run for run, agrees in zip(same, item.agree) if not agrees]
        _add(found, patterns.reason(story, item), what, f"keeps {_short(item.here)}", shown)


def _decided_by_counts(story: Story) -> Iterator[Guard]:
    """The decisions by how many elements were chosen that may go another way, and never did to no effect."""
    harmless = {i for other in story.recounted for i in _turned(story.graph.guards, other.guards)}
    for number, guard in enumerate(story.graph.guards):
        if story.is_counted(guard) and number not in harmless:
            outcomes = story.formulas.outcomes(guard)
            if outcomes is not None and not np.all(outcomes):
                yield guard


def undecided(story: Story, resizes: bool) -> list[Finding]:
    """What to say where no other run made the same calls."""
    where = _OF_SIZES if resizes else _OF_COUNTS
    found = conditions(story, (), ())
    if not found:
        problem = "takes another way" if story.ways or not resizes else "could not be run"
        message = (
            f"the program {problem} at {where}, so every size counts as dynamic; the converted model may only "
            "work at the example's"
        )
        found = [Finding(Condition("sizes are as in the example", message), frozenset({frozenset()}), [])]
    return found


def _add(
    found: dict[tuple[str, str], Finding], reason: Reason, what: str, does: str, shown_by: Sequence[Graph | None]
) -> None:
    key = (reason.region, str(reason.site))
    if key not in found:
        message = (
            f"{reason.site}: by a size that is dynamic, the program {what}; the converted model {does}, so it is right "
            f"where {reason.region}"
        )
        found[key] = Finding(Condition(reason.region, message, reason.is_exact), reason.within, [])
    found[key].shown_by.extend(graph for graph in shown_by if graph is not None)


@dataclass(frozen=True)
class Reason:
    """Where a program does as on the example, in words, the line that decides, and in which calls that was."""

    region: str
    site: Site
    within: frozenset[frozenset[int]] = frozenset({frozenset()})
    is_exact: bool = False


def _reason(story: Story, run: Rerun, node: Node) -> Reason:
    """Where a call is made, and the line that decided: that of the last decision before it that went otherwise."""
    numbers = next(turned for other, turned in story.turned if other is run)
    before = [story.graph.guards[i] for i in numbers if story.graph.guards[i].position <= node.id]
    if before:
        guard = before[-1]
        return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
    ran = [(run, way) for run, way in _ran(story) if way is not None or all(run.sizes.values())]
    agree = [way is None for _, way in ran]  # that nothing gives what it gave does not tell much
    size = _telling(story, [run.graph for run, _ in ran if run.graph is not None], agree, node)
    region = size or _pattern(story, [run for run, _ in ran], agree) or "sizes are as in the example"
    return Reason(region, node.site)


def _reason_of_count(story: Story, run: Graph, node: Node) -> Reason:
    """Where as many elements are chosen that a call is made, and the line that decided."""
    guards = story.graph.guards
    before = [guards[i] for i in _turned(guards, run.guards) if guards[i].position <= node.id]
    if before:
        guard = before[-1]
        return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
    apart = [other for other, first in story.recounted_apart if first.id == node.id]
    for size, formula in reversed([known for known in story.sizes() if known[0].id < node.id]):
        right = [story.graph.samples[size.id], *story.numbers_of(size, story.recounted)]
        wrong = story.numbers_of(size, apart)
        if size.id in story.formulas.counted and None not in (*right, *wrong):
            for text, holds in _patterns(right, wrong):
                if all(map(holds, right)) and not any(map(holds, wrong)):
                    return Reason(_said(text, formula.inside(0)), node.site)
    return Reason("as many elements are chosen as in the example", node.site)


def _pattern(story: Story, runs: Sequence[Rerun], agree: Sequence[bool]) -> str | None:
    """What the lengths of one axis have in common in just those runs that agree with the example."""
    for place, mine in story.axes.items():
        right = [mine, *(run.sizes[place] for run, agrees in zip(runs, agree) if agrees)]
        wrong = [run.sizes[place] for run, agrees in zip(runs, agree) if not agrees]
        for text, holds in _patterns(right, wrong):
            if all(map(holds, right)) and not any(map(holds, wrong)):
                return _said(text, story.name(place))
    return None


def _said(pattern: str, name: str) -> str:
    return pattern.format(name) if "{}" in pattern else f"{name} {pattern}"


def _patterns(right: Sequence[int], wrong: Sequence[int]) -> Iterator[tuple[str, Callable[[int], bool]]]:
    low, high = min(right), max(right)
    if set(wrong) <= {0, 1} and low == max(wrong) + 1:
        yield f"> {max(wrong)}", lambda n: n > max(wrong)
    if high == 0:
        yield "== 0", lambda n: n == 0
    yield f"<= {high}", lambda n: n <= high
    yield f">= {low}", lambda n: n >= low
    if low < high:
        yield f"{low} <= {{}} <= {high}", lambda n: low <= n <= high
    if len(set(right)) > 2 and len(set(wrong)) > 2:
        for k in range(2, 65):
            yield f"% {k} == {right[0] % k}", partial(_is_congruent, right[0], k)
    yield f"== {right[0]}", lambda n: n == right[0]


def _is_congruent(mine: int, k: int, n: int) -> bool:
    return n % k == mine % k


def _ran(story: Story) -> list[tuple[Rerun, Any]]:
    return list(zip([run for run in story.runs if run.graph is not None], story.ways))


@dataclass(frozen=True)
class Patterns:
    """Decisions, and sizes, by the runs in which they were as in the example, of equal sizes the first.

    Two of them with the same pattern cannot be told apart by these runs: then it is the last decision before a call.
    """

    guards: Mapping[tuple[bool, ...], Sequence[Guard]]
    sizes: Mapping[tuple[bool, ...], tuple[Value, str]]

    @classmethod
    def of(cls, story: Story, others: Sequence[Graph]) -> Patterns:
        """Those of a program, in these runs."""
        guards: dict[tuple[bool, ...], list[Guard]] = {}
        sizes: dict[tuple[bool, ...], tuple[Value, str]] = {}
        turned = [set(_turned(story.graph.guards, other.guards)) for other in others]
        for number, guard in enumerate(story.graph.guards):
            guards.setdefault(tuple(number not in numbers for numbers in turned), []).append(guard)
        for size, formula in story.sizes():
            mine = story.graph.samples[size.id]
            agree = tuple(number == mine for number in story.numbers_of(size, others))
            sizes.setdefault(agree, (size, f"{formula.inside(0)} == {exact(mine)}"))
        return cls(guards, sizes)

    def reason(self, story: Story, item: Lost) -> Reason:
        """What an argument depends on that was another in just those runs."""
        found, (size, region) = self.guards.get(item.agree, ()), self.sizes.get(item.agree, (None, ""))
        before = [guard for guard in found if guard.position <= item.node.id]
        guard = (before or [None, *found][:2])[-1]
        if guard is not None:
            return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
        if size is not None and size.id < item.node.id:  # what was asked for later decided nothing
            return Reason(region, item.node.site)
        return Reason("sizes are as in the example", item.node.site)


def _telling(story: Story, others: Sequence[Graph], agree: Sequence[bool], node: Node) -> str | None:
    """A size that was as in the example, or not what it was elsewhere, in just those runs that agree; the last one."""
    for size, formula in reversed([known for known in story.sizes() if known[0].id < node.id]):
        mine, theirs = story.graph.samples[size.id], story.numbers_of(size, others)
        if [t == mine for t in theirs] == list(agree):
            return f"{formula.inside(0)} == {exact(mine)}"
        wrong = {t for t, agrees in zip(theirs, agree) if not agrees}
        if len(wrong) == 1 and None not in wrong and [t not in wrong for t in theirs] == list(agree):
            return f"{formula.inside(0)} != {exact(wrong.pop())}"
    return None


def _sizes_in(first: Graph, second: Graph) -> Iterator[tuple[int, Any]]:
    """What sizes of a run were in another one, by their ids, until it makes another call."""
    for node, other in zip(first.walk(), second.walk()):
        if node.op != other.op or len(node.results) != len(other.results):
            return
        for mine, theirs in zip(node.results, other.results):
            if mine.kind is theirs.kind is ValueKind.SIZE:
                yield mine.id, second.samples.kept.get(theirs.id)


def _is_close(guard: Guard, graph: Graph) -> bool:
    """Whether the two sides of an inequality were nearly equal in a run."""
    mine, other = (graph.samples.kept.get(s.id) if isinstance(s, Value) else s for s in (guard.size, guard.other))
    return guard.how in _INEQUALITIES and mine is not None and other is not None and abs(mine - other) <= 1


def _turned(mine: Sequence[Guard], theirs: Sequence[Guard]) -> Iterator[int]:
    """The numbers of the decisions that went otherwise in another run, as far as both made the same ones."""
    for number, (one, other) in enumerate(zip(mine, theirs)):
        if (one.site, one.how) != (other.site, other.how):
            return
        if one.outcome != other.outcome:
            yield number


def _there(story: Story, run: Rerun) -> str:
    sizes = " and ".join(f"{story.name(place)} is {size}" for place, size in run.sizes.items())
    return f"as where {sizes}"


def _short(item: Any) -> str:
    text = f"a tensor of shape {tuple(item.shape)}" if getattr(item, "shape", ()) else repr(item)
    return text if len(text) < 60 else f"{text[:57]}..."
