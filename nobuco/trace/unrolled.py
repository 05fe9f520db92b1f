"""The ATen calls that PyTorch makes of an operation, run one by one; and whether those of two runs are the same."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from nobuco.ir import Graph, Node, Samples, Site, Value, ValueKind, leaves, map_leaves, tensors, values
from nobuco.trace.calls import placeless
from nobuco.trace.sizes.reruns import is_number

# A sample need not lie in memory as the tensor did that a view was traced on.
_STRIDES_ASIDE: Mapping[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
}


@dataclass
class Unrolled:
    """An fx graph run call by call, each recorded as a node."""

    site: Site
    inputs: Sequence[Value]
    samples: dict[int, Any]
    ids: Iterable[int]
    nodes: list[Node] = field(default_factory=list)
    bakes: bool = False

    @property
    def graph(self) -> Graph:
        """The calls as a graph whose inputs have the shapes of this run."""
        inputs = (replace(value, shape=tuple(self.samples[value.id].shape)) for value in self.inputs)
        return Graph(tuple(self.nodes), tuple(inputs), (), Samples(self.samples))

    def run(self, program: torch.fx.GraphModule) -> list[Value]:
        """Run the graph; gives the values of its outputs."""
        self.bakes = any(node.target == torch.ops.aten._local_scalar_dense.default for node in program.graph.nodes)
        program.graph.eliminate_dead_code()
        by_node: dict[torch.fx.Node, Any] = {}
        inputs = iter(self.inputs)
        for node in program.graph.nodes:
            if node.op == "output":
                return list(values(torch.fx.map_arg(node.args[0], by_node.__getitem__)))
            if node.op == "placeholder":
                by_node[node] = next(inputs)
            elif node.op == "get_attr":
                by_node[node] = self._value(getattr(program, node.target).detach(), ValueKind.CONSTANT)
            else:
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), by_node.__getitem__)
                by_node[node] = self._called(node.target, tuple(args), kwargs)
        return []

    def _called(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if op is operator.getitem:
            return args[0][args[1]]
        kwargs = placeless(op, kwargs)
        args = map_leaves(lambda leaf: leaf, args)  # fx has lists and dicts of its own
        arguments = map_leaves(lambda leaf: self.samples[leaf.id] if isinstance(leaf, Value) else leaf, (args, kwargs))
        with torch.no_grad():
            result = _STRIDES_ASIDE.get(op, op)(*arguments[0], **arguments[1])
        outputs = map_leaves(lambda leaf: self._value(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
        self.nodes.append(Node(next(iter(self.ids)), op, args, kwargs, outputs, self.site))
        return outputs

    def _value(self, tensor: torch.Tensor, kind: ValueKind = ValueKind.RESULT) -> Value:
        dtype = str(tensor.dtype).removeprefix("torch.")
        value = Value(next(iter(self.ids)), kind, tuple(tensor.shape), dtype)
        self.samples[value.id] = tensor
        return value


def same_calls(first: Sequence[Node], second: Sequence[Node]) -> bool:
    """Whether two lists of calls agree in all but the numbers among the arguments."""

    def form(node: Node) -> list[Any]:
        arguments = leaves((node.args, dict(node.kwargs)))
        return [node.op, len(node.results), *(Value if isinstance(leaf, Value) else _form(leaf) for leaf in arguments)]

    return len(first) == len(second) and all(form(a) == form(b) for a, b in zip(first, second))


def _form(leaf: Any) -> Any:
    return type(leaf) if is_number(leaf) else leaf


def same_numbers(first: Sequence[Node], second: Sequence[Node]) -> bool:
    """Whether two lists of calls, alike in all else, agree in the numbers among the arguments."""
    arguments = (zip(*(leaves((node.args, dict(node.kwargs))) for node in pair)) for pair in zip(first, second))
    return all(a == b for pairs in arguments for a, b in pairs if not isinstance(a, Value))


def give_the_same(nodes: Sequence[Node], outputs: Sequence[Value], again: Unrolled, gave: Sequence[Value]) -> bool:
    """Whether the calls of one run give, of what another run was given, what that run's own calls gave."""
    known = dict(again.samples)
    try:
        for node in nodes:
            args, kwargs = map_leaves(
                lambda leaf: known[leaf.id] if isinstance(leaf, Value) else leaf, (node.args, dict(node.kwargs))
            )
            result = _STRIDES_ASIDE.get(node.op, node.op)(*args, **kwargs)
            known.update(zip((v.id for v in node.results), [result] if is_number(result) else tensors(result)))
        pairs = [(known[mine.id], again.samples[theirs.id]) for mine, theirs in zip(outputs, gave, strict=True)]
    except Exception:  # whatever a call raises at sizes for which it was not made
        return False
    return bool(gave) and all(
        a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, equal_nan=True) for a, b in pairs
    )
