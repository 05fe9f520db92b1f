"""`x[..., tf.newaxis]` of several sizes that are dynamic, for which TFLite's converter finds no form."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a slice that takes all there is and adds axes."""
    if operation.type != "StridedSlice" or not operation.get_attr("new_axis_mask"):
        return None
    axes = _new_axes(operation)
    if axes is None or operation.outputs[0].shape.as_list().count(None) < 2:
        return None
    return lambda operation, x, *_: [_expanded(x, axes)]


def _expanded(x: Any, axes: list[int]) -> Any:
    for axis in axes:
        x = tf.expand_dims(x, axis)
    return x


def _new_axes(operation: tf.Operation) -> list[int] | None:
    """Which axes of the result are new; None where the slice does something else besides."""
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {name: operation.get_attr(f"{name}_mask") for name in names}
    strides = tf.get_static_value(operation.inputs[3])
    if masks["shrink_axis"] or strides is None or operation.outputs[0].shape.rank is None:
        return None
    is_new: list[bool | None] = []  # None: the ellipsis
    for place, step in enumerate(strides):
        said = {name for name in names if masks[name] >> place & 1}
        if not said & {"ellipsis", "new_axis"} and not (step == 1 and {"begin", "end"} <= said):
            return None
        is_new.append(None if "ellipsis" in said else "new_axis" in said)
    at = is_new.index(None) if None in is_new else len(is_new)
    rest = [False] * (operation.outputs[0].shape.rank - sum(entry is not None for entry in is_new))
    return [axis for axis, new in enumerate([*is_new[:at], *rest, *is_new[at + 1 :]]) if new]
