"""Decisions that only save work, so that the side which the example did not take serves for both.

A padding mask of ones is left out, a position embedding of the right size is not interpolated, what divides evenly is
not padded. Where the program itself takes the general side, that is right; that it gives the same where the program
takes the quick one, runs show: on the example, on other values, at other sizes. Then the general side is converted, and
the decision is no condition any more. Tried are decisions by sizes, and by inputs of whole numbers or truth values
(masks, lengths, indices): what a decision by floats is about, a few runs cannot show.
"""

from __future__ import annotations

import dis
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nobuco.ir import Graph, Guard, Node, Site, ValueKind, map_tensors, run_gave, tensors
from nobuco.parity import compare, default_tolerance
from nobuco.trace.calls import gives_shape_alone, name_of
from nobuco.trace.site import decides_alone, is_library
from nobuco.trace.sizes.reruns import CHANGES, Program, Rerun
from nobuco.trace.tracer import Failure, traced
from nobuco.trace.trials import calls_in_a_row, extreme_calls, is_mask, masks, other_values

_MOST = 8  # decisions of one program that are tried
_FEWEST_RUNS = 2  # at other sizes
_SIZES = 2  # other sizes at which decisions by values are checked


@dataclass(frozen=True)
class General:
    """A program in which such decisions go the general way, and its trace on the example."""

    program: Program
    graph: Graph
    stands_for_all: Callable[[Node], bool]

    def open(self, guards: Sequence[Guard]) -> list[Guard]:
        """Those of its decisions that may be made for good, one of each line: those that no converter answers."""
        if self.graph.states:
            return []
        answered = {node.id for node in self.graph.walk() if node.children and self.stands_for_all(node)}
        candidates = (g for g in guards if isinstance(g.outcome, bool) and answered.isdisjoint(g.within))
        return list({guard.place: guard for guard in candidates}.values())[:_MOST]

    def settling(self, guard: Guard, way: bool, gated: Collection[Site] = ()) -> General | Failure | None:
        """The program with a decision that goes one way for good; None where it does not."""
        program = self.program.settling(guard.place, way, gated)
        run = traced(program.function, program.args, program.kwargs, **program.options)
        if isinstance(run, Failure):
            return run
        is_gone = all(guard.place != other.place for other in (*run.guards, *run.truths))
        return replace(self, program=program, graph=run) if is_gone else None

    def refuses(self, guard: Guard) -> bool:
        """Whether the program only raises an error of its own where a decision goes the other way."""
        other = self.settling(guard, not guard.outcome) if self.open([guard]) else None
        return isinstance(other, Failure) and _is_refusal(other.error)


def general_by_values(first: General) -> General:
    """The program with its decisions by values that only save work made for good; with those, too, that only refuse."""
    steps, tried = [first], set[tuple[Site, str]]()
    while len(tried) < _MOST:
        latest = steps[-1]
        guards = [g for g in latest.open(latest.graph.truths) if g.place not in tried and _is_discrete(latest.graph, g)]
        if not guards:
            break
        tried.add(guards[0].place)
        other = latest.settling(guards[0], not guards[0].outcome)
        if isinstance(other, Failure) and _is_refusal(other.error):
            other = latest.settling(guards[0], guards[0].outcome)
        if isinstance(other, General) and _agree(run_gave(first.graph), run_gave(other.graph)):
            steps.append(other)
    points = list(_points(first.program, [step.graph for step in steps])) if len(steps) > 1 else []
    return next(step for step in reversed(steps) if step is first or _holds_at(points, step.program))


def general_by_sizes(
    general: General, deciding: Sequence[tuple[Guard, Rerun | None]], runs: Sequence[Rerun]
) -> tuple[General, list[Rerun]]:
    """The program with those of these decisions by sizes made for good that only save work, and its runs.

    Each comes with a run where it goes otherwise, if there is one. What is padded there alone is padded by nothing
    elsewhere.
    """
    latest, parting = general, {guard.place: run for guard, run in deciding}
    for guard in general.open([guard for guard, _ in deciding]):
        for way, gated in _ways(general.graph, guard, parting[guard.place]):
            other = latest.settling(guard, way, gated)
            if isinstance(other, General) and _agree(run_gave(general.graph), run_gave(other.graph)):
                elsewhere = None if way != guard.outcome else parting[guard.place]
                resized = _resized(other.program, runs)
                points = _far_points(general.program, elsewhere, (general.graph, other.graph))
                if resized is not None and _holds_at(points, other.program):
                    latest, runs = other, resized
                    break
    return latest, list(runs)


def _ways(graph: Graph, guard: Guard, run: Rerun | None) -> Iterator[tuple[bool, frozenset[Site]]]:
    """Ways that a decision may go for good, and the calls of `pad` that do nothing where the program goes the other."""
    yield not guard.outcome, frozenset()
    if run is None or run.graph is None:
        return
    yield guard.outcome, frozenset()
    if not decides_alone(guard.site):
        return
    number = graph.guards.index(guard)
    for way, one, other in ((not guard.outcome, run.graph, graph), (guard.outcome, graph, run.graph)):
        gated = _pads(one, number) - {node.site for node in _pad_calls(other)}
        if gated:
            yield way, gated


def _pads(graph: Graph, number: int) -> frozenset[Site]:
    """The lines of those calls of `pad` that follow a decision, until the next one."""
    mine, *later = graph.guards[number:]
    end = next((other.position for other in later if other.place != mine.place), math.inf)
    return frozenset(node.site for node in _pad_calls(graph) if mine.position < node.id <= end)


def _pad_calls(graph: Graph) -> Iterator[Node]:
    return (node for node in graph.walk() if not node.children and name_of(node.op) == "pad")


def _is_refusal(error: BaseException) -> bool:
    """Whether an error is one that the program raises itself, by a statement of its own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or is_library(trace.tb_frame.f_code.co_filename):
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _is_discrete(graph: Graph, guard: Guard) -> bool:
    """Whether a decision is by elements of inputs of whole numbers or truth values, and of no others."""
    behind = _inputs_behind(graph, guard)
    return bool(behind) and all(value.dtype.startswith(("bool", "int", "uint")) for value in behind)


def _inputs_behind(graph: Graph, guard: Guard) -> list[Any]:
    """The inputs whose elements a decision depends on."""
    needed = {guard.size.id}
    for node in reversed([node for node in graph.walk() if not node.children]):
        results = [value for value in node.results if value.kind is not ValueKind.SIZE and value.id in needed]
        if results and not gives_shape_alone(node.op):
            needed |= {value.id for value in node.inputs}
    return [value for value in graph.inputs if value.id in needed]


def _resized(program: Program, runs: Sequence[Rerun]) -> list[Rerun] | None:
    """The runs of the program at these sizes, if all gave the same; None where one did not, or there are few."""
    others: list[Rerun] = []
    if sum(run.graph is not None for run in runs) < _FEWEST_RUNS:
        return None
    for run in runs:
        other = program.at(run.sizes)
        if run.graph is not None and (other.graph is None or not _agree(run_gave(run.graph), run_gave(other.graph))):
            return None
        others.append(other)
    return others


@dataclass(frozen=True)
class _Point:
    """Arguments, and what the program gives for them."""

    args: Any
    kwargs: Any
    expected: Sequence[Any]


def _points(program: Program, graphs: Sequence[Graph]) -> Iterator[_Point]:
    """Where to check decisions by values: where they go as on the example, and where they may go otherwise."""
    decided = [(graph, guard) for graph in graphs for guard in graph.truths if _is_discrete(graph, guard)]
    kept = {graph.inputs.index(value) for graph, guard in decided for value in _inputs_behind(graph, guard)}
    generator = torch.Generator("cpu").manual_seed(2)

    def drawn(tensor: torch.Tensor, position: int) -> torch.Tensor:
        if position in kept:
            return tensor
        return _normal(tensor, generator) if tensor.is_floating_point() else other_values(tensor, generator)

    calls = [map_tensors(drawn, (program.args, dict(program.kwargs))) for _ in range(2)]
    calls.append(map_tensors(lambda t, _: other_values(t, generator), (program.args, dict(program.kwargs))))
    calls += list(_masked(program, kept, drawn))
    far = extreme_calls((program.args, dict(program.kwargs)), graphs)
    calls += [_keeping(kept, program, other) for other in far]
    axes = program.dynamic_axes
    changes = [ways[0] for ways in CHANGES[:_SIZES]] if axes else []
    resized = [{place: change(n, place[1]) for place, n in axes.items()} for change in changes]
    # A run that is traced first is refused where PyTorch would not check sizes.
    calls += [program.resized(sizes) for sizes in resized if program.at(sizes).graph is not None]
    for args, kwargs in calls:
        expected = calls_in_a_row(program.function, [(args, kwargs)])
        if expected:
            yield _Point(args, kwargs, expected[0])


def _keeping(kept: Collection[int], program: Program, call: Any) -> Any:
    """A call with the program's own tensors in these places."""
    mine = tensors((program.args, dict(program.kwargs)))
    return map_tensors(lambda tensor, position: mine[position] if position in kept else tensor, call)


def _far_points(program: Program, run: Rerun | None, graphs: Sequence[Graph]) -> Iterator[_Point]:
    """Where to check a decision by sizes that is made for good: with values far from those, at sizes of a run."""
    call = (program.args, dict(program.kwargs)) if run is None else program.resized(run.sizes)
    known = graphs if run is None or run.graph is None else (*graphs, run.graph)
    for args, kwargs in extreme_calls(call, known):
        expected = calls_in_a_row(program.function, [(args, kwargs)])
        if expected:
            yield _Point(args, kwargs, expected[0])


def _masked(program: Program, kept: Collection[int], drawn: Callable[[torch.Tensor, int], Any]) -> Iterator[Any]:
    """Calls in which masks that decide are others: with some of these the program may decide as on the example."""
    inputs = tensors((program.args, dict(program.kwargs)))
    deciding = {position: masks(inputs[position]) for position in kept if is_mask(inputs[position])}

    def other(number: int) -> Callable[[torch.Tensor, int], torch.Tensor]:
        return lambda t, position: deciding[position][number] if position in deciding else drawn(t, position)

    for number in range(min(map(len, deciding.values()), default=0)):
        yield map_tensors(other(number), (program.args, dict(program.kwargs)))


def _normal(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Floats of both signs, about as large as these."""
    size = float(tensor.detach().abs().max()) if tensor.numel() else 1.0
    drawn = torch.randn(tensor.shape, generator=generator, device="cpu") * (size if 0 < size < float("inf") else 1.0)
    return drawn.to(tensor.device, tensor.dtype)


def _holds_at(points: Iterable[_Point], program: Program) -> bool:
    """Whether a program gives what is expected everywhere."""
    for point in points:
        run = traced(program.function, point.args, point.kwargs, **program.options)
        if isinstance(run, Failure) or not _agree(point.expected, run_gave(run)):
            return False
    return True


def _agree(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether results of two runs are the same up to another order of summation."""
    return len(some) == len(others) and all(map(_is_same, some, others))


def _is_same(one: Any, other: Any) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return type(one) is type(other) and bool(one == other)
    if any(t.is_quantized or t.layout != torch.strided for t in (one, other)):
        return False
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    name = str(one.dtype).removeprefix("torch.")
    first, second = (t.detach().cpu().resolve_conj().resolve_neg() for t in (one, other))
    if one.dtype == torch.bfloat16 or name.startswith("float8"):
        first, second = first.float(), second.float()
    return compare(first.numpy(), second.numpy(), default_tolerance(name)).matches
