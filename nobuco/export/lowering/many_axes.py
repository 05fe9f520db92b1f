"""Operations on more axes than TFLite's converter or its kernels take: axes that stay as they are become fewer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule, recreated


def _runs(rank: int, touched: Collection[int]) -> list[list[int]]:
    """Neighbouring axes that an operation leaves as they are, together; others one by one."""
    return [
        run
        for is_touched, group in itertools.groupby(range(rank), touched.__contains__)
        for run in ([[axis] for axis in group] if is_touched else [list(group)])
    ]


def _merged(x: Any, runs: Sequence[Sequence[int]]) -> Any:
    return tf.reshape(x, [math.prod(x.shape[axis] for axis in run) for run in runs])


def _pad(operation: tf.Operation, x: Any, paddings: Any, *value: Any) -> list[Any]:
    widths = tf.get_static_value(paddings)
    runs = _runs(len(widths), {axis for axis, pair in enumerate(widths) if any(pair)})
    fewer = tf.constant([list(widths[run[0]]) for run in runs], paddings.dtype)
    return [tf.reshape(recreated(operation, [_merged(x, runs), fewer, *value])[0], operation.outputs[0].shape)]


def _concat(operation: tf.Operation, *given: Any) -> list[Any]:
    *tensors, axis = given
    place = int(tf.get_static_value(axis)) % len(tensors[0].shape)
    runs = _runs(len(tensors[0].shape), {place})
    joined = tf.concat([_merged(x, runs) for x in tensors], next(i for i, run in enumerate(runs) if run == [place]))
    return [tf.reshape(joined, operation.outputs[0].shape)]


def _product(operation: tf.Operation, a: Any, b: Any) -> list[Any]:
    """Of all matrices in one row."""
    lead = operation.outputs[0].shape[:-2]
    a, b = (tf.reshape(_spread(x, lead), [-1, *x.shape[-2:]]) for x in (a, b))
    return [tf.reshape(recreated(operation, [a, b])[0], operation.outputs[0].shape)]


def _spread(x: Any, lead: tf.TensorShape) -> Any:
    shape = [*lead, *x.shape[-2:]]
    missing = len(shape) - len(x.shape)
    x = tf.reshape(x, [1] * missing + x.shape.as_list())
    for axis, size in enumerate(lead):  # one axis after the other: there is no TILE of as many, either
        if x.shape[axis] != size:
            before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
            repeated = tf.tile(tf.reshape(x, [before, 1, after]), [1, size, 1])
            x = tf.reshape(repeated, [*x.shape[:axis], size, *x.shape[axis + 1 :]])
    return x


def _slice(operation: tf.Operation, x: Any, begin: Any, end: Any, strides: Any) -> list[Any]:
    """In Python's words, a slice for each axis."""
    spec = [tf.get_static_value(bound).tolist() for bound in (begin, end, strides)]
    masks = {name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis")}
    slices = [slice(None)] * len(x.shape)
    for axis, (first, last, step) in enumerate(zip(*spec)):
        if masks["shrink_axis"] >> axis & 1:
            slices[axis] = slice(first, first + 1 or None)
        else:
            start, stop = (None if masks[name] >> axis & 1 else at for name, at in (("begin", first), ("end", last)))
            slices[axis] = slice(start, stop, step)
    whole = [slice(None), slice(None, None, 1)]
    runs = _runs(len(slices), {axis for axis, one in enumerate(slices) if one not in whole})
    return [tf.reshape(_merged(x, runs)[tuple(slices[run[0]] for run in runs)], operation.outputs[0].shape)]


def _reduce(operation: tf.Operation, x: Any, axes: Any) -> list[Any]:
    """Neighbouring axes that go, go together."""
    gone = {int(axis) % len(x.shape) for axis in tf.get_static_value(axes).reshape(-1)}
    runs = [list(group) for _, group in itertools.groupby(range(len(x.shape)), gone.__contains__)]
    places = tf.constant([i for i, run in enumerate(runs) if run[0] in gone], axes.dtype)
    return [tf.reshape(recreated(operation, [_merged(x, runs), places])[0], operation.outputs[0].shape)]


_PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
# The most axes that all of converter, kernels and XNNPACK take, and what takes their place.
_RULES: Mapping[str, tuple[int, Callable[..., Any]]] = {
    **dict.fromkeys(("Pad", "PadV2"), (5, _pad)),
    **dict.fromkeys(_PRODUCTS, (5, _product)),
    **dict.fromkeys(("Max", "Mean", "Min", "Prod", "Sum"), (6, _reduce)),
    "ConcatV2": (6, _concat),
    "StridedSlice": (5, _slice),
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation on many axes of known sizes."""
    most, again = _RULES.get(operation.type, (0, None))
    if again is None:
        return None
    count = {"ConcatV2": len(operation.inputs) - 1, **dict.fromkeys(_PRODUCTS, 2)}.get(operation.type, 1)
    data = operation.inputs[:count]
    places = operation.inputs[count:]
    shapes = [tensor.shape for tensor in (*data, *operation.outputs)]
    if max(shape.rank or 0 for shape in shapes) <= most or not all(shape.is_fully_defined() for shape in shapes):
        return None
    if operation.type == "StridedSlice" and (
        operation.get_attr("ellipsis_mask") or operation.get_attr("new_axis_mask")
    ):
        return None
    return again if all(tf.get_static_value(tensor) is not None for tensor in places) else None
