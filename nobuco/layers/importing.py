"""Import a graph from a file without letting what is constant in it fill the memory.

To find shapes, TensorFlow evaluates constant operations as it imports them: `Fill` of a hundred thousand rows and
columns takes 40 GB if a shape depends on its sum. So a graph that might hold that is imported in stages: an operation
is let in when the sizes of the constant ones before it are known, and small.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.errors import UnsafeFileError

# More elements than any shape is computed from. Constants that are only added or multiplied may have more.
MOST = 2**22

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
_SIZES = frozenset(("Shape", "ShapeN", "Size", "Rank"))
_RANK = 254  # an upper bound in TensorFlow


def bring_in(definition: Any, trusted: bool = False) -> dict[str, Any]:
    """Import a GraphDef, which has been vetted, into the present graph; gives its operations by their names there.

    Raises:
        UnsafeFileError: a constant in it is too large to be evaluated for a shape.
    """
    nodes = {node.name: node for node in definition.node}
    inputs = {name: [_source(text) for text in node.input] for name, node in nodes.items()}
    order = _ordered(inputs)
    constant = _constant(nodes, inputs, order)
    if trusted or not _may_grow(nodes, inputs, [name for name in order if name in constant]):
        return dict(zip(order, tf.import_graph_def(definition, name="", return_elements=order)))
    done: dict[str, Any] = {}  # a name may be another in the graph: `a` after `a/b`
    for stage in _stages(inputs, order, constant):
        part = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
        part.node.extend(nodes[name] for name in stage)
        imported = tf.import_graph_def(part, name="", input_map=_there(done, part), return_elements=stage)
        done.update(zip(stage, imported))
        for name in constant.intersection(stage):
            for tensor in done[name].outputs:
                if tensor.shape.is_fully_defined() and prod(tensor.shape) > MOST:
                    raise UnsafeFileError(f"holds a constant {name!r} of {prod(tensor.shape):,} elements")
    return done


def _source(text: str) -> str:
    """The operation that an input comes from: `name`, `name:1` or `^name`."""
    return re.sub(r":\d+$", "", text.removeprefix("^"))


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
    known: set[str] = set()
    for name in order:
        op = nodes[name].op
        if op in _SIZES or op == "Const" or (inputs[name] and all(source in known for source in inputs[name])):
            known.add(name)
    return {name for name in known if nodes[name].op != "Const"}


def _may_grow(nodes: Mapping[str, Any], inputs: Mapping[str, Sequence[str]], constant: Sequence[str]) -> bool:
    """Whether one of the constant operations may have many elements, by what its inputs have."""
    bounds: dict[str, int] = {}
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
