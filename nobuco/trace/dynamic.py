"""Which sizes are dynamic: found by running the programme again at other sizes.

A size that is the same in all runs is a constant, whatever arithmetic led to it; so only what really depends
on a dynamic axis stays symbolic, and the rest of the graph is as static as it would be without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nobuco.ir import Graph, Node, Value, ValueKind, leaves, map_leaves, map_tensors, values
from nobuco.registry import operation_name
from nobuco.trace.alike import alike
from nobuco.trace.choices import with_choices
from nobuco.trace.counting import Fewer, counts, sizes_behind
from nobuco.trace.lengths import with_lengths
from nobuco.trace.regions import closed, mapped
from nobuco.trace.sizes import Kept
from nobuco.trace.tracer import trace

Shape = Sequence["int | None"]
Change = Callable[[int, int], int]
# Ways to change the size n of an axis, all tried; of the ways in a row the first that the programme can take.
# Doubling keeps whatever divisibility it needs; growing by different multiples of 32 tells axes apart that are
# equally long; the odd ones, of which one is odd however often it is halved, show what is constant for multiples
# alone (padding up to the next one), and, as they let other axes grow most than the multiples do, which of two sizes is
# chosen when either is the larger.
_CHANGES: tuple[tuple[Change, ...], ...] = (
    (lambda n, axis: 2 * n,),
    (lambda n, axis: n + (1, 64, 96, 32, 64)[axis % 5], lambda n, axis: n + 32),
    (lambda n, axis: n + 1,),
    (
        lambda n, axis: ((n + 1) | 31) + (0, 32, 0, 64, 32)[axis % 5] if axis else n + 3,
        lambda n, axis: (n + 1) | 31 if axis else n + 3,
    ),
)
# How many of n elements that are chosen by their values to leave in another run, each tried: some of the sizes that
# follow from that are cut off at a number, which only few elements show.
_FEWER: tuple[Fewer, ...] = (lambda n: n - 1, lambda n: n // 2, lambda n: min(n - 1, 3))


def trace_dynamic(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    shapes: Mapping[int, Shape],
    sizes: Kept = Kept.ALL,
    paths: int = 0,
    stands_for_all: Callable[[Node], bool] = lambda node: False,
) -> Graph:
    """Trace with sizes that stay symbolic where they are dynamic.

    They are where an axis of an input is, and behind calls that give as many elements as values say. `shapes` gives,
    by position among the tensors of the call, shapes with None for dynamic axes. Where no other sizes can be run
    (the programme insists on the ones given), every size counts as dynamic. What happens inside an operation that
    `stands_for_all` may differ from size to size.
    """
    resizes = any(None in shape for shape in shapes.values())
    graph = trace(function, args, kwargs, sizes if resizes else Kept.NONE, paths)
    counted = counts(graph)
    if not resizes and not counted:
        return graph
    graph = graph if resizes else trace(function, args, kwargs, sizes, paths)
    runs = [_other_run(function, args, kwargs, shapes, ways, sizes, paths) for ways in _CHANGES if resizes]
    runs += [_thinned_run(function, args, kwargs, sizes, paths, fewer) for fewer in _FEWER if counted]
    graph, *others = alike([graph, *(run for run in runs if run is not None)], stands_for_all)
    same_way = [other for other in others if _same_calls(graph, other)]
    if same_way:
        graph, *same_way = with_lengths([graph, *same_way])
        graph = replace(
            graph,
            runs=tuple(_seen(graph, other) for other in same_way),
            warnings=(*graph.warnings, *_lost_numbers(graph, same_way)),
        )
        graph = with_choices(graph, same_way)
        return _with_static_sizes(graph, _differing_sizes(graph))
    if not resizes and not others:  # it insists on as many elements as were chosen
        return _with_static_sizes(graph, frozenset())
    every = frozenset(v.id for node in graph.walk() for v in node.results if v.kind is ValueKind.SIZE)
    return replace(
        _with_static_sizes(graph, every if resizes else sizes_behind(graph)),
        warnings=(*graph.warnings, _unfollowed("takes another way" if others else "could not be run", resizes)),
    )


def _unfollowed(problem: str, resizes: bool) -> str:
    """What to say of a programme whose other runs do not tell which sizes are dynamic."""
    if resizes:
        return (
            f"the programme {problem} at sizes other than those of the example inputs, so every size counts "
            "as dynamic; the converted model may only work at the example's sizes"
        )
    return (
        f"the programme {problem} at other numbers of elements chosen by value, so every size behind those counts "
        "as dynamic; the converted model may only work where as many are chosen as in the example"
    )


def _other_run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    shapes: Mapping[int, Shape],
    ways: Sequence[Change],
    sizes: Kept,
    paths: int,
) -> Graph | None:
    """A trace at other sizes; None where the programme cannot take them, whatever it raises then."""
    for change in ways:
        other_args, other_kwargs = _resized((args, dict(kwargs)), shapes, change)
        try:
            return trace(function, other_args, other_kwargs, sizes, paths)
        except Exception:
            continue
    return None


def _thinned_run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sizes: Kept,
    paths: int,
    fewer: Fewer,
) -> Graph | None:
    """A trace with fewer elements chosen; None where the programme cannot go on with them."""
    try:
        return trace(function, args, kwargs, sizes, paths, fewer)
    except Exception:
        return None


def _resized(tree: Any, shapes: Mapping[int, Shape], change: Change) -> Any:
    """The arguments with their dynamic axes changed, filled by repeating what they hold."""

    def resize(tensor: torch.Tensor, position: int) -> torch.Tensor:
        for axis, size in enumerate(shapes.get(position, ())):
            if size is None and tensor.shape[axis]:
                wanted = torch.arange(change(tensor.shape[axis], axis)) % tensor.shape[axis]
                tensor = tensor.index_select(axis, wanted.to(tensor.device))
        return tensor

    with torch.no_grad():
        return map_tensors(resize, tree)


def _same_calls(first: Graph, second: Graph) -> bool:
    """Whether two runs made the same calls, in the same order."""
    return [_operation(node) for node in first.walk()] == [_operation(node) for node in second.walk()]


def _operation(node: Node) -> tuple[Any, ...]:
    return (getattr(node.op, "__qualname__", str(node.op)), node.path, len(node.results))


def _seen(first: Graph, second: Graph) -> dict[int, Any]:
    """By the first run's values: the shapes and sizes of the second."""
    pairs = list(zip(first.inputs, second.inputs))
    for node, other in zip(first.walk(), second.walk()):
        pairs += zip(node.results, other.results)
    return {
        mine.id: second.samples[theirs.id] if mine.kind is ValueKind.SIZE else theirs.shape for mine, theirs in pairs
    }


def _lost_numbers(first: Graph, others: Sequence[Graph]) -> list[str]:
    """What to say of numbers that depend on a size although they do not remember it, each line of the user's once."""
    noted = {note.message.partition(": ")[0] for note in first.baked}
    found: dict[str, str] = {}
    for node, *theirs in zip(first.walk(), *(other.walk() for other in others)):
        for number, *rest in zip(_given(node), *map(_given, theirs)):
            differing = [n for n in rest if type(n) is int and n != number]
            if type(number) is int and differing and str(node.site) not in noted:
                found.setdefault(
                    str(node.site),
                    f"{node.site}: {operation_name(node.op)} is given {number} here and {differing[0]} at another "
                    f"size, in a way that could not be followed; the converted model keeps {number}",
                )
    return list(found.values())


def _given(node: Node) -> list[Any]:
    return list(leaves((node.args, dict(node.kwargs))))


def _differing_sizes(graph: Graph) -> frozenset[int]:
    """The ids of sizes that another run has otherwise."""
    sizes = {v.id for node in graph.walk() for v in node.results if v.kind is ValueKind.SIZE}
    return frozenset(i for i in sizes for run in graph.runs if run[i] != graph.samples[i])


def _with_static_sizes(graph: Graph, dynamic: frozenset[int]) -> Graph:
    """The graph with every size that is not dynamic replaced by its number."""

    def number(leaf: Any) -> Any:
        static = isinstance(leaf, Value) and leaf.kind is ValueKind.SIZE and leaf.id not in dynamic
        return graph.samples[leaf.id] if static else leaf

    def computes_static_size(node: Node) -> bool:
        found = values(node.outputs)
        return bool(found) and all(v.kind is ValueKind.SIZE and v.id not in dynamic for v in found)

    baked = tuple(note for note in graph.baked if note.value in dynamic)
    return replace(
        graph,
        nodes=closed(mapped(graph.nodes, number, computes_static_size), [before for before, _ in graph.states]),
        outputs=map_leaves(number, graph.outputs),
        warnings=(*graph.warnings, *dict.fromkeys(note.message for note in baked)),
        baked=baked,
        dynamic=dynamic,
    )
