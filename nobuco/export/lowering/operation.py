"""Operations built again, and complex numbers as pairs of real tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue

# Gives the outputs of an operation for values that stand for its inputs.
Rule = Callable[..., list[Any]]


def computing(compute: Callable[..., Any]) -> Rule:
    """A rule that computes the only output from the inputs, whatever the attributes are."""
    return lambda operation, *inputs: [compute(*inputs)]


class Pair(NamedTuple):
    """Complex numbers, part by part."""

    real: Any
    imag: Any


def recreated(
    operation: tf.Operation, inputs: Sequence[Any], retyped: Callable[[tf.DType], tf.DType] = lambda dtype: dtype
) -> list[Any]:
    """The outputs of the same operation on other inputs, with other dtypes where it has some."""
    attributes = {name: _retyped(value, retyped) for name, value in operation.node_def.attr.items()}
    attributes.pop("_output_shapes", None)
    dtypes = [retyped(tensor.dtype) for tensor in operation.outputs]
    graph = tf.compat.v1.get_default_graph()
    again = graph.create_op(operation.type, list(inputs), dtypes, name=operation.name, attrs=attributes)
    return list(again.outputs)


def _retyped(value: AttrValue, retyped: Callable[[tf.DType], tf.DType]) -> AttrValue:
    if value.WhichOneof("value") == "type":
        return AttrValue(type=retyped(tf.as_dtype(value.type)).as_datatype_enum)
    return value


def split(tensor: Any) -> Any:
    """The two parts of a complex tensor; another tensor as it is."""
    return Pair(tf.math.real(tensor), tf.math.imag(tensor)) if tensor.dtype.is_complex else tensor


def joined(value: Any) -> Any:
    """A complex tensor of two parts; another value as it is."""
    return tf.complex(*value) if isinstance(value, Pair) else value


def multiplied(x: Pair, y: Pair) -> Pair:
    """The product of complex numbers."""
    return Pair(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)
