"""The weights of a file: which are one, and whether there is room for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.errors import ExportError
from nobuco.layers.state import state_layers

# Readers of a flatbuffer take 31 of the 32 bits by which it finds its parts; the graph itself is a few megabytes.
_ROOM = 2**31 - 2**24
_BYTES = {
    "float32": 4,
    "float16": 2,
    "dynamic": 1,
    "int8": 4,
    "int16x8": 4,
}  # those of integers are made of a float file


def twins(models: Mapping[str, keras.Model]) -> dict[int, keras.Variable]:
    """For each variable that is no state, by its id, the one that stands for it: of equal ones of one tensor the first.

    Models of one module would otherwise go through TFLite's converter with all their weights each.
    """
    firsts: dict[Any, keras.Variable] = {}
    by_id: dict[int, keras.Variable] = {}
    for model in models.values():
        states = {id(layer.state) for layer in state_layers(model)}
        for variable in (variable for variable in model.variables if id(variable) not in states):
            first = firsts.setdefault(_made_of(variable), variable)
            by_id[id(variable)] = first if first is variable or _equal(first, variable) else variable
    return by_id


def _made_of(variable: keras.Variable) -> Any:
    """A key for the tensors that a variable was made of, and how; its own identity where they are unknown."""
    sources = tuple((id(ref), repr(steps)) for ref, steps in getattr(variable, "_nobuco_sources", ()))
    return (sources, tuple(variable.shape), str(variable.dtype)) if sources else id(variable)


def _equal(a: keras.Variable, b: keras.Variable) -> bool:
    return bool(np.array_equal(a.numpy(), b.numpy()))


def refuse_too_large(models: Mapping[str, keras.Model], precision: str) -> None:
    """Refuse, before the work, weights that no TFLite file of this precision has room for.

    Raises:
        ExportError: saying how large they are, and which precision would do.
    """
    distinct = {id(variable): variable for variable in twins(models).values()}.values()
    numbers = sum(math.prod(variable.shape) for variable in distinct if tf.as_dtype(variable.dtype).is_floating)
    if numbers * _BYTES[precision] <= _ROOM:
        return
    fitting = [name for name in ("float16", "dynamic") if numbers * _BYTES[name] <= _ROOM]
    ways = [f"precision={name!r} ({numbers * _BYTES[name] / 1e9:.1f} GB)" for name in fitting]
    raise ExportError(
        f"the model has {numbers / 1e6:.0f} million weights, {numbers * _BYTES[precision] / 1e9:.1f} GB on the way to "
        f"precision={precision!r}; a TFLite file holds less than 2 GB: "
        + " or ".join([*ways, "convert it in parts (some layers in each), which the caller runs in turn"])
    )
