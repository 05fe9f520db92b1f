"""Import a graph from a file without letting what is constant in it fill the memory.

To find shapes, TensorFlow evaluates constant operations as it imports them: `Fill` of a hundred thousand rows and
columns takes 40 GB if a shape depends on its sum. So a graph that might hold that is imported in stages: an operation
is let in when the sizes of the constant ones before it are known, and small. A function that might hold it is imported
as it is, and TensorFlow told to look for no shapes in its calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from nobuco.errors import UnsafeFileError

# More elements than any shape is computed from. Constants that are only added or multiplied may have more.
MOST = 2**22
# What constant operations take and give in all: some twenty large ones.
MOST_WORK = 2**27

# What gives no more elements than its largest input has, or the sum of all.
_SMALL = frozenset(
    [
        "Add",
        "AddV2",
        "All",
        "Any",
        "BroadcastGradientArgs",
        "Cast",
        "ConcatV2",
        "Div",
        "EnsureShape",
        "Equal",
        "ExpandDims",
        "FloorDiv",
        "FloorMod",
        "Gather",
        "GatherV2",
        "Greater",
        "GreaterEqual",
        "Identity",
        "Less",
        "LessEqual",
        "LogicalAnd",
        "LogicalNot",
        "LogicalOr",
        "Max",
        "Maximum",
        "Min",
        "Minimum",
        "Mul",
        "Neg",
        "NotEqual",
        "Pack",
        "Prod",
        "RealDiv",
        "Rank",
        "Reshape",
        "Select",
        "SelectV2",
        "Shape",
        "ShapeN",
        "Size",
        "Slice",
        "Squeeze",
        "StridedSlice",
        "Sub",
        "Sum",
        "TruncateDiv",
        "Unpack",
    ]
)
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
_SIZES = frozenset(("Shape", "ShapeN", "Size", "Rank"))
_RANK = 254  # an upper bound in TensorFlow


def bring_in(definition: Any, trusted: bool = False) -> dict[str, Any]:
    """Import a GraphDef, which has been vetted, into the present graph; gives its operations by their names there.

    Raises:
        UnsafeFileError: a constant in it is too large to be evaluated for a shape.
    """
    nodes, inputs, order = _read(definition.node)
    constant = _constant(nodes, inputs, order)
    if not trusted:
        for call in _Calls(definition.library.function).that_may_grow(definition.node):
            call.attr["_disable_call_shape_inference"].b = True
    if trusted or not _may_grow(nodes, inputs, [name for name in order if name in constant]):
        return dict(zip(order, tf.import_graph_def(definition, name="", return_elements=order)))
    work = 0
    done: dict[str, Any] = {}  # a name may be another in the graph: `a` after `a/b`
    for stage in _stages(inputs, order, constant):
        part = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
        part.node.extend(nodes[name] for name in stage)
        imported = tf.import_graph_def(part, name="", input_map=_there(done, part), return_elements=stage)
        done.update(zip(stage, imported))
        for name in constant.intersection(stage):
            made, taken = map(_size_of, (done[name].outputs, done[name].inputs))
            if made > MOST:
                raise UnsafeFileError(f"holds a constant {name!r} of {made:,} elements")
            work += made + taken
        if work > MOST_WORK:
            raise UnsafeFileError(f"holds constants that are computed from each other, of {work:,} elements in all")
    return done


def _size_of(tensors: Iterable[Any]) -> int:
    return sum(prod(tensor.shape) for tensor in tensors if tensor.shape.is_fully_defined())


class _Calls:
    """The functions of a graph, and which calls of them TensorFlow might evaluate too much in."""

    def __init__(self, functions: Iterable[Any]) -> None:
        self._functions = {function.signature.name: function for function in functions}
        self._grown: dict[tuple[str, frozenset[str]], bool] = {}
        self._found: dict[int, Any] = {}

    def that_may_grow(self, nodes: Iterable[Any]) -> list[Any]:
        """Such calls among these nodes and in the functions that they call."""
        self._look_at(nodes)
        return list(self._found.values())

    def _look_at(self, nodes: Iterable[Any], given: frozenset[str] = frozenset()) -> bool:
        """Whether a body of which these arguments are constant may grow; notes the calls in it that may."""
        by_name, inputs, order = _read(nodes)
        known = _known(by_name, inputs, order, given)
        constant = [name for name in order if name in known and by_name[name].op != "Const"]
        grows = _may_grow(by_name, inputs, constant, dict.fromkeys(given, MOST))
        for name, node in by_name.items():
            called = self._functions.get(node.attr["f"].func.name if node.op in _CALLS else node.op)
            if called is not None:
                arguments = [argument.name for argument in called.signature.input_arg]
                if self._grows(called, frozenset(a for a, source in zip(arguments, inputs[name]) if source in known)):
                    self._found[id(node)] = node
                    grows = True
        return grows

    def _grows(self, function: Any, given: frozenset[str]) -> bool:
        key = (function.signature.name, given)
        if key not in self._grown:
            self._grown[key] = self._look_at(function.node_def, given)
        return self._grown[key]


def _read(body: Iterable[Any]) -> tuple[dict[str, Any], dict[str, list[str]], list[str]]:
    """Operations by name, what each takes its inputs from, and an order to compute them in."""
    nodes = {node.name: node for node in body}
    inputs = {name: [_source(text) for text in node.input] for name, node in nodes.items()}
    return nodes, inputs, _ordered(inputs)


def _source(text: str) -> str:
    """What an input comes from: `name`, `name:1` or `^name`, in a function `name:output:0` or an argument."""
    return text.removeprefix("^").partition(":")[0]


def _ordered(inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Operations behind those that they take their inputs from."""
    left = {name: sum(source in inputs for source in sources) for name, sources in inputs.items()}
    takers = defaultdict(list)
    for name, sources in inputs.items():
        for source in sources:
            takers[source].append(name)
    order = [name for name, count in left.items() if not count]
    for name in order:
        for taker in takers[name]:
            left[taker] -= 1
            if not left[taker]:
                order.append(taker)
    if len(order) < len(inputs):
        raise UnsafeFileError("holds operations that wait for each other in a circle")
    return order


def _constant(nodes: Mapping[str, Any], inputs: Mapping[str, Sequence[str]], order: Sequence[str]) -> set[str]:
    """The operations, other than constants themselves, that TensorFlow could evaluate as it imports them."""
    return {name for name in _known(nodes, inputs, order) if nodes[name].op != "Const"}


def _known(
    nodes: Mapping[str, Any],
    inputs: Mapping[str, Sequence[str]],
    order: Sequence[str],
    given: frozenset[str] = frozenset(),
) -> set[str]:
    """What does not depend on the inputs of the graph, but on constants and `given`."""
    known = set(given)
    for name in order:
        op = nodes[name].op
        if op in _SIZES or op == "Const" or (inputs[name] and all(source in known for source in inputs[name])):
            known.add(name)
    return known


def _may_grow(
    nodes: Mapping[str, Any],
    inputs: Mapping[str, Sequence[str]],
    constant: Sequence[str],
    given: Mapping[str, int] = MappingProxyType({}),
) -> bool:
    """Whether one of the constant operations may have many elements, by what its inputs have."""
    bounds = dict(given)
    for name in constant:
        if nodes[name].op not in _SMALL:
            return True
        bounds_of_inputs = [bounds.get(source) or _elements(nodes.get(source)) for source in inputs[name]]
        # Operands are broadcast, at worst each along axes of its own.
        bounds[name] = (
            _RANK if nodes[name].op in _SIZES else max(sum(bounds_of_inputs), prod(n or 1 for n in bounds_of_inputs))
        )
        if bounds[name] > MOST:
            return True
    return False


def _elements(node: Any) -> int:
    return prod(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim) if node and node.op == "Const" else 1


def _stages(inputs: Mapping[str, Sequence[str]], order: Sequence[str], constant: set[str]) -> list[list[str]]:
    """Groups of operations: what takes the result of a constant one comes after it."""
    level: dict[str, int] = {}
    stages = defaultdict(list)
    for name in order:
        level[name] = max((level[s] + (s in constant) for s in inputs[name] if s in level), default=0)
        stages[level[name]].append(name)
    return [stages[number] for number in sorted(stages)]


def _there(done: Mapping[str, Any], part: Any) -> dict[str, Any]:
    """What operations of this part take from those that are imported already."""
    inputs: dict[str, Any] = {}
    for text in {text for node in part.node for text in node.input}:
        source = _source(text)
        if source in done:
            there = done[source]
            inputs[text] = there if text.startswith("^") else there.outputs[int(text[len(source) + 1 :] or 0)]
    return inputs
