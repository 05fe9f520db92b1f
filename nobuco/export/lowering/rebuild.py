"""A function of TensorFlow's built again, operation by operation, with other ones where TFLite has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from nobuco.export.lowering import (
    biases,
    bits,
    complex_numbers,
    empty,
    extremes,
    finite,
    functions,
    half_precision,
    integers,
    many_axes,
    matrices,
    new_axes,
    products,
    rotations,
    segments,
    sixteen_bits,
    special_functions,
    transposed,
    volumes,
)
from nobuco.export.lowering.operation import Pair, Rule, joined, split

_ROOMS = (
    complex_numbers, segments, products, integers, bits, functions, special_functions, matrices, rotations, volumes,
    biases,
)  # fmt: skip
# The rooms that a function goes through, one lot after another. Integers have other numbers, and lack more arithmetic.
_OF_INTEGERS = {
    "int8": ((finite, *_ROOMS), (transposed,), (many_axes, new_axes)),
    "int16x8": ((finite, sixteen_bits, *_ROOMS), (transposed,), (many_axes, new_axes)),
}
_OF_FLOATS = (_ROOMS, (empty, extremes), (transposed,), (many_axes, new_axes))
# Attributes by which operations name the functions that they call.
_BODIES = ("f", "cond", "body", "then_branch", "else_branch", "branches")
Value = Any  # a tensor, or a pair of them for complex numbers


# What TFLite's converter may make one operation of, and where it does not, refuses.
TRIED = ("Einsum", "Erf")


def lowered(function: Any, precision: str = "float32", trying: bool = True) -> Any:
    """The concrete function, and where TFLite lacks some of its operations, one of the same meaning without them.

    With `trying`, operations stay that TFLite's converter may find a form for, and may not.
    One that computes in complex128, or takes or gives float64, is left as it is: TFLite computes in no floats of 64
    bits, and what it does in float32 in their place may not come out as more than that.
    """
    if _is_in_double(function):
        return function
    for rooms in _OF_INTEGERS.get(precision, _OF_FLOATS):
        function = _rebuilt(function, _Rebuild(rooms, _may_have_a_form if trying else lambda _: False))
    return function


def _is_in_double(function: Any) -> bool:
    inner = {tensor.dtype for operation in _operations(function.graph) for tensor in operation.outputs}
    ends = {tensor.dtype for tensor in (*function.inputs, *function.variables, *function.outputs)}
    return tf.complex128 in inner or tf.float64 in ends


def _may_have_a_form(operation: tf.Operation) -> bool:
    if operation.type == "Einsum":
        return not operation.inputs[0].dtype.is_complex and not products.may_stretch(operation)
    return functions.is_of_gelu(operation)


def _rebuilt(function: Any, rebuild: _Rebuild) -> Any:
    operations = list(_operations(function.graph))
    if not any(rebuild.rule(operation) or half_precision.is_other(operation) for operation in operations):
        return function
    (specs, _), results = function.structured_input_signature, function.structured_outputs

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors: Any) -> Any:
        values = [rebuild.taken(half_precision.widened(t)) for t in (*tensors, *function.captured_inputs)]
        dtypes = [tensor.dtype for tensor in function.graph.outputs]
        outputs = [half_precision.narrowed(joined(v), d) for v, d in zip(rebuild.run(function.graph, values), dtypes)]
        return tf.nest.pack_sequence_as(results, outputs, expand_composites=True)

    return serve.get_concrete_function()


def _operations(graph: Any) -> Iterator[tf.Operation]:
    """All operations of a function, those of the functions that it calls included."""
    for operation in graph.get_operations():
        yield operation
        for body in _bodies(operation):
            yield from _operations(body)


def _bodies(operation: tf.Operation) -> list[Any]:
    attributes = operation.node_def.attr
    named = [attributes[name] for name in _BODIES if name in attributes]
    functions = [f for value in named for f in (value.list.func if value.HasField("list") else [value.func])]
    return [operation.graph._get_function(f.name).graph for f in functions if f.name]


@dataclass(frozen=True)
class _Rebuild:
    """Builds functions again by the rules of some rooms; the first that has one says it.

    Operations that `is_kept` says so of stay.
    """

    rooms: Sequence[Any]
    is_kept: Callable[[tf.Operation], bool]

    def rule(self, operation: tf.Operation) -> Rule | None:
        """What stands for an operation that TFLite lacks."""
        if self.is_kept(operation):
            return None
        return next((rule for room in self.rooms if (rule := room.rule(operation)) is not None), None)

    def taken(self, tensor: Any) -> Value:
        """What stands for an input: rooms that know nothing of pairs see complex numbers as they are."""
        return split(tensor) if complex_numbers in self.rooms else tensor

    def run(self, graph: Any, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a function's body for these inputs, captured ones last."""
        values: dict[Any, Value] = {tensor.ref(): value for tensor, value in zip(graph.inputs, inputs)}
        for operation in graph.get_operations():
            if operation.type != "Placeholder":
                results = self._operation(operation, [values[tensor.ref()] for tensor in operation.inputs])
                values.update(zip((tensor.ref() for tensor in operation.outputs), results))
        return [values[tensor.ref()] for tensor in graph.outputs]

    def _operation(self, operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
        if operation.type in _CONTROL:
            return _CONTROL[operation.type](self, operation, *inputs)
        rule = self.rule(operation)
        return half_precision.again(operation, inputs) if rule is None else rule(operation, *inputs)

    def call(self, operation: tf.Operation, *inputs: Value) -> list[Value]:
        """The results of a function's call."""
        (body,) = _bodies(operation)
        return self.run(body, inputs)

    def loop(self, operation: tf.Operation, *inputs: Value) -> list[Value]:
        """What a loop ends with."""
        condition, body = _bodies(operation)

        def values(flat: Sequence[Any]) -> list[Value]:
            return _packed(inputs, _with_handles(inputs, flat))

        flat = [tensor for tensor in _flat(inputs) if tensor.dtype != tf.resource]
        shapes = [t.shape for v, t in zip(inputs, operation.outputs) for _ in _flat([v]) if t.dtype != tf.resource]
        results = tf.while_loop(
            lambda *flat: self.run(condition, values(flat))[0],
            lambda *flat: [t for t in _flat(self.run(body, values(flat))) if t.dtype != tf.resource],
            flat,
            shape_invariants=shapes,
        )
        return values(results)

    def branch(self, operation: tf.Operation, condition: Any, *inputs: Value) -> list[Value]:
        """The results of one of two sides."""
        then, otherwise = _bodies(operation)
        return self._chosen(operation, lambda sides: tf.cond(condition, *sides), [then, otherwise], inputs)

    def case(self, operation: tf.Operation, index: Any, *inputs: Value) -> list[Value]:
        """The results of one of several sides."""
        return self._chosen(operation, lambda sides: tf.switch_case(index, sides), _bodies(operation), inputs)

    def _chosen(
        self, operation: tf.Operation, choose: Any, bodies: Sequence[Any], inputs: Sequence[Value]
    ) -> list[Value]:
        kinds = [Pair(t, t) if t.dtype.is_complex else t for t in operation.outputs]
        return _packed(kinds, choose([lambda body=body: _flat(self.run(body, inputs)) for body in bodies]))


_CONTROL: Mapping[str, Callable[..., list[Value]]] = {
    "PartitionedCall": _Rebuild.call,
    "StatefulPartitionedCall": _Rebuild.call,
    "While": _Rebuild.loop,
    "StatelessWhile": _Rebuild.loop,
    "If": _Rebuild.branch,
    "StatelessIf": _Rebuild.branch,
    "Case": _Rebuild.case,
    "StatelessCase": _Rebuild.case,
}


def _flat(values: Sequence[Value]) -> list[Any]:
    return [part for value in values for part in (value if isinstance(value, Pair) else (value,))]


def _packed(like: Sequence[Value], flat: Sequence[Any]) -> list[Value]:
    """A flat list as values, pairs where there are pairs in another list."""
    rest = iter(flat)
    return [Pair(next(rest), next(rest)) if isinstance(value, Pair) else next(rest) for value in like]


def _with_handles(inputs: Sequence[Value], flat: Sequence[Any]) -> list[Any]:
    """All that goes through a loop; a handle of a variable is the same in each turn."""
    rest = iter(flat)
    return [tensor if tensor.dtype == tf.resource else next(rest) for tensor in _flat(inputs)]
