"""Running a program again at other sizes, and telling where such a run first differs from that on the example.

No run is dropped in silence: one that makes the same calls teaches how sizes grow; one that makes others shows that a
decision depends on a size; and where PyTorch itself raises, the program takes no such sizes.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from nobuco.ir import Graph, Guard, Node, Samples, Site, Value, ValueKind, leaves, map_tensors, tensors, values
from nobuco.registry import operation_name
from nobuco.trace.record import NOTHING_SETTLED, Asked
from nobuco.trace.tracer import Failure, traced

Shape = Sequence["int | None"]
Sizes = Mapping[tuple[int, int], int]
Change = Callable[[int, int], int]
# Ways to change the size n of an axis, all tried; of the ways in a row the first that the program can take.
# Doubling keeps whatever divisibility it needs; growing by different multiples of 32 tells axes apart that are
# equally long; the odd ones (one stays odd however often it is halved) show what is constant for multiples
# alone (padding up to the next one), and, as they let other axes grow most than the multiples do, which of two sizes is
# chosen when either is the larger. The smaller ones show what a program leaves out where there is little of it.
CHANGES: tuple[tuple[Change, ...], ...] = (
    (lambda n, axis: 2 * n,),
    (lambda n, axis: n + (1, 64, 96, 32, 64)[axis % 5], lambda n, axis: n + 32),
    (lambda n, axis: n + 1,),
    (
        lambda n, axis: ((n + 1) | 31) + (0, 32, 0, 64, 32)[axis % 5] if axis else n + 3,
        lambda n, axis: (n + 1) | 31 if axis else n + 3,
    ),
    (lambda n, axis: max(n // 2 - axis % 2, 1), lambda n, axis: max(n // 2, 1)),
    (lambda n, axis: max(n - 1, 1),),
    (lambda n, axis: n + n // 2 + 1 if axis % 2 else max(n // 2, 1), lambda n, axis: 2 * n if axis % 2 else n),
    (lambda n, axis: 1,),
)
# Much larger ones are run where they cost little: a window, a cut or a table may end there.
FAR: tuple[Change, ...] = (lambda n, axis: 10 * n + 2 * axis, lambda n, axis: 100 * n)
# By how much to multiply the axes, counted from the batch, where few of the above make the same calls: a program takes
# multiples of some size alone, or goes another way at all others; or it takes another way but for the batch (a loop).
MULTIPLES = ((3, 2, 2, 1), (2, 3, 1, 2), (1, 3, 3, 2), (4, 1, 2, 3), (3, 4, 3, 3), (2, 1.5, 1.5, 2), (5, 2, 4, 1.5))
BATCHES = ((2, 1, 1, 1), (3, 1, 1, 1), (4, 1, 1, 1), (5, 1, 1, 1), (7, 1, 1, 1))
# Seconds that one run at much larger sizes may take, by what the run on the example took.
FAR_SECONDS = 1.0
_OPERATORS = "torch.ops."
_CHECKED = tuple(f"{_OPERATORS}{library}." for library in ("aten", "prims", "torchvision"))
# How many axes to try alone.
_MOST_ALONE = 8
# An axis of which a program takes fewer lengths than this is tried at others, so many times and for so long.
_FEWEST = 4
_MOST_SEARCHED = 60
SEARCH_SECONDS = 2.0
# So many lengths, and so long, of a program that makes plain numbers of sizes.
_MOST_SCANNED = 32
SCAN_SECONDS = 1.0


def reach_in(seconds: float) -> float:
    """How many times larger the inputs may be that are run, if the example takes so long.

    Attention takes the square of the length in time and in memory, most else takes as much as there is.
    """
    return (FAR_SECONDS / max(seconds, 1e-4)) ** (2 / 3)


def unchanged(graph: Graph) -> Graph:
    """A run as it is."""
    return graph


@dataclass(frozen=True)
class Program:
    """What is run again: the program with its example, and how it is traced.

    `rolling` makes of a run the same run with its loops as calls.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shapes: Mapping[int, Shape]
    options: Mapping[str, Any]
    rolling: Callable[[Graph], Graph] = unchanged

    @property
    def dynamic_axes(self) -> dict[tuple[int, int], int]:
        """The example's length of each dynamic axis, by input and dimension."""
        given = tensors((self.args, dict(self.kwargs)))
        return {
            (position, axis): given[position].shape[axis]
            for position, shape in self.shapes.items()
            for axis, size in enumerate(shape)
            if size is None and given[position].shape[axis]
        }

    def settling(self, place: Asked, way: bool, gated: Collection[Site] = ()) -> Program:
        """The program with a decision made for good, beside those that are; `gated` are its calls of `pad`.

        It may make other calls, so its loops are not known.
        """
        settled = self.options.get("settled", NOTHING_SETTLED).plus(place, way, gated)
        return replace(self, options={**self.options, "settled": settled}, rolling=unchanged)

    def splitting(self, places: Collection[Asked]) -> Program:
        """The program with both sides of these decisions traced."""
        settled = replace(self.options.get("settled", NOTHING_SETTLED), both=frozenset(places))
        return replace(self, options={**self.options, "settled": settled}, rolling=unchanged)

    def at(self, sizes: Sizes) -> Rerun:
        """A run with these lengths of dynamic axes."""
        args, kwargs = self.resized(sizes)
        result = traced(self.function, args, kwargs, **self.options)
        if isinstance(result, Failure):
            return Rerun(sizes, result)
        return Rerun(sizes, None, self.rolling(lightened(result)))

    def resized(self, sizes: Sizes) -> Any:
        """The arguments with such lengths, filled by repeating what they hold, floats of their own size each."""
        generator = torch.Generator("cpu").manual_seed(0)

        def resize(tensor: torch.Tensor, position: int) -> torch.Tensor:
            for (where, axis), size in sizes.items():
                if where == position and tensor.shape[axis]:
                    wanted = torch.arange(size, device="cpu") % tensor.shape[axis]
                    tensor = tensor.index_select(axis, wanted.to(tensor.device))
            if not tensor.is_floating_point():
                return tensor
            shares = 1 - torch.rand(tensor.shape, generator=generator, device="cpu") / 4
            return tensor * shares.to(tensor.device, tensor.dtype)

        with torch.no_grad():
            return map_tensors(resize, (self.args, dict(self.kwargs)))


@dataclass(frozen=True)
class Rerun:
    """A run at other sizes: what was recorded, or how PyTorch failed."""

    sizes: Sizes
    failure: Failure | None
    graph: Graph | None = None

    @property
    def guards(self) -> Sequence[Guard]:
        """The decisions that it took by sizes."""
        return self.failure.guards if self.graph is None and self.failure is not None else self.graph.guards  # type: ignore[union-attr]


def lightened(graph: Graph) -> Graph:
    """The graph of another run with the samples that are looked at alone: sizes, constants, inputs and outputs.

    The activations of many runs at once would fill the memory.
    """
    ends = {value.id for value in (*graph.inputs, *values(graph.outputs))}
    made = {value.id for node in graph.walk() for value in node.results if value.kind is ValueKind.RESULT}
    kept = {id: held for id, held in graph.samples.kept.items() if id in ends or id not in made}
    return replace(graph, samples=Samples(kept))


def reruns(program: Program, graph: Graph, seconds: float) -> list[Rerun]:
    """Runs at other sizes; `graph` is the run on the example, which took so many `seconds`."""
    axes = program.dynamic_axes
    found: dict[tuple[int, ...], Rerun] = {}
    if not axes:  # the example has nothing along any of them
        return []
    for ways in CHANGES:
        for change in ways:
            run = _tried(program, axes, change, found)
            if run.graph is not None:
                break
    first, *_ = axes
    _added(program, {place: 0 if (place[1], n) == (first[1], axes[first]) else n for place, n in axes.items()}, found)
    _search(program, axes, found, seconds)
    if any(node.op is operator.index for node in graph.walk()):
        _scan(program, axes, found, seconds)
    if all(map(_checks_sizes, graph.walk())):
        _tell_apart(program, axes, found)
    turned = _turned_round(axes)
    if turned != axes and _growth(axes, turned) <= reach_in(seconds):
        _added(program, turned, found)
    for change in FAR:
        far = {place: change(n, place[1]) for place, n in axes.items()}
        if _growth(axes, far) <= reach_in(seconds):
            _added(program, far, found)
        else:
            _far_alone(program, axes, change, reach_in(seconds), found)
    return list(found.values())


def _growth(axes: Sizes, sizes: Sizes) -> float:
    """How many times more there is at these sizes than in the example."""
    return float(np.prod([sizes[place] / n for place, n in axes.items()]))


def _far_alone(
    program: Program, axes: Sizes, change: Change, reach: float, found: dict[tuple[int, ...], Rerun]
) -> None:
    """Add runs in which one axis is much larger, in all inputs that have it, where all of them would be too much."""
    for (axis, n), places in sorted(_alike(axes).items()):
        if (change(n, axis) / n) ** len(places) <= reach:
            _added(program, {**axes, **dict.fromkeys(places, change(n, axis))}, found)


def multiples(program: Program, ran: Sequence[Rerun], table: Sequence[Sequence[float]]) -> list[Rerun]:
    """Runs at multiples of the example's sizes, beside those that there are."""
    axes = program.dynamic_axes
    found = {tuple(run.sizes.values()): run for run in ran}
    for factors in table:
        _tried(program, axes, partial(_multiple, factors), found)
    return list(found.values())


def _multiple(factors: Sequence[float], n: int, axis: int) -> int:
    return round(n * factors[axis % len(factors)])


def _checks_sizes(node: Node) -> bool:
    """Whether a call that is given sizes that do not go together raises; an operator of somebody's own may not."""
    name = operation_name(node.op)
    return not name.startswith(_OPERATORS) or name.startswith(_CHECKED)


def _tell_apart(program: Program, axes: Sizes, found: dict[tuple[int, ...], Rerun]) -> None:
    """Add runs in which axes are unequal that are equal in all others: the same axis of several inputs.

    All at once; or, since PyTorch may want some to be equal, each alone.
    """
    others = [group[1:] for group in _alike(axes).values()]
    apart = {place: n + 32 * place[0] for place, n in axes.items()}
    if not any(others) or _added(program, apart, found).graph is not None:
        return
    for place in [place for _, place in sorted((i, p) for group in others for i, p in enumerate(group))][:_MOST_ALONE]:
        _added(program, {**axes, place: axes[place] + 32}, found)


def _alike(axes: Sizes) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The dynamic axes by number and length: those of several inputs that may be one axis."""
    alike: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for place, n in axes.items():
        alike.setdefault((place[1], n), []).append(place)
    return alike


def _search(program: Program, axes: Sizes, found: dict[tuple[int, ...], Rerun], seconds: float) -> None:
    """Add runs of a program that takes few lengths of an axis, such as squares: one after another is tried."""
    left = int(min(_MOST_SEARCHED, SEARCH_SECONDS / max(seconds, 1e-4)))
    for (_, mine), places in _alike(axes).items():
        for n in (4 * mine, 9 * mine, 16 * mine, *range(1, _MOST_SEARCHED)):
            ran = {run.sizes[places[0]] for run in found.values() if run.graph is not None and run.sizes[places[0]]}
            if len(ran | {mine}) >= _FEWEST or left <= 0:
                break
            if n != mine:
                left -= _added(program, {**axes, **dict.fromkeys(places, n)}, found).graph is None


def _scan(program: Program, axes: Sizes, found: dict[tuple[int, ...], Rerun], seconds: float) -> None:
    """Add runs of one length of an axis after another: what is decided by `int(n)` shows only where it is decided."""
    left = int(min(_MOST_SCANNED, SCAN_SECONDS / max(seconds, 1e-4)))
    groups = [(mine, places) for (_, mine), places in _alike(axes).items()]
    lengths = [(n, places) for n in range(2, _MOST_SCANNED) for mine, places in groups if n != mine]
    for n, places in lengths[:left]:
        _added(program, {**axes, **dict.fromkeys(places, n)}, found)


def _turned_round(axes: Sizes) -> Sizes:
    """Multiples of these sizes, the larger the smaller these are: so other sizes are the largest and the smallest."""
    turned: dict[tuple[int, int], int] = {}
    above, last = 0, 0
    for place, n in sorted(axes.items(), key=lambda item: -item[1]):
        above = max(turned.values(), default=0) if n != last else above
        turned[place] = n * (above // n + 1)
        last = n
    return {place: turned[place] for place in axes}


def one_by_one(program: Program, groups: Sequence[Sequence[tuple[int, int]]], tried: Collection[Sizes]) -> list[Rerun]:
    """Runs in which the axes of one group alone have other lengths: one longer, odd if it may be, and one shorter."""
    axes = program.dynamic_axes
    ways: tuple[tuple[Callable[[int], int], ...], ...] = (
        (lambda n: 2 * n + 1, lambda n: 2 * n),
        (lambda n: max(n // 2, 1),),
    )
    runs: list[Rerun] = []
    for group, changes in itertools.product(groups[:_MOST_ALONE], ways):
        for change in changes:
            sizes = {place: change(n) if place in group else n for place, n in axes.items()}
            if sizes in (*tried, *(run.sizes for run in runs), axes):
                continue
            runs.append(program.at(sizes))
            if runs[-1].graph is not None:
                break
    return runs


def checks(program: Program, tried: Collection[Sizes], reach: float) -> list[Rerun]:
    """Runs that no formula was made of, to check formulas with: at sizes unlike those of other runs."""
    axes = program.dynamic_axes
    changes: tuple[Change, ...] = (lambda n, axis: 3 * n + 2 * axis + 2, lambda n, axis: 7 * n + axis)
    wanted = [{place: change(n, place[1]) for place, n in axes.items()} for change in changes]
    return [program.at(sizes) for sizes in wanted if sizes not in tried and _growth(axes, sizes) <= max(reach, 10)]


def _tried(
    program: Program, axes: Mapping[tuple[int, int], int], change: Change, found: dict[tuple[int, ...], Rerun]
) -> Rerun:
    sizes = {place: change(n, place[1]) for place, n in axes.items()}
    key = tuple(sizes.values())
    if key == tuple(axes.values()):
        return Rerun(sizes, None)
    return _added(program, sizes, found)


def _added(program: Program, sizes: Sizes, found: dict[tuple[int, ...], Rerun]) -> Rerun:
    key = tuple(sizes.values())
    if key not in found:
        found[key] = program.at(sizes)
    return found[key]


def parting(first: Graph, second: Graph) -> tuple[Node, int] | None:
    """The first call of a run that another run does not make, and how many began before it; None: there is none."""
    mine, theirs = list(first.walk()), list(second.walk())
    back = {other.id: value.id for value, other in zip(first.inputs, second.inputs)}
    for position, (node, other) in enumerate(zip(mine, theirs)):
        if _form(node) != _form(other) or not _reads_alike((node.args, node.kwargs), (other.args, other.kwargs), back):
            return node, position
        back.update((theirs.id, value.id) for value, theirs in zip(node.results, other.results))
    if len(mine) != len(theirs):
        longer = mine if len(mine) > len(theirs) else theirs
        return longer[min(len(mine), len(theirs))], min(len(mine), len(theirs))
    alike = _tree_form(first.outputs) == _tree_form(second.outputs)
    if mine and not (alike and _reads_alike(first.outputs, second.outputs, back)):
        return mine[-1], len(mine)
    return None


def gives_alike(first: Graph, second: Graph | None) -> bool:
    """Whether a run gives tensors in the places where another one does."""
    return second is not None and _kinds(first.outputs) == _kinds(second.outputs)


def _kinds(tree: Any) -> list[Any]:
    return [type(leaf) for leaf in leaves(tree)]


def _reads_alike(mine: Any, theirs: Any, back: Mapping[int, int]) -> bool:
    """Whether a tree has the same tensors in another run, those of that run by `back`: `(a, b)[n % 2]` has not."""
    for value, other in zip(leaves(mine), leaves(theirs)):
        if not isinstance(value, Value) or not isinstance(other, Value) or ValueKind.SIZE in (value.kind, other.kind):
            continue
        if value.name != other.name or back.get(other.id, value.id) != value.id:
            return False
    return True


def _form(node: Node) -> tuple[Any, ...]:
    """What two runs must have in common for a call to be the same."""
    name = getattr(node.op, "__qualname__", str(node.op))
    return name, node.path, tuple(v.rank for v in node.results), _tree_form((node.args, dict(node.kwargs)))


def _tree_form(tree: Any) -> tuple[Any, ...]:
    """The leaves of an argument tree by what they are; a number may have become a size, and the other way round."""
    return tuple(
        "number" if is_number(leaf) else leaf.rank if isinstance(leaf, Value) else type(leaf).__name__
        for leaf in leaves(tree)
    )


def is_number(leaf: Any) -> bool:
    """Whether a leaf is a size, or a number of Python's or NumPy's."""
    if isinstance(leaf, Value):
        return leaf.kind is ValueKind.SIZE
    return isinstance(leaf, (int, float, np.number, np.bool_))
