"""One unit made to run: the converter called, its result bound to the arguments that it was traced with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch

from nobuco.bridge import tf_dtype
from nobuco.errors import ConverterError, NobucoError
from nobuco.ir import Value, ValueKind, map_leaves
from nobuco.layers.padding import set_natural
from nobuco.layout.order import ChannelOrder, get_channel_order, set_channel_order
from nobuco.layout.strategy import Signature
from nobuco.ops.forms import is_in_place
from nobuco.plan.calling import describe, flat_outputs
from nobuco.select import Unit


def bound(
    unit: Unit,
    function: Callable[..., Any],
    signature: Signature,
    constants: Mapping[int, np.ndarray],
    natural: Collection[int],
) -> Callable[..., list[Any]]:
    """`function` as `(*tensors) -> tensors`: the tensors fill the places of the unit's live inputs.

    `constants` holds, by position among the unit's inputs, what is embedded, already laid out; `natural` the ids of
    sizes that are never negative.
    """
    node = unit.node
    orders = signature.inputs
    in_double = unit.converter.in_double or all(value.kind is ValueKind.SIZE for value in unit.outputs)
    of_tensors = {value.dtype for value in (*unit.inputs, *unit.outputs) if value.kind is not ValueKind.SIZE}
    precision = tf.float64 if "float64" in of_tensors else tf.float32

    def call(*tensors: Any) -> list[Any]:
        live = iter(tensors)
        inputs = []
        for position in range(len(unit.inputs)):
            tensor = tf.constant(constants[position]) if position in constants else next(live)
            order = orders[position] if position < len(orders) else ChannelOrder.PYTORCH
            tensor = set_natural(tensor) if unit.inputs[position].id in natural else tensor
            tensor = tensor if in_double else _as_number(tensor, unit.inputs[position], precision)
            inputs.append(set_channel_order(tensor, order))
        if unit.converter.autocast and not in_double:
            inputs = _autocast(inputs)
        queue = iter(inputs)
        args, kwargs = map_leaves(
            lambda leaf: next(queue) if isinstance(leaf, Value) else leaf, (node.args, dict(node.kwargs))
        )
        results = [leaf for leaf in flat_outputs(function(*args, **kwargs)) if leaf is not None]
        return _as_pytorch(results, unit)

    return call


def _as_number(tensor: Any, value: Value, precision: tf.DType) -> Any:
    """A number that sizes gave, a float in the precision in which a call computes with Python's floats."""
    return tf.cast(tensor, precision) if value.kind is ValueKind.SIZE and tensor.dtype.is_floating else tensor


def _own_word(error: BaseException | None) -> NobucoError | None:
    """What a converter of ours has said on purpose, not as Keras says it again with much around it."""
    said = None
    while error is not None:
        said = error if isinstance(error, NobucoError) else said
        error = error.__cause__ or error.__context__
    return said


def run(unit: Unit, layer: Any, tensors: Sequence[Any], when: str) -> list[Any]:
    """Call the layer of a unit; `when` says on what occasion.

    Raises:
        ConverterError: the layer raised.
    """
    try:
        return flat_outputs(layer(*tensors))
    except Exception as error:
        word = _own_word(error)
        if word is not None:
            raise ConverterError(f"{describe(unit)}: {word}", unit.node.id) from word
        raise ConverterError(
            f"what the converter of {describe(unit)} returned raised {type(error).__name__} {when}: {error}",
            unit.node.id,
        ) from error


def check_outputs(unit: Unit, signature: Signature, outputs: Sequence[Any]) -> None:
    """Check that a layer gives tensors like PyTorch's.

    Raises:
        ConverterError: their number, a dtype or a shape is another.
    """
    if len(outputs) != len(unit.outputs):
        raise ConverterError(
            f"{describe(unit)}: PyTorch gives {len(unit.outputs)} tensor(s), the converted node {len(outputs)}",
            unit.node.id,
        )
    for i, (value, order, tensor) in enumerate(zip(unit.outputs, signature.outputs, outputs)):
        got = keras.backend.standardize_dtype(tensor.dtype)
        if got != value.dtype:
            raise ConverterError(
                f"{describe(unit)}: output {i} has dtype {got}, PyTorch gives {value.dtype}; "
                f"cast it in the converter, e.g. tf.cast(x, tf.{value.dtype})",
                unit.node.id,
            )
        expected, shape = order.to_physical(value.shape), tuple(tensor.shape)
        if len(shape) != len(expected) or any(s is not None and s != e for s, e in zip(shape, expected)):
            raise ConverterError(
                f"{describe(unit)}: output {i} has shape {shape}, expected {tuple(expected)} "
                f"({order.name} order; PyTorch gives {value.shape})",
                unit.node.id,
            )


def single(items: Sequence[Any]) -> Any:
    """The only one of some items, or all in a list, as Keras and converters have one tensor and several."""
    return items[0] if len(items) == 1 else list(items)


def _as_pytorch(results: Sequence[Any], unit: Unit) -> list[Any]:
    """What a converter of ours gives, in PyTorch's dtype where it cannot know that.

    A tensor that is written to keeps its dtype; and what was computed of sizes, which TensorFlow has in 32 bits, has
    the 64 of PyTorch's integers.
    """
    in_place = unit.converter.is_built_in and (is_in_place(unit.node.op) or bool(unit.node.writes))
    of_sizes = any(v.kind is ValueKind.SIZE for v in unit.inputs)
    if not in_place and not of_sizes:
        return list(results)

    def cast(x: Any, dtype: str | None) -> Any:
        widens = dtype == "int64" and x.dtype == tf.int32
        if dtype is None or not (in_place or widens) or x.dtype.name == dtype:
            return x
        return set_channel_order(tf.cast(x, dtype), get_channel_order(x))

    return [cast(x, dtype) for x, dtype in zip_longest(results, [v.dtype for v in unit.outputs]) if x is not None]


def _autocast(tensors: Sequence[Any]) -> list[Any]:
    floating = [t.dtype for t in tensors if t.dtype.is_floating]
    if len(set(floating)) < 2:
        return list(tensors)
    dtype = getattr(torch, floating[0].name)
    for other in floating[1:]:
        dtype = torch.promote_types(dtype, getattr(torch, other.name))
    target = tf_dtype(dtype)
    return [
        set_channel_order(tf.cast(t, target), t._nobuco_channel_order) if t.dtype.is_floating else t for t in tensors
    ]
