"""Opening calls that have no converter into the ATen calls that PyTorch itself makes of them.

PyTorch runs the call once more and tells what it comes down to, decomposed as far as converters want it;
each ATen call becomes a node with real samples, so that it is validated like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, zip_longest
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nobuco.ir import Condition, Graph, Node, Trial, Value, ValueKind, leaves, values
from nobuco.registry import operation_name
from nobuco.trace.again import as_function
from nobuco.trace.aten import aten_calls
from nobuco.trace.control import calls_are_seen
from nobuco.trace.fused import LSTM_LAYER, lstm_layer
from nobuco.trace.randomness import keeping_random
from nobuco.trace.regions import mapped
from nobuco.trace.sizes.guesses import patterns, said
from nobuco.trace.sizes.infer import Inferred, inferred, seen_by
from nobuco.trace.unrolled import Unrolled, give_the_same, same_calls, same_numbers

Find = Callable[[Any], Any]
_PRIMITIVE = {"prims", "rngprims"}
# In so many other runs calls were the same, before what the lengths have in common there is believed.
_FEWEST_ALIKE = 3
# One trial may be right by chance, as `roll` by 3 and by 1 are the same where a size is 2.
_FEWEST_TELLING = 2


def opened(
    graph: Graph, gaps: Collection[int], find: Find, names: Sequence[str] = ()
) -> tuple[Graph, Mapping[int, str]]:
    """The graph with those of these nodes (by id) that can be opened holding their ATen calls as children.

    `find` tells whether an operation has a converter: what has none is decomposed further. Also given is, by id, why
    PyTorch could not open the others. Conditions call the inputs by their `names`.
    """
    opening = _Opening(graph, find, _decompositions(find), names)
    nodes = opening.visit(graph.nodes, frozenset(gaps))
    sizes = dict.fromkeys(opening.conditions)
    changed = replace(
        graph,
        nodes=nodes,
        samples=graph.samples.plus(opening.made),
        warnings=(*graph.warnings, *dict.fromkeys(opening.warnings), *(condition.message for condition in sizes)),
        conditions=(*graph.conditions, *sizes),
        evidence={**graph.evidence, **{condition.message: opening.trials_apart(condition) for condition in sizes}},
        runs=tuple({**run, **more} for run, more in zip(graph.runs, opening.runs)),
        dynamic=graph.dynamic | opening.dynamic,
    )
    return changed, opening.refused


def _decompositions(find: Find) -> dict[Any, Callable[..., Any]]:
    """PyTorch's decompositions of all that has no converter: those into Core ATen, and behind them the others."""
    from torch._decomp import core_aten_decompositions, global_decomposition_table  # 0.3 s, so only where needed

    # Somebody's own operation may write to what it made: its inside is to be functional, too.
    own = {op: _functional(body) for op, body in _bodies().items() if op.namespace not in _PRIMITIVE}
    known = {**global_decomposition_table["post_autograd"], **core_aten_decompositions(), **own, LSTM_LAYER: lstm_layer}
    return {op: function for op, function in known.items() if find(op) is None}


def _bodies() -> dict[Any, Callable[..., Any]]:
    """What operations made by `torch.library.custom_op` do, written in Python."""
    from torch._library.custom_ops import OPDEFS

    return {op._opoverload: op._init_fn for op in OPDEFS.values()}


@dataclass
class _Opening:
    """Opens the nodes of one graph; `made` are the samples of the new values, `runs` what these were in other runs."""

    graph: Graph
    find: Find
    table: Mapping[Any, Callable[..., Any]]
    names: Sequence[str]
    warnings: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.runs: list[dict[int, Any]] = [{} for _ in self.graph.runs]
        self.apart: dict[str, set[int]] = {}
        self.dynamic: set[int] = set()
        used = [node.id for node in self.graph.walk()]
        self._used = {v.id for node in self.graph.walk() for v in node.inputs} | {v.id for v in self._kept()}
        self._ids = count(max([*used, *self.graph.samples], default=0) + 1)

    def _kept(self) -> list[Value]:
        return [*values(self.graph.outputs), *(after for _, after in self.graph.states)]

    def visit(self, nodes: Iterable[Node], gaps: frozenset[int]) -> tuple[Node, ...]:
        """The nodes, those among `gaps` opened."""
        return tuple(self._visited(node, gaps) for node in nodes)

    def _visited(self, node: Node, gaps: frozenset[int]) -> Node:
        if node.id in gaps:
            calls = self._opened(node)
            return node if calls is None else replace(node, children=calls, opened=True)
        bodies = tuple(replace(region, nodes=self.visit(region.nodes, gaps)) for region in node.regions)
        return replace(node, children=self.visit(node.children, gaps), regions=bodies)

    def _opened(self, node: Node) -> tuple[Node, ...] | None:
        """The ATen calls of a node; None where PyTorch cannot tell them, or has it as one of them."""
        inputs = tuple({v.id: v for v in node.inputs if v.kind is not ValueKind.SIZE}.values())
        samples = self.graph.samples
        unrolled = Unrolled(node.site, inputs, _of_inputs(node, samples), self._ids)
        try:
            outputs = unrolled.run(self._program(node, inputs, samples))
        except Exception as error:  # whatever a call raises that is run in another way than it was written for
            self.refused[node.id] = f"{type(error).__name__}: {error}"
            return None
        if any(call.op == node.op for call in unrolled.nodes):
            return None
        odd = [f"{o!r} for {r!r}" for o, r in zip_longest(outputs, node.results) if not self._stands_for(o, r)]
        if odd:
            self.refused[node.id] = f"its decomposition gives {', '.join(odd)}"
            return None
        if unrolled.bakes:
            self.warnings.append(
                f"{node.site}: {operation_name(node.op)} takes a value that depends on the input into Python; "
                "the converted model keeps what it was while tracing"
            )
        self.made.update((id, sample) for id, sample in unrolled.samples.items() if id not in samples)
        nodes = self._with_sizes(node, unrolled, outputs) if self.runs else unrolled.nodes
        return _giving(nodes, outputs, node, self._ids)

    def _stands_for(self, output: Value | None, result: Value | None) -> bool:
        """Whether an output of the ATen calls can be a result of the call: like it, or not asked for."""
        if output is None or result is None:
            return False
        return _are_alike(output, result) or result.id not in self._used

    def _program(self, node: Node, inputs: Sequence[Value], samples: Mapping[int, Any]) -> Any:
        inputs_now = [samples[v.id].detach().clone() for v in inputs]
        call = as_function(node, inputs, samples, _bodies().get(node.op))
        own = [leaf for leaf in leaves((node.args, dict(node.kwargs))) if isinstance(leaf, torch.Generator)]
        with torch.no_grad(), calls_are_seen(), keeping_random(own):
            return aten_calls(_functional(_unchecked(call)), inputs_now, self.table)

    def _with_sizes(self, node: Node, unrolled: Unrolled, outputs: Sequence[Value]) -> Sequence[Node]:
        """The ATen calls of a node with sizes in place of the numbers that were others in the graph's other runs.

        That is told where the calls would give something else there, or a number cannot be followed.
        """
        runs = [self._again(node, unrolled, number) for number in range(len(self.runs))]
        same = {n: again for n, (again, _) in enumerate(runs) if same_calls(unrolled.nodes, again.nodes)}
        learnt = self._learnt(unrolled, list(same.values()), [v for v in node.inputs if v.kind is ValueKind.SIZE])
        shapes = dict(zip(same, learnt.graph.runs))
        agrees = {n: all(item.agree[i] for item in learnt.lost) for i, n in enumerate(same)}
        nodes: Sequence[Node] = learnt.graph.nodes
        if any(self.find(call.op) is None and _sizes_of(call.inputs) for call in nodes):
            nodes, agrees = unrolled.nodes, {n: same_numbers(unrolled.nodes, run.nodes) for n, run in same.items()}
        followed = [
            n for n, (again, gave) in enumerate(runs) if agrees.get(n) or give_the_same(nodes, outputs, again, gave)
        ]
        for number in followed:
            self.runs[number].update(shapes.get(number, {}))
        new = {v.id: learnt.graph.samples[v.id] for call in nodes for v in _sizes_of(call.results)}
        self.made.update(new)
        self.dynamic.update(new)
        apart = {*range(len(runs))}.difference(followed)
        if apart:
            self.conditions.append(self._where_alike(node, followed, apart, all(n in same for n in apart)))
            self.apart.setdefault(self.conditions[-1].message, set()).update(apart)
        return nodes

    def _again(self, node: Node, unrolled: Unrolled, number: int) -> tuple[Unrolled, Sequence[Value]]:
        """The ATen calls of a node in another run, and what they give; nothing where it cannot be run."""
        known = {**self.graph.runs[number], **self.runs[number]}
        samples = {v.id: _like(self.graph.samples[v.id], known.get(v.id)) for v in node.inputs}
        again = Unrolled(node.site, unrolled.inputs, samples, count(next(self._ids)))
        try:
            return again, again.run(self._program(node, unrolled.inputs, samples))
        except Exception:  # whatever a call raises of samples that are made up
            return again, ()

    def _learnt(self, unrolled: Unrolled, same: Sequence[Unrolled], sizes: Sequence[Value]) -> Inferred:
        """The calls with sizes, of the other runs in which they were the same."""
        mine, others = unrolled.graph, [run.graph for run in same]
        seen = tuple(
            {**seen_by(mine, other), **{v.id: run.samples[v.id] for v in sizes}} for other, run in zip(others, same)
        )
        first_id = next(self._ids)
        learnt = inferred(replace(mine, runs=seen), others, met=sizes, first_id=first_id)
        self._ids = count(max(learnt.graph.samples, default=first_id) + 1)
        return learnt

    def trials_apart(self, condition: Condition) -> tuple[Trial, ...]:
        """The trials in which other calls would be made: only these can tell that a condition is not needed."""
        shapes = [
            [tuple(self.graph.runs[number].get(v.id, v.shape)) for v in self.graph.inputs]
            for number in self.apart[condition.message]
        ]
        given = [(trial, [tuple(tensor.shape) for tensor in trial.inputs[0]]) for trial in self.graph.trials]
        telling = tuple(trial for trial, sizes in given if sizes in shapes and not self._has_single(sizes))
        return telling if len(telling) >= _FEWEST_TELLING else ()

    def _has_single(self, shapes: Sequence[Sequence[int]]) -> bool:
        """Whether an axis of an input is of one element, but not in the example: much is right there by chance."""
        mine = [value.shape for value in self.graph.inputs]
        return any(m == 1 < n for here, there in zip(mine, shapes) for n, m in zip(here, there))

    def _where_alike(self, node: Node, alike: Collection[int], apart: Collection[int], is_lost: bool) -> Condition:
        """The condition that what a call was given is such that it makes these ATen calls, told by the model's inputs.

        That is what the lengths have in common in the runs that did; else that they are as in the example.
        """
        common = next(self._in_common(alike, apart), None)
        region = " and ".join(self._axes_behind(node)) if common is None else common
        message = (
            f"{node.site}: {operation_name(node.op)} has no converter, and the ATen calls that it is opened into "
            f"{'have the sizes of the example inputs in them' if is_lost else 'are others at other sizes'}; the "
            f"converted model is right where {region or 'sizes are as in the example'}"
        )
        is_exact = bool(region) and common is None
        return Condition(region or "sizes are as in the example", message, is_exact=is_exact)

    def _in_common(self, alike: Collection[int], apart: Collection[int]) -> Iterator[str]:
        """What the lengths of one axis have in common in these runs and the example, and in no run apart."""
        for name, value in zip(self.names, self.graph.inputs):
            for dim, length in enumerate(value.shape):
                of_runs = [run.get(value.id, value.shape)[dim] for run in self.graph.runs]
                right, wrong = [length, *(of_runs[i] for i in alike)], [of_runs[i] for i in apart]
                for text, holds in patterns(right, wrong) if len(alike) >= _FEWEST_ALIKE else ():
                    if all(map(holds, right)) and not any(map(holds, wrong)):
                        yield said(text, f"{name}.shape[{dim}]")

    def _axes_behind(self, node: Node) -> Iterator[str]:
        """The axes of inputs as they are in the example, but for those that were others where the call was the same."""
        samples = self.graph.samples
        here = {
            v.id: samples[v.id] if v.kind is ValueKind.SIZE else v.shape for v in (*self.graph.inputs, *node.inputs)
        }
        ran = [here, *self.graph.runs]
        inputs = [tuple(str(run.get(v.id)) for v in node.inputs) for run in ran]
        for name, value in zip(self.names, self.graph.inputs):
            for dim, length in enumerate(value.shape):
                lengths = [run.get(value.id, value.shape)[dim] for run in ran]
                alike: dict[tuple[str, ...], set[int]] = {}
                for shapes, n in zip(inputs, lengths):
                    alike.setdefault(shapes, set()).add(n)
                if len(set(lengths)) > 1 and all(len(found) == 1 for found in alike.values()):
                    yield f"{name}.shape[{dim}] == {length}"


def _functional(call: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors whose calls write to nothing.

    Not by `torch.func.functionalize`, which leaves the writes inside of what PyTorch composes of other calls.
    """
    from torch._subclasses.functional_tensor import FunctionalTensorMode, dispatch_functionalize

    return dispatch_functionalize(call, FunctionalTensorMode())


def _unchecked(call: Callable[..., Any]) -> Callable[..., Any]:
    def without_checks(*inputs: torch.Tensor) -> Any:
        with _Unchecked():
            return call(*inputs)

    return without_checks


class _Unchecked(TorchDispatchMode):
    """Leaves out the checks of what LAPACK says, which PyTorch takes for side effects and refuses to trace."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return None if func is torch.ops.aten._linalg_check_errors.default else func(*args, **(kwargs or {}))


def _giving(nodes: Sequence[Node], outputs: Sequence[Value], whole: Node, ids: Iterable[int]) -> tuple[Node, ...]:
    """The calls with their outputs named as those of the call that was opened."""
    results = {v.id for node in nodes for v in node.results}
    names: dict[int, Value] = {}
    copies = []
    for output, result in zip(outputs, whole.results):
        if not _are_alike(output, result):  # PyTorch's decomposition gives something else there, which is not used
            continue
        if output.id in results and output.id not in names:
            names[output.id] = result
        else:  # given back as it came, or given twice
            source = names.get(output.id, output)
            copies.append(Node(next(iter(ids)), torch.ops.aten.alias.default, (source,), {}, result, whole.site))
    renamed = mapped(nodes, lambda leaf: names.get(leaf.id, leaf) if isinstance(leaf, Value) else leaf)
    return (*renamed, *copies)


def _of_inputs(node: Node, samples: Mapping[int, Any]) -> dict[int, Any]:
    return {value.id: samples[value.id] for value in node.inputs}


def _are_alike(one: Value, other: Value) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _like(sample: Any, other: Any) -> Any:
    """A sample as it was in another run: a size, or a tensor of that shape made of what it holds."""
    if other is None or not isinstance(sample, torch.Tensor):
        return sample if other is None else other
    for axis, size in enumerate(other):
        if size != sample.shape[axis]:
            sample = sample.index_select(axis, torch.arange(size) % max(sample.shape[axis], 1))
    return sample


def _sizes_of(values: Sequence[Value]) -> list[Value]:
    return [value for value in values if value.kind is ValueKind.SIZE]
