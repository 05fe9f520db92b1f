"""Whole numbers made of sizes by way of floats: a TFLite file has 32 bits for these, and Python has 64.

So `int(n * .29)` is 29 in a file where n is 100, and 28 to Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_SIZES = np.arange(1, 4097)
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "Mul": np.multiply, "AddV2": np.add, "Sub": np.subtract, "RealDiv": np.divide, "Floor": np.floor, "Ceil": np.ceil,
    "Round": np.rint, "Neg": np.negative, "Abs": np.abs, "Maximum": np.maximum, "Minimum": np.minimum,
    "FloorMod": np.mod, "Pow": np.power, "Sqrt": np.sqrt, "Log": np.log,
}  # fmt: skip


def sizes_of_other_numbers(graph: Any) -> Iterator[int]:
    """For each whole number of a graph that comes of floats, the smallest size at which 32 bits give another."""
    for operation in graph.get_operations():
        if operation.type == "Cast" and operation.outputs[0].dtype.is_integer:
            (number,) = operation.inputs
            if number.dtype.is_floating and number.shape.rank == 0:
                exact, in_32_bits = (_numbers(number, dtype) for dtype in (np.float64, np.float32))
                if exact is not None and in_32_bits is not None:
                    yield from _SIZES[np.trunc(exact) != np.trunc(in_32_bits)][:1].tolist()


def _numbers(tensor: Any, dtype: type[np.floating[Any]]) -> Any:
    """What a float is at each size, computed in so many bits; None where it comes of more than sizes."""
    operation, known = tensor.op, tf.get_static_value(tensor.op.inputs[0] if tensor.op.type == "Cast" else tensor)
    if known is not None:
        return np.full(_SIZES.shape, known).astype(dtype)
    if operation.type == "Cast" and operation.inputs[0].dtype.is_integer:
        return _SIZES.astype(dtype)
    if operation.type in ("Cast", "Identity"):
        return _numbers(operation.inputs[0], dtype)
    parts = [_numbers(each, dtype) for each in operation.inputs] if operation.type in _FUNCTIONS else [None]
    if any(each is None for each in parts):
        return None
    with np.errstate(all="ignore"):
        return _FUNCTIONS[operation.type](*parts)
