"""Refuse a graph from a file that would do more than compute, or that is larger than the file that holds it.

All that is here happens before TensorFlow sees the graph: importing one already evaluates what is constant in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.errors import UnsafeFileError
from nobuco.layers.operations import ALLOWED

# Beyond what the file itself holds: `tf.zeros((1000, 1000))` is one number and a shape.
SPREAD = 64 * 2**20
# Functions are expanded where they are called.
MOST_NODES = 2**16
_DEEPEST = 64
_OPAQUE = {tf.resource.as_datatype_enum: "a resource", tf.variant.as_datatype_enum: "a variant"}


def vet(definition: Any, size: int) -> None:
    """Look at a GraphDef that takes so many bytes in the file.

    Raises:
        UnsafeFileError: an operation is not allowed, or calls what the graph does not hold; functions call each other
            in a circle, or are too many once expanded; a constant is a handle, or much larger than its bytes.
    """
    functions = {function.signature.name: function for function in definition.library.function}
    for gradient in definition.library.gradient:
        _refuse_unknown((gradient.function_name, gradient.gradient_func), functions)
    bodies: list[Iterable[Any]] = [definition.node, *(function.node_def for function in functions.values())]
    nodes = [node for body in bodies for node in body]
    for node in nodes:
        if node.op not in ALLOWED and node.op not in functions:
            raise UnsafeFileError(
                f"holds the operation {node.op!r} (as {node.name!r}), which is not one of those that only compute"
            )
        if node.op == "Const" and node.attr["dtype"].type != node.attr["value"].tensor.dtype:  # TensorFlow would abort
            raise UnsafeFileError(f"holds a constant {node.name!r} of one type with a value of another")
    values = [value for function in functions.values() for value in _values(function.attr)]
    values += [value for node in nodes for value in _values(node.attr)]
    _refuse_unknown((value.func.name for value in values if value.HasField("func")), functions)
    _refuse_large(values, size)
    _refuse_expanding(definition, functions)


def _values(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """The values of attributes, and those of functions that are named in them."""
    for value in attributes.values():
        yield value
        yield from _values(value.func.attr)
        for function in value.list.func:
            yield tf.compat.v1.AttrValue(func=function)
            yield from _values(function.attr)


def _refuse_unknown(names: Iterable[str], functions: Mapping[str, Any]) -> None:
    """A function that is not in the file would be whatever the process has by that name."""
    for name in names:
        if name not in functions:
            raise UnsafeFileError(f"calls the function {name!r}, which it does not hold")


def _refuse_large(values: Iterable[Any], size: int) -> None:
    spread = 0
    for value in values:
        tensors = ([value.tensor] if value.HasField("tensor") else []) + list(value.list.tensor)
        kinds = [value.type, *value.list.type, *(tensor.dtype for tensor in tensors)]
        for kind in kinds:
            if kind % 100 == tf.resource.as_datatype_enum:
                raise UnsafeFileError("holds a handle of a resource, which would be one of the process that loads it")
        for tensor in tensors:
            spread += _bytes_of(tensor)
            if spread > SPREAD + size:
                raise UnsafeFileError(f"holds constants of more than {spread:,} bytes, though it has only {size:,}")


def _bytes_of(tensor: Any) -> int:
    """How much memory a constant takes."""
    # A variant is also what a list of tensors is called, but as a constant it is an object of any kind.
    if tensor.dtype % 100 in _OPAQUE:
        raise UnsafeFileError(f"holds {_OPAQUE[tensor.dtype]} as a constant")
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(n < 0 for n in sizes):
        raise UnsafeFileError(f"holds a constant of the shape {sizes}")
    try:
        return prod(sizes) * max(tf.dtypes.as_dtype(tensor.dtype).size, 1)
    except TypeError:
        raise UnsafeFileError(f"holds a constant of the type {tensor.dtype}") from None


def _refuse_expanding(definition: Any, functions: Mapping[str, Any]) -> None:
    known: dict[str, int] = {}

    def expanded(nodes: Iterable[Any], above: tuple[str, ...]) -> int:
        total = 0
        for node in nodes:
            called = [value.func.name for value in _values(node.attr) if value.HasField("func")]
            called += [node.op] if node.op in functions else []
            total += 1 + sum(of(name, above) for name in called)
        if total > MOST_NODES:
            raise UnsafeFileError(f"holds functions of more than {MOST_NODES:,} operations, once they are expanded")
        return total

    def of(name: str, above: tuple[str, ...]) -> int:
        if name in above or len(above) >= _DEEPEST:
            raise UnsafeFileError(f"holds functions that call each other in a circle, or too deep: {name!r}")
        if name not in known:
            known[name] = expanded(functions[name].node_def, (*above, name))
        return known[name]

    expanded(definition.node, ())
    for name in functions:
        of(name, ())
