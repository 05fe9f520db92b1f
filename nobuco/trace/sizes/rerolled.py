"""The runs of a program with its loops over a dynamic size as calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

from nobuco.ir import Graph
from nobuco.trace.sizes.loops import loops_in
from nobuco.trace.sizes.reruns import Program, Rerun, Sizes
from nobuco.trace.sizes.rolling import all_rolled, rolled
from nobuco.trace.sizes.unlisted import unlisted


def with_loops(program: Program, graph: Graph, runs: list[Rerun]) -> tuple[Program, Graph, list[Rerun]]:
    """The runs with loops over a dynamic size as calls, and the program, whose further runs will have them, too."""
    graphs = [graph, *(run.graph for run in runs if run.graph is not None)]
    if len({sum(1 for _ in run.walk()) for run in graphs}) == 1:
        return program, graph, runs
    loops = loops_in([unlisted(run) for run in graphs], rolled)
    if not loops:
        return program, graph, runs
    runs = [*runs, *_empty_runs(program, [run.sizes for run in runs])]
    rolling = partial(all_rolled, loops=loops)
    after = [run if run.graph is None else replace(run, graph=rolling(run.graph)) for run in runs]
    return replace(program, rolling=rolling), rolling(graph), after


def _empty_runs(program: Program, tried: Collection[Sizes]) -> Iterator[Rerun]:
    """Runs with nothing along a dynamic axis, but for those tried.

    A loop makes no round there, and what is done before it, or in its first round, shows.
    """
    axes = program.dynamic_axes
    for sizes in ({**axes, place: 0} for place in axes):
        if sizes in tried:
            continue
        run = program.at(sizes)
        if run.graph is not None:
            yield run
