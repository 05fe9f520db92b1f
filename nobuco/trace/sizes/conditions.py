"""Where a converted model is right: which decisions of the program depend on a size, and what they depend on.

A decision that went the other way in a run which made the same calls all the same is no condition. One after which
other calls were made is; its region is what the decision says, followed to the input's axes (`x.shape[2] % 4 == 0`).
Where no decision was seen (`range(n)`, `names[n % 2]`), it is the size that was another in just those runs.
"""

from __future__ import annotations

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


# Seen to go otherwise at so many other sizes, a program is right at the example's length alone.
_FEWEST_ELSEWHERE = 3
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

    @property
    def failing(self) -> list[Guard]:
        """The last decisions that went otherwise in runs which ended in an error, one of each region that is known."""
        last = [self.graph.guards[numbers[-1]] for run, numbers in self.turned if run.graph is None and numbers]
        known = (guard for guard in last if self.formulas.outcomes(guard) is not None)
        return list({self.formulas.region(guard): guard for guard in known}.values())

    @property
    def unchanged(self) -> list[tuple[int, int]]:
        """The dynamic axes that were as long as in the example in every run that PyTorch could make."""
        ran = [run.sizes for run in self.runs if run.graph is not None]
        return [place for place, mine in self.axes.items() if ran and all(sizes[place] == mine for sizes in ran)]

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
    def deciding(self) -> list[tuple[Guard, Rerun | None]]:
        """The decisions that other runs part by, each with such a run, and those that may go another way elsewhere."""
        parting = [(_last_before(self, run, node), run) for run, node in self.apart]
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
            if self.is_counted(guard) or key in harmless or key in found or self.formulas.region(guard) in regions:
                continue  # values decide about it, not sizes; or it is known what comes of it
            outcomes = self.formulas.outcomes(guard)
            if outcomes is None or np.all(outcomes | ~inside):
                continue
            lengths = self._smallest(outcomes | ~inside)
            number_of = {place: number for number, axis in enumerate(self.formulas.axes) for place in axis.places}
            sizes = {place: int(lengths[number_of[place]]) for place in self.axes}
            if tuple(sizes.values()) not in tried:
                found[key] = guard, sizes
        return list(found.values())

    @property
    def _known(self) -> tuple[set[tuple[Site, str]], list[Guard]]:
        """The decisions of which is known what comes of them: nothing, by their lines; and those that runs part by.

        What went otherwise behind the call where a run parts does not tell. Nor does a run that ended in an error: it
        may have failed of something else.
        """
        parted = {id(run): node for run, node in self.apart}
        last = {id(run): _last_before(self, run, node) for run, node in self.apart}
        harmless = set[tuple[Site, str]]()
        for run, numbers in self.turned:
            for guard in (self.graph.guards[i] for i in numbers if run.graph is not None):
                node = parted.get(id(run))
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
        within = (sizes for _, sizes in self.open_guards if self._growth(sizes) <= reach)
        return next(within, None)

    def _growth(self, sizes: Mapping[tuple[int, int], int]) -> float:
        return float(np.prod([sizes[place] / mine for place, mine in self.axes.items()]))

    def _smallest(self, outcomes: Any) -> Any:
        """The lengths of the axes, of those combinations where the outcome is another, that make the least work."""
        lengths = np.array(self.formulas.lengths)
        other = np.flatnonzero(~np.broadcast_to(outcomes, lengths.shape[1:]))
        distance = np.abs(np.log(lengths[:, other]) - np.log(lengths[:, :1])).sum(0)
        return lengths[:, other[np.argmin(distance)]]


def conditions(
    story: Story, lost: Sequence[Lost], same: Sequence[Graph], refuses: Callable[[Guard], bool] = lambda guard: False
) -> list[Finding]:
    """What the example decided about the calls, and about the arguments that could not be followed.

    `refuses` tells whether the program only raises an error of its own where a decision goes the other way.
    """
    found: dict[tuple[str, str], Finding] = {}
    for run, node in story.apart:
        reason = _reason(story, run, node)
        _add(found, reason, f"makes other calls {_there(story, run)}", "does as the example did", [run.graph])
    if lost:
        _add_arguments(found, story, lost, same)
    refused = [guard for guard in story.failing if refuses(guard)]
    refused += [guard for guard, _ in story.open_guards if refuses(guard)]
    for guard in refused:
        region = story.formulas.region(guard)
        message = f"{guard.site}: the program itself raises an error but where {region}"
        condition = Condition(region, message, is_exact=True, is_refused=True)
        found[region, str(guard.site)] = Finding(condition, frozenset({guard.within}), [])
    for guard in (guard for guard, _ in story.open_guards if guard not in refused):
        reason = Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
        _add(found, reason, "may go another way, which was too large to try", "does as the example did", ())
    for place in story.unchanged:
        region = f"{story.name(place)} == {story.axes[place]}"
        message = (
            f"the program could not be run at {_OF_SIZES} where {story.name(place)} is another; the converted model "
            "may only work at the example's"
        )
        found[region, ""] = Finding(Condition(region, message), frozenset({frozenset()}), [])
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
    guard = _last_before(story, run, node)
    if guard is not None:
        return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
    agree = [way is None for _, way in _ran(story)]
    size = _telling(story, [run.graph for run, _ in _ran(story) if run.graph is not None], agree, node)
    region = size or _pattern(story, agree) or "sizes are as in the example"
    elsewhere = {tuple(run.sizes.values()) for (run, _), agrees in zip(_ran(story), agree) if not agrees}
    return Reason(region, node.site, is_exact=" == " in region and len(elsewhere) >= _FEWEST_ELSEWHERE)


def _last_before(story: Story, run: Rerun, node: Node) -> Guard | None:
    """The last decision before a call that went otherwise in another run."""
    numbers = next(turned for other, turned in story.turned if other is run)
    before = [story.graph.guards[i] for i in numbers if story.graph.guards[i].position <= node.id]
    return before[-1] if before else None


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


def _pattern(story: Story, agree: Sequence[bool]) -> str | None:
    """What the lengths of one axis have in common in just those runs that agree with the example."""
    runs = [run for run, _ in _ran(story)]
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
    """Decisions, and sizes, by the runs in which they were as in the example, the first of equal ones each.

    Two of them with the same pattern cannot be told apart by these runs.
    """

    guards: Mapping[tuple[bool, ...], Guard]
    sizes: Mapping[tuple[bool, ...], tuple[Value, str]]

    @classmethod
    def of(cls, story: Story, others: Sequence[Graph]) -> Patterns:
        """Those of a program, in these runs."""
        guards: dict[tuple[bool, ...], Guard] = {}
        sizes: dict[tuple[bool, ...], tuple[Value, str]] = {}
        turned = [set(_turned(story.graph.guards, other.guards)) for other in others]
        for number, guard in enumerate(story.graph.guards):
            guards.setdefault(tuple(number not in numbers for numbers in turned), guard)
        for size, formula in story.sizes():
            mine = story.graph.samples[size.id]
            agree = tuple(number == mine for number in story.numbers_of(size, others))
            sizes.setdefault(agree, (size, f"{formula.inside(0)} == {exact(mine)}"))
        return cls(guards, sizes)

    def reason(self, story: Story, item: Lost) -> Reason:
        """What an argument depends on that was another in just those runs."""
        guard, (size, region) = self.guards.get(item.agree), self.sizes.get(item.agree, (None, ""))
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
    text = f"a tensor of shape {tuple(item.shape)}" if hasattr(item, "shape") else repr(item)
    return text if len(text) < 60 else f"{text[:57]}..."
