"""Which sizes are dynamic, and where the converted model is right: deduced, and checked by runs at other sizes.

A size is constant if it was the same in all runs and the arithmetic that led to it gives the same at all sizes; so only
what really depends on a dynamic axis stays symbolic, and the rest of the graph is as static as it would be without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from nobuco.ir import Graph, Node, Trial, Value, ValueKind, map_leaves, values
from nobuco.trace.record import NOTHING_SETTLED
from nobuco.trace.regions import closed, mapped
from nobuco.trace.shortcuts import General, general_by_sizes, general_by_values
from nobuco.trace.sizes.chosen import chosen_of_two
from nobuco.trace.sizes.conditions import Finding, Patterns, conditions, undecided
from nobuco.trace.sizes.counting import Count, counts, sizes_behind
from nobuco.trace.sizes.formulas import Axis, Formulas
from nobuco.trace.sizes.guesses import dividing
from nobuco.trace.sizes.infer import Inferred, Lost, inferred, seen_before, seen_by
from nobuco.trace.sizes.numbers import SizeTracing
from nobuco.trace.sizes.rerolled import with_loops
from nobuco.trace.sizes.reruns import (
    BATCHES,
    MULTIPLES,
    Program,
    Rerun,
    Shape,
    checks,
    lightened,
    multiples,
    one_by_one,
    parting,
    reach_in,
    reruns,
)
from nobuco.trace.sizes.story import Story
from nobuco.trace.sizes.strip_converted import strip_converted
from nobuco.trace.tracer import Failure, trace, traced
from nobuco.trace.trials import Values, at_other_sizes, extreme_trials, trial_of

# How many elements to choose in another run instead of n, of `most`, each tried: some of the sizes that follow from
# that are cut off at a number, which only few elements show; and what is decided by a number goes the other way where
# there are none, or all.
_COUNTS: tuple[Count, ...] = (
    lambda n, most: n - 1 if n > 1 else n + 1,
    lambda n, most: n // 2,
    lambda n, most: min(n - 1, 3) if n > 1 else 3,
    lambda n, most: (n + most + 1) // 2,
    lambda n, most: most,
    lambda n, most: 1,
    lambda n, most: 0,
)
# So many runs that make the same calls tell how sizes grow.
_FEWEST_ALIKE = 5
# How many more runs to make at sizes where a decision would go the other way.
_MOST_DIRECTED = 6
# Of so many decisions by sizes, at most, are both sides traced.
_MOST_SPLIT = 8
# At the sizes of so many runs a condition is put to the test with values far from the example's, too.
_MOST_FAR = 2
# They may be so many times larger in any case, as is the run with twice the batch, the height and the width.
_LARGER = 8.0


@dataclass(frozen=True)
class Input:
    """An input of the program: its name, and its shape with None for each dynamic axis."""

    name: str
    shape: Shape


def trace_dynamic(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    inputs: Sequence[Input],
    sizes: SizeTracing = SizeTracing.ALL,
    paths: int = 0,
    stands_for_all: Callable[[Node], bool] = lambda node: False,
    validate_on: Sequence[Any] | None = (),
) -> Graph:
    """Trace with sizes that stay symbolic where they are dynamic.

    They are where an axis of an input is, and behind calls that give as many elements as values say. What happens
    inside an operation that `stands_for_all` may differ from size to size. Where the program goes another way at other
    sizes, the graph's conditions tell. For `validate_on`, further positional arguments, and with other values the
    program is run, too, and the graph has what came of it as trials; not where it is None.
    """
    resizes = any(None in given.shape for given in inputs)
    started = time.perf_counter()
    kept = sizes if resizes else SizeTracing.OFF
    graph = trace(function, args, kwargs, kept, paths)
    if not resizes and counts(graph):
        kept = sizes
        graph = trace(function, args, kwargs, kept, paths)
    seconds = time.perf_counter() - started
    shapes = {i: given.shape for i, given in enumerate(inputs)}
    general = General(Program(function, args, kwargs, shapes, {"sizes": kept, "paths": paths}), graph, stands_for_all)
    general = general if paths else general_by_values(general)
    program, graph = general.program, general.graph
    values = Values(function, args, kwargs, graph, stands_for_all, program.options)
    trials, told = ((), {}) if validate_on is None else values.tried(validate_on)
    if resizes or counts(graph):
        resized = reruns(program, graph, seconds) if resizes else []
        names = [given.name for given in inputs]
        graph = _Learner(program, names, stands_for_all, resizes, reach_in(seconds)).learnt(graph, resized)
    evidence = {**graph.evidence, **told}
    if graph.forgotten and validate_on is not None:
        evidence |= dict.fromkeys(graph.forgotten, values.later(graph.trials))
    return replace(graph, trials=(*graph.trials, *trials), warnings=(*graph.warnings, *told), evidence=evidence)


def _recounted_run(program: Program, count: Count) -> Graph | None:
    """A trace with so many elements chosen; None where the program cannot go on with them."""
    try:
        run = trace(program.function, program.args, program.kwargs, **program.options, count=count)
        return program.rolling(lightened(run))
    except Exception:
        return None


@dataclass(frozen=True)
class _Learner:
    """What is learnt of a graph from other runs of its program; `reach` is how many times larger these may be."""

    program: Program
    names: Sequence[str]
    stands_for_all: Callable[[Node], bool]
    resizes: bool
    reach: float

    def learnt(self, graph: Graph, resized: list[Rerun]) -> Graph:
        """The graph with its dynamic sizes, and the conditions on which it rests."""
        program, graph, resized = with_loops(self.program, graph, resized)
        return replace(self, program=program)._learnt_of(graph, resized)

    def _learnt_of(self, graph: Graph, resized: list[Rerun]) -> Graph:
        counted = [_recounted_run(self.program, count) for count in _COUNTS if counts(graph)]
        recounted = [run for run in counted if run is not None]
        story = self._story(graph, resized, recounted)
        for table in (MULTIPLES, BATCHES) if self.resizes else ():
            if len(story.same) < _FEWEST_ALIKE:
                resized = multiples(self.program, resized, table)
                story = self._story(graph, resized, recounted)
        story = self._directed(story)
        resized = list(story.runs)
        general, others = general_by_sizes(General(self.program, graph, self.stands_for_all), story.deciding, resized)
        if general.program is not self.program:
            return replace(self, program=general.program).learnt(general.graph, others)
        learnt = self._inferred(story)
        further = self._further(story, learnt) if self.resizes else []
        if further:
            story = self._directed(self._story(graph, [*story.runs, *further], recounted))
            learnt = self._inferred(story)
        branched = self._with_branches(story, general, learnt)
        if branched is not None:
            return branched
        if learnt is None:
            return self._unfollowed(story)
        story, learnt = self._directed_by_arguments(story, learnt)
        same = [*story.same, *story.recounted]
        trials = at_other_sizes(self.names, story.graph, _followed(story.same, learnt.lost))
        findings = conditions(story, learnt.lost, same, general.refuses)
        graph = self._with_findings(replace(learnt.graph, trials=trials), findings)
        return self._with_texts(_with_static_sizes(graph, self._dynamic(graph, story)), story, graph.dynamic)

    def _with_branches(self, story: Story, general: General, learnt: Inferred | None) -> Graph | None:
        """The graph with both sides of decisions by sizes, if other sides are traced and less is left to tell."""
        lost = learnt.lost if learnt is not None else ()
        same = [*story.same, *story.recounted]
        patterns = Patterns.of(story, same)
        guards = [guard for guard, _ in story.deciding] + [g for item in lost for g in patterns.decisions(story, item)]
        split = self.program.options.get("settled", NOTHING_SETTLED).both
        places = split.union(guard.place for guard in general.open(guards))
        if not self.program.options["paths"] or places == split or len(places) > _MOST_SPLIT:
            return None
        program = self.program.splitting(places)
        run = traced(program.function, program.args, program.kwargs, **program.options)
        if isinstance(run, Failure) or not any(node.regions for node in run.walk()):
            return None
        before = {finding.condition.region for finding in conditions(story, lost, same, general.refuses)}
        graph = replace(self, program=program).learnt(run, [program.at(other.sizes) for other in story.runs])
        # With nothing along an axis a side may not even write; that is told of where it is seen to matter.
        left = {c.region for c in graph.conditions if not (c.is_of_nothing or c.is_refused)}
        return graph if left < before else None

    def _directed(self, story: Story) -> Story:
        """All runs, with some more where decisions would go the other way."""
        for _ in range(_MOST_DIRECTED if self.resizes else 0):
            sizes = story.other_way(max(self.reach, _LARGER)) or dividing(story, max(self.reach, _LARGER))
            if sizes is None:
                break
            recounted = [*story.recounted, *(other for other, _ in story.recounted_apart)]
            story = self._story(story.graph, [*story.runs, self.program.at(sizes)], recounted)
        return story

    def _directed_by_arguments(self, story: Story, learnt: Inferred) -> tuple[Story, Inferred]:
        """All runs, with more where decisions would go the other way that arguments not followed may depend on."""
        for _ in range(_MOST_DIRECTED if self.resizes else 0):
            if not learnt.lost:
                break
            unlike = [not all(agrees) for agrees in zip(*(item.agree for item in learnt.lost))]
            story = story.told_of(unlike[: len(story.same)])
            sizes = story.other_way(max(self.reach, _LARGER))
            if sizes is None:
                break
            recounted = [*story.recounted, *(other for other, _ in story.recounted_apart)]
            wider = self._story(story.graph, [*story.runs, self.program.at(sizes)], recounted)
            found = self._inferred(wider)
            if found is None:
                break
            story, learnt = wider, found
        return story, learnt

    def _inferred(self, story: Story) -> Inferred | None:
        """What the runs that made the same calls tell; None where there is none."""
        same = [*story.same, *story.recounted]
        filled = [one for one in story.same if all(prod(given.shape) for given in one.inputs)]
        if (self.resizes and not filled) or (story.recounted_apart and not same):
            return None
        runs = tuple(seen_by(story.graph, one) for one in same)
        return inferred(replace(story.graph, runs=runs), same, self.program.options["sizes"] is SizeTracing.ALL)

    def _further(self, story: Story, learnt: Inferred | None) -> list[Rerun]:
        """Runs to make besides: where it is open which axis decides, of one axis at a time; and to check formulas."""
        tried = [run.sizes for run in story.runs]
        groups = [axis.places for axis in story.formulas.axes]
        unclear = len(groups) > 1 and (learnt is None or learnt.lost or story.apart)
        runs = one_by_one(self.program, groups, tried) if unclear else []
        return runs + (checks(self.program, tried, self.reach) if learnt is not None and learnt.guessed else [])

    def _with_findings(self, graph: Graph, findings: Sequence[Finding]) -> Graph:
        """The graph with its conditions, and the runs that show them as evidence for the finished model to refute."""
        messages = [finding.condition.message for finding in findings]
        return replace(
            graph,
            conditions=tuple(finding.condition for finding in findings),
            evidence={
                message: self._evidence(graph, _telling(finding)) for message, finding in zip(messages, findings)
            },
            noted={**graph.noted, **{message: finding.within for message, finding in zip(messages, findings)}},
            warnings=(*graph.warnings, *(f.condition.message for f in findings if not f.condition.is_refused)),
        )

    def _evidence(self, graph: Graph, runs: Sequence[Graph]) -> tuple[Trial, ...]:
        """What the runs gave, and what the program gives at their sizes for values that are far from theirs."""
        call = self.program.args, self.program.kwargs
        far = (extreme_trials(self.names, self.program.function, call, run, graph) for run in runs[:_MOST_FAR])
        return (*(trial_of(self.names, run) for run in runs), *chain.from_iterable(far))

    def _story(self, graph: Graph, resized: Sequence[Rerun], recounted: Sequence[Graph]) -> Story:
        """The runs told apart: those that made the same calls, and those that did not."""
        raw = [run.graph for run in resized if run.graph is not None]
        first, *others = strip_converted([graph, *raw, *recounted], self.stands_for_all)
        ways = [parting(first, other) for other in others[: len(raw)]]
        same = [other for other, way in zip(others, ways) if way is None]
        counted = [(other, parting(first, other)) for other in others[len(raw) :]]
        seen = [seen_before(first, other, way) for other, way in zip(others, ways)]
        formulas = Formulas(first, self._axes(resized), _shapes(first, seen), sizes_behind(first))
        formulas = replace(formulas, looked_at=chosen_of_two(first, formulas, resized))
        return Story(
            first, self.names, self.program.dynamic_axes, formulas, tuple(resized), tuple(ways), tuple(same),
            tuple(other for other, way in counted if way is None),
            tuple((other, way[0]) for other, way in counted if way is not None),
        )  # fmt: skip

    def _axes(self, runs: Sequence[Rerun]) -> list[Axis]:
        """The dynamic axes, those together that were as long as each other in every run."""
        places: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for place, mine in self.program.dynamic_axes.items():
            ran = (run.sizes[place] for run in runs if run.graph is not None)
            places.setdefault((mine, *ran), []).append(place)
        return [
            Axis(f"{self.names[alike[0][0]]}.shape[{alike[0][1]}]", tuple(alike), lengths)
            for lengths, alike in places.items()
        ]

    def _unfollowed(self, story: Story) -> Graph:
        """The graph where no other run tells which sizes are dynamic: all that may be."""
        graph = story.graph
        every = frozenset(v.id for node in graph.walk() for v in node.results if v.kind is ValueKind.SIZE)
        graph = self._with_findings(graph, undecided(story, self.resizes))
        return _with_static_sizes(graph, every if self.resizes else sizes_behind(graph))

    def _with_texts(self, graph: Graph, story: Story, of_rounds: Set[int]) -> Graph:
        """The graph with what its dynamic sizes are, where that is known: in words, and whether ever negative.

        Those `of_rounds` differ from round to round of a loop.
        """
        formulas = _formulas(graph, story)
        found = {v.id: formulas.of(v) for v in _sizes_of(graph) if v.id in graph.dynamic - of_rounds}
        known = {id: formula for id, formula in found.items() if formula is not None}
        texts = {id: formula.inside(0) for id, formula in known.items()}
        natural = frozenset(id for id, formula in known.items() if np.all(formula.numbers >= 0))
        return replace(graph, size_texts=texts, natural=natural)

    def _dynamic(self, graph: Graph, story: Story) -> frozenset[int]:
        """The ids of the sizes that are not the same everywhere."""
        formulas, sizes = _formulas(graph, story), _sizes_of(graph)
        return graph.dynamic | {v.id for v in sizes if _differs(graph, v) or not _is_constant(formulas, v)}


def _formulas(graph: Graph, story: Story) -> Formulas:
    """The formulas that hold where the program does as on the example."""
    agreeing = iter(graph.runs)
    return Formulas(
        graph, story.formulas.axes, _shapes(graph, [next(agreeing) if way is None else {} for way in story.ways])
    )


def _sizes_of(graph: Graph) -> list[Value]:
    return [v for node in graph.walk() for v in node.results if v.kind is ValueKind.SIZE]


def _shapes(graph: Graph, runs: Sequence[Mapping[int, Any]]) -> Callable[[Value], list[Any]]:
    """For a value of the graph, its shape (or its number) in the example and in each run; None: it was not seen."""

    def shapes(value: Value) -> list[Any]:
        mine = graph.samples[value.id] if value.kind is ValueKind.SIZE else value.shape
        same = mine if value.kind.is_constant else None
        return [mine, *(run.get(value.id, same) for run in runs)]

    return shapes


def _telling(finding: Finding) -> Sequence[Graph]:
    """The runs that may refute a condition, those with elements if any has: a model gives nothing for nothing."""
    return () if finding.is_deduced else finding.shown_with_elements or finding.shown_by


def _followed(runs: Sequence[Graph], lost: Sequence[Lost]) -> list[Graph]:
    """The runs in which the program did as on the example, so that the converted model does as they did."""
    return [run for number, run in enumerate(runs) if all(item.agree[number] for item in lost)]


def _differs(graph: Graph, size: Value) -> bool:
    return any(run[size.id] != graph.samples[size.id] for run in graph.runs)


def _is_constant(formulas: Formulas, size: Value) -> bool:
    formula = formulas.of(size)
    return formula is None or formula.is_constant


def _with_static_sizes(graph: Graph, dynamic: frozenset[int]) -> Graph:
    """The graph with every size that is not dynamic replaced by its number."""

    def number(leaf: Any) -> Any:
        static = isinstance(leaf, Value) and leaf.kind is ValueKind.SIZE and leaf.id not in dynamic
        return graph.samples[leaf.id] if static else leaf

    def computes_static_size(node: Node) -> bool:
        found = values(node.outputs)
        return bool(found) and all(v.kind is ValueKind.SIZE and v.id not in dynamic for v in found)

    return replace(
        graph,
        nodes=closed(mapped(graph.nodes, number, computes_static_size), [before for before, _ in graph.states]),
        outputs=map_leaves(number, graph.outputs),
        dynamic=dynamic,
    )
