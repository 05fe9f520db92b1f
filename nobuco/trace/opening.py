"""Opening calls that have no converter into the ATen calls that PyTorch itself makes of them.

PyTorch runs the call once more and tells what it comes down to, decomposed as far as converters want it;
each ATen call becomes a node with real samples, so that it is validated like any other.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, zip_longest
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nobuco.ir import Condition, Graph, Node, Site, Trial, Value, ValueKind, leaves, map_leaves, values
from nobuco.registry import operation_name
from nobuco.trace.again import as_function
from nobuco.trace.aten import aten_calls
from nobuco.trace.calls import placeless
from nobuco.trace.control import calls_are_seen
from nobuco.trace.fused import LSTM_LAYER, lstm_layer
from nobuco.trace.randomness import keeping_random
from nobuco.trace.regions import mapped

Find = Callable[[Any], Any]
_PRIMITIVE = {"prims", "rngprims"}


def opened(
    graph: Graph, gaps: Collection[int], find: Find, names: Sequence[str] = ()
) -> tuple[Graph, Mapping[int, str]]:
    """The graph with those of these nodes (by id) that can be opened holding their ATen calls as children.

    `find` tells whether an operation has a converter: what has none is decomposed further. Also given is, by id, why
    PyTorch could not open the others. Conditions call the inputs by their `names`.
    """
    opening = _Opening(graph, _decompositions(find), names)
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
    table: Mapping[Any, Callable[..., Any]]
    names: Sequence[str]
    warnings: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.runs: list[dict[int, Any]] = [{} for _ in self.graph.runs]
        self.apart: dict[str, set[int]] = {}
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
        unrolled = _Unrolled(node.site, inputs, _of_inputs(node, samples), self._ids)
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
        self._follow_sizes(node, inputs, unrolled)
        return _giving(unrolled.nodes, outputs, node, self._ids)

    def _stands_for(self, output: Value | None, result: Value | None) -> bool:
        """Whether an output of the ATen calls can be a result of the call: like it, or not asked for."""
        if output is None or result is None:
            return False
        return _are_alike(output, result) or result.id not in self._used

    def _program(self, node: Node, inputs: Sequence[Value], samples: Mapping[int, Any]) -> Any:
        given = [samples[v.id].detach().clone() for v in inputs]
        call = as_function(node, inputs, samples, _bodies().get(node.op))
        own = [leaf for leaf in leaves((node.args, dict(node.kwargs))) if isinstance(leaf, torch.Generator)]
        with torch.no_grad(), calls_are_seen(), keeping_random(own):
            return aten_calls(_functional(_unchecked(call)), given, self.table)

    def _runs(self, unrolled: _Unrolled, node: Node) -> bool:
        """Whether a node can be run with the samples of another run."""
        try:
            unrolled.run(self._program(node, unrolled.inputs, unrolled.samples))
        except Exception:
            return False
        return True

    def _follow_sizes(self, node: Node, inputs: Sequence[Value], unrolled: _Unrolled) -> None:
        """Learn the shapes of the new values in the graph's other runs, and warn if the calls depend on sizes."""
        apart: set[int] = set()
        for number, (run, more) in enumerate(zip(self.graph.runs, self.runs)):
            known = {**run, **more}
            samples = {v.id: _like(self.graph.samples[v.id], known.get(v.id)) for v in node.inputs}
            again = _Unrolled(node.site, inputs, samples, count())
            if not self._runs(again, node) or not _same_calls(unrolled.nodes, again.nodes):
                apart.add(number)
            elif not apart:
                for mine, theirs in zip(unrolled.nodes, again.nodes):
                    more.update((a.id, b.shape) for a, b in zip(mine.results, theirs.results))
        if apart:
            self.conditions.append(self._at_these_sizes(node))
            self.apart.setdefault(self.conditions[-1].message, set()).update(apart)

    def trials_apart(self, condition: Condition) -> tuple[Trial, ...]:
        """The trials in which other calls would be made: only these can tell that a condition is not needed."""
        shapes = [
            [tuple(self.graph.runs[number].get(v.id, v.shape)) for v in self.graph.inputs]
            for number in self.apart[condition.message]
        ]
        given = [(trial, [tuple(tensor.shape) for tensor in trial.inputs[0]]) for trial in self.graph.trials]
        return tuple(trial for trial, sizes in given if sizes in shapes and not self._has_single(sizes))

    def _has_single(self, shapes: Sequence[Sequence[int]]) -> bool:
        """Whether an axis of an input is of one element, but not in the example: much is right there by chance."""
        mine = [value.shape for value in self.graph.inputs]
        return any(m == 1 < n for here, there in zip(mine, shapes) for n, m in zip(here, there))

    def _at_these_sizes(self, node: Node) -> Condition:
        """The condition that what a call was given is as large as in the example, told by the inputs of the model."""
        region = " and ".join(self._axes_behind(node))
        message = (
            f"{node.site}: {operation_name(node.op)} has no converter, and the ATen calls that it is opened into have "
            "the sizes of the example inputs in them; the converted model is right where "
            f"{region or 'sizes are as in the example'}"
        )
        return Condition(region or "sizes are as in the example", message, is_exact=bool(region))

    def _axes_behind(self, node: Node) -> Iterator[str]:
        """The axes of inputs as they are in the example, but for those that were others where the call was the same."""
        samples = self.graph.samples
        here = {
            v.id: samples[v.id] if v.kind is ValueKind.SIZE else v.shape for v in (*self.graph.inputs, *node.inputs)
        }
        ran = [here, *self.graph.runs]
        given = [tuple(str(run.get(v.id)) for v in node.inputs) for run in ran]
        for name, value in zip(self.names, self.graph.inputs):
            for dim, length in enumerate(value.shape):
                lengths = [run.get(value.id, value.shape)[dim] for run in ran]
                alike: dict[tuple[str, ...], set[int]] = {}
                for shapes, n in zip(given, lengths):
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
    def without_checks(*given: torch.Tensor) -> Any:
        with _Unchecked():
            return call(*given)

    return without_checks


class _Unchecked(TorchDispatchMode):
    """Leaves out the checks of what LAPACK says, which PyTorch takes for side effects and refuses to trace."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return None if func is torch.ops.aten._linalg_check_errors.default else func(*args, **(kwargs or {}))


# A sample need not lie in memory as the tensor did that a view was traced on.
_STRIDES_ASIDE = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
}


@dataclass
class _Unrolled:
    """An fx graph run call by call, each recorded as a node."""

    site: Site
    inputs: Sequence[Value]
    samples: dict[int, Any]
    ids: Iterable[int]
    nodes: list[Node] = field(default_factory=list)
    bakes: bool = False

    def run(self, program: torch.fx.GraphModule) -> list[Value]:
        """Run the graph; gives the values of its outputs."""
        self.bakes = any(node.target == torch.ops.aten._local_scalar_dense.default for node in program.graph.nodes)
        program.graph.eliminate_dead_code()
        made: dict[torch.fx.Node, Any] = {}
        inputs = iter(self.inputs)
        for node in program.graph.nodes:
            if node.op == "output":
                return list(values(torch.fx.map_arg(node.args[0], made.__getitem__)))
            if node.op == "placeholder":
                made[node] = next(inputs)
            elif node.op == "get_attr":
                made[node] = self._value(getattr(program, node.target).detach(), ValueKind.CONSTANT)
            else:
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), made.__getitem__)
                made[node] = self._called(node.target, tuple(args), kwargs)
        return []

    def _called(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if op is operator.getitem:
            return args[0][args[1]]
        kwargs = placeless(op, kwargs)
        args = map_leaves(lambda leaf: leaf, args)  # fx has lists and dicts of its own
        given = map_leaves(lambda leaf: self.samples[leaf.id] if isinstance(leaf, Value) else leaf, (args, kwargs))
        with torch.no_grad():
            result = _STRIDES_ASIDE.get(op, op)(*given[0], **given[1])
        outputs = map_leaves(lambda leaf: self._value(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
        self.nodes.append(Node(next(iter(self.ids)), op, args, kwargs, outputs, self.site))
        return outputs

    def _value(self, tensor: torch.Tensor, kind: ValueKind = ValueKind.RESULT) -> Value:
        dtype = str(tensor.dtype).removeprefix("torch.")
        value = Value(next(iter(self.ids)), kind, tuple(tensor.shape), dtype)
        self.samples[value.id] = tensor
        return value


def _giving(nodes: Sequence[Node], outputs: Sequence[Value], whole: Node, ids: Iterable[int]) -> tuple[Node, ...]:
    """The calls with their outputs named as those of the call that was opened."""
    made = {v.id for node in nodes for v in node.results}
    names: dict[int, Value] = {}
    copies = []
    for output, result in zip(outputs, whole.results):
        if not _are_alike(output, result):  # PyTorch's decomposition gives something else there, which is not used
            continue
        if output.id in made and output.id not in names:
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


def _same_calls(first: Sequence[Node], second: Sequence[Node]) -> bool:
    """Whether two lists of calls agree in operations and in all numbers among the arguments."""

    def plain(node: Node) -> list[Any]:
        return [None if isinstance(leaf, Value) else leaf for leaf in leaves((node.args, dict(node.kwargs)))]

    return len(first) == len(second) and all(
        a.op == b.op and plain(a) == plain(b) and len(a.results) == len(b.results) for a, b in zip(first, second)
    )
