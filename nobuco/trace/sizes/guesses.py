"""What sizes have in common in just those runs that did as the example did, where no decision was seen.

An exception that PyTorch raised and the program caught, a dictionary, `int(n)`: Python shows nothing, and several
guesses may fit the runs. Then the program is run where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nobuco.ir import Graph, Node
from nobuco.trace.sizes.formulas import exact
from nobuco.trace.sizes.reruns import Rerun
from nobuco.trace.sizes.story import Story, last_before

_LARGEST_DIVISOR = 64


@dataclass(frozen=True)
class Guess:
    """Where the program may do as on the example: in words, and at each combination of lengths that is looked at."""

    region: str
    holds: Any


def guesses(story: Story, node: Node) -> Iterator[Guess]:
    """What the runs that make a call had in common, and no other; the best first."""
    runs = [(run, way) for run, way in ran(story) if way is not None or all(run.sizes.values())]
    agree = [way is None for _, way in runs]  # that nothing gives what it gave does not tell much
    yield from _of_sizes(story, [run.graph for run, _ in runs if run.graph is not None], agree, node)
    yield from _of_lengths(story, [run for run, _ in runs], agree)


def dividing(story: Story, reach: float) -> dict[tuple[int, int], int] | None:
    """Sizes to run at next, since guesses at what the runs part by differ there."""
    for run, node in story.apart:
        guard = last_before(story, run, node)
        if guard is None or story.formulas.outcomes(guard) is None:
            found = [guess.holds for guess in guesses(story, node)]
            differ = [found[0] != other for other in found[1:]]
            sizes = story.among(np.any(differ, axis=0), reach) if differ else None
            if sizes is not None:
                return sizes
    return None


def ran(story: Story) -> list[tuple[Rerun, Any]]:
    """The runs that PyTorch could make, each with where it parts from the example's."""
    return list(zip([run for run in story.runs if run.graph is not None], story.ways))


def _of_sizes(story: Story, others: Sequence[Graph], agree: Sequence[bool], node: Node) -> Iterator[Guess]:
    """Sizes that were as in the example, or not as elsewhere, in just those runs that agree; the last first."""
    for size, formula in reversed([known for known in story.sizes() if known[0].id < node.id]):
        mine, theirs = story.graph.samples[size.id], story.numbers_of(size, others)
        if [t == mine for t in theirs] == list(agree):
            yield Guess(f"{formula.inside(0)} == {exact(mine)}", formula.numbers == mine)
        wrong = {t for t, agrees in zip(theirs, agree) if not agrees}
        if len(wrong) == 1 and None not in wrong and [t not in wrong for t in theirs] == list(agree):
            (other,) = wrong
            yield Guess(f"{formula.inside(0)} != {exact(other)}", formula.numbers != other)


def _of_lengths(story: Story, runs: Sequence[Rerun], agree: Sequence[bool]) -> Iterator[Guess]:
    """What the lengths of one axis have in common in just those runs that agree with the example."""
    for place, mine in story.axes.items():
        right = [mine, *(run.sizes[place] for run, agrees in zip(runs, agree) if agrees)]
        wrong = [run.sizes[place] for run, agrees in zip(runs, agree) if not agrees]
        lengths = story.lengths_of(place)
        for text, holds in patterns(right, wrong):
            if all(map(holds, right)) and not any(map(holds, wrong)):
                yield Guess(said(text, story.name(place)), holds(lengths))


def said(pattern: str, name: str) -> str:
    """A pattern of a number of that name."""
    return pattern.format(name) if "{}" in pattern else f"{name} {pattern}"


def patterns(right: Sequence[int], wrong: Sequence[int]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """What numbers may have in common that others have not; the functions take one number, or many."""
    low, high = min(right), max(right)
    if set(wrong) <= {0, 1} and low == max(wrong) + 1:
        yield f"> {max(wrong)}", lambda n: n > max(wrong)
    if set(wrong) == {1}:  # one alone is unlike many, and unlike none
        yield "!= 1", lambda n: n != 1
    if high == 0:
        yield "== 0", lambda n: n == 0
    yield f"<= {high}", lambda n: n <= high
    yield f">= {low}", lambda n: n >= low
    if low < high:
        yield f"{low} <= {{}} <= {high}", lambda n: (low <= n) & (n <= high)
    for k in range(2, _LARGEST_DIVISOR + 1):
        if len(set(right)) > 2 and len(set(wrong)) > 2:
            yield f"% {k} == {right[0] % k}", partial(_is_congruent, right[0], k)
        if wrong and len({n % k for n in wrong}) == 1:
            yield f"% {k} != {wrong[0] % k}", partial(_is_incongruent, wrong[0], k)
    yield f"== {right[0]}", lambda n: n == right[0]
    above, below = [n for n in wrong if n > high], [n for n in wrong if n < low]
    if above and not below and min(above) > high + 1:  # up to where it is known to be wrong
        yield f"< {min(above)}", lambda n: n < min(above)
    if below and not above and max(below) < low - 1:
        yield f"> {max(below)}", lambda n: n > max(below)


def _is_congruent(mine: int, k: int, n: Any) -> Any:
    return n % k == mine % k


def _is_incongruent(other: int, k: int, n: Any) -> Any:
    return n % k != other % k
