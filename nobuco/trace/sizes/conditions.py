"""Where a converted model is right: which decisions of the program depend on a size, and what they depend on.

A decision that went the other way in a run which made the same calls all the same is no condition. One after which
other calls were made is; its region is what the decision says, followed to the input's axes (`x.shape[2] % 4 == 0`).
Where no decision was seen (`range(n)`, `names[n % 2]`), it is the size that was another in just those runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from nobuco.ir import Condition, Graph, Guard, Node, Site, Value
from nobuco.registry import operation_name
from nobuco.trace.sizes.formulas import ROUNDS, exact
from nobuco.trace.sizes.guesses import guesses, patterns, ran, said
from nobuco.trace.sizes.infer import Lost
from nobuco.trace.sizes.reruns import Rerun, gives_alike
from nobuco.trace.sizes.story import Story, last_before, turned_in


@dataclass
class Finding:
    """A condition, the calls in which it arose (a converter for one of them answers it), and the runs that show it.

    No run shows all of what `is_deduced`, so that no run refutes it.
    """

    condition: Condition
    within: frozenset[frozenset[int]]
    shown_by: list[Graph]
    is_deduced: bool = False

    @property
    def shown_with_elements(self) -> list[Graph]:
        """Those of the runs in which all inputs have elements."""
        return [run for run in self.shown_by if all(prod(given.shape) for given in run.inputs)]


# Seen to go otherwise at so many other sizes, a program is right at the example's length alone.
_FEWEST_ELSEWHERE = 3
_OF_SIZES = "sizes other than those of the example inputs"
_OF_COUNTS = "other numbers of elements chosen by value"
_GIVES_NOTHING = "gives no tensors"


def conditions(
    story: Story, lost: Sequence[Lost], same: Sequence[Graph], refuses: Callable[[Guard], bool] = lambda guard: False
) -> list[Finding]:
    """What the example decided about the calls, and about the arguments that could not be followed.

    `refuses` tells whether the program only raises an error of its own where a decision goes the other way.
    """
    found: dict[tuple[str, str], Finding] = {}
    for run, node in story.apart:
        guard = last_before(story, run, node)
        nothing = None if gives_alike(story.graph, run.graph) else _reason_of_nothing(story, run, node, guard)
        if nothing is not None:
            _add_refused(found, nothing, _GIVES_NOTHING)
        else:
            reason = _reason(story, node, guard)
            _add(found, reason, f"makes other calls {_there(story, run)}", "does as the example did", [run.graph])
    if lost:
        _add_arguments(found, story, lost, same)
    refused = [guard for guard in story.failing if refuses(guard)]
    refused += [guard for guard, _ in story.open_guards if refuses(guard)]
    for guard in refused:
        _add_refused(found, _decision(story, guard), "itself raises an error")
    for guard in story.graph.guards:
        if guard.how == ROUNDS and story.formulas.outcomes(guard) is not None:
            _add_refused(found, _decision(story, guard), _GIVES_NOTHING)
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
    of_nothing = {key for key, one in found.items() if one.shown_by and not one.shown_with_elements}
    return [
        replace(one, condition=replace(one.condition, is_of_nothing=key in of_nothing)) for key, one in found.items()
    ]


def _add_arguments(
    found: dict[tuple[str, str], Finding], story: Story, lost: Sequence[Lost], same: Sequence[Graph]
) -> None:
    patterns = Patterns.of(story, same)
    for item in lost:
        name = operation_name(item.node.op)
        what = f"gives {name} {_short(item.here)} here and {_short(item.there)} there"
        shown = [run for run, agrees in zip(same, item.agree) if not agrees]
        for reason in patterns.reasons(story, item):
            _add(found, reason, what, f"keeps {_short(item.here)}", shown)


def _decided_by_counts(story: Story) -> Iterator[Guard]:
    """The decisions by how many elements were chosen that may go another way, and never did to no effect."""
    harmless = {i for other in story.recounted for i in turned_in(story.graph.guards, other.guards)}
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
    found[key].is_deduced |= not shown_by


def _add_refused(found: dict[tuple[str, str], Finding], reason: Reason, what: str) -> None:
    """Add where the program has nothing to give, if that is not told already."""
    message = f"{reason.site}: the program {what} but where {reason.region}"
    condition = Condition(reason.region, message, is_exact=True, is_refused=True)
    found.setdefault((reason.region, str(reason.site)), Finding(condition, reason.within, []))


@dataclass(frozen=True)
class Reason:
    """Where a program does as on the example, in words, the line that decides, and in which calls that was."""

    region: str
    site: Site
    within: frozenset[frozenset[int]] = frozenset({frozenset()})
    is_exact: bool = False


def _reason(story: Story, node: Node, guard: Guard | None) -> Reason:
    """Where a call is made, and the line that decided: that of the last decision before it that went otherwise."""
    if guard is not None and story.formulas.outcomes(guard) is not None:
        return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
    guess = next(guesses(story, node), None)
    region = "sizes are as in the example" if guess is None else guess.region
    elsewhere = {tuple(other.sizes.values()) for other, way in ran(story) if way is not None}
    site, within = (node.site, frozenset[int]()) if guard is None else (guard.site, guard.within)
    return Reason(region, site, frozenset({within}), is_exact=" == " in region and len(elsewhere) >= _FEWEST_ELSEWHERE)


def _reason_of_nothing(story: Story, run: Rerun, node: Node, guard: Guard | None) -> Reason | None:
    """Where a program gives tensors that gives plain numbers in a run, which had nothing to go through."""
    if guard is not None and guard.how == ROUNDS and story.formulas.outcomes(guard) is not None:
        return _decision(story, guard)
    empty = (place for place, length in run.sizes.items() if not length)
    return next((Reason(f"{story.name(place)} != 0", node.site, is_exact=True) for place in empty), None)


def _reason_of_count(story: Story, run: Graph, node: Node) -> Reason:
    """Where as many elements are chosen that a call is made, and the line that decided."""
    guards = story.graph.guards
    before = [guards[i] for i in turned_in(guards, run.guards) if guards[i].position <= node.id]
    if before:
        guard = before[-1]
        return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)
    apart = [other for other, first in story.recounted_apart if first.id == node.id]
    for size, formula in reversed([known for known in story.sizes() if known[0].id < node.id]):
        right = [story.graph.samples[size.id], *story.numbers_of(size, story.recounted)]
        wrong = story.numbers_of(size, apart)
        if size.id in story.formulas.counted and None not in (*right, *wrong):
            for text, holds in patterns(right, wrong):
                if all(map(holds, right)) and not any(map(holds, wrong)):
                    return Reason(said(text, formula.inside(0)), node.site)
    return Reason("as many elements are chosen as in the example", node.site)


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
        turned = [set(turned_in(story.graph.guards, other.guards)) for other in others]
        for number, guard in enumerate(story.graph.guards):
            guards.setdefault(tuple(number not in numbers for numbers in turned), []).append(guard)
        for size, formula in story.sizes():
            mine = story.graph.samples[size.id]
            agree = tuple(number == mine for number in story.numbers_of(size, others))
            sizes.setdefault(agree, (size, f"{formula.inside(0)} == {exact(mine)}"))
        return cls(guards, sizes)

    def reasons(self, story: Story, item: Lost) -> list[Reason]:
        """What an argument depends on that was another in just those runs: a decision, a size, or several decisions."""
        guards = self.decisions(story, item)
        if guards:
            return [_decision(story, guard) for guard in guards]
        size, region = self.sizes.get(item.agree, (None, ""))
        known = size is not None and size.id < item.node.id  # what was asked for later decided nothing
        return [Reason(region if known else "sizes are as in the example", item.node.site)]

    def decisions(self, story: Story, item: Lost) -> list[Guard]:
        """The decision that was another in just those runs, or several if no size was; none if there is none."""
        found, (size, _) = self.guards.get(item.agree, ()), self.sizes.get(item.agree, (None, ""))
        before = [guard for guard in found if guard.position <= item.node.id]
        known = [guard for guard in before if story.formulas.outcomes(guard) is not None]
        one = (known or before or found[:1])[-1:]
        if one or (size is not None and size.id < item.node.id):
            return list(one)
        return self._together(story, item)

    def _together(self, story: Story, item: Lost) -> list[Guard]:
        """Decisions of which one went otherwise in each of the runs that do not agree, and none in any that does."""
        left = {number for number, agrees in enumerate(item.agree) if not agrees}
        apart, taken = frozenset(left), list[Guard]()
        for pattern, guards in self.guards.items():
            turned = {number for number, kept in enumerate(pattern) if not kept}
            before = [g for g in guards if g.position <= item.node.id and story.formulas.outcomes(g) is not None]
            if before and turned & left and turned <= apart:
                taken.append(before[-1])
                left -= turned
        return [] if left else taken


def _decision(story: Story, guard: Guard) -> Reason:
    return Reason(story.formulas.region(guard), guard.site, frozenset({guard.within}), is_exact=True)


def _there(story: Story, run: Rerun) -> str:
    sizes = " and ".join(f"{story.name(place)} is {size}" for place, size in run.sizes.items())
    return f"as where {sizes}"


def _short(item: Any) -> str:
    text = f"a tensor of shape {tuple(item.shape)}" if getattr(item, "shape", ()) else repr(item)
    return text if len(text) < 60 else f"{text[:57]}..."
