"""SavedModel: a Keras model as a folder that TensorFlow Serving, TF.js and TFLite's converter read."""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.layers import OutputLayer, StateLayer
from nobuco.layers.state import state_layers

SIGNATURE = "serving_default"
# Weights of up to this many elements go into the graph as constants: a variable costs the SavedModel and the
# converter 20 ms, whatever its size. Larger ones stay variables, since constants are copied several times.
_EMBEDDED = 2**14


@dataclass(frozen=True)
class Names:
    """What a signature calls the inputs and outputs, in the model's order; the signature itself has none."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def to_saved_model(model: keras.Model, folder: str | os.PathLike[str]) -> None:
    """Write the model as a SavedModel for inference, with one signature, `serving_default`.

    The signature names the inputs as `input_names(model)` does and the outputs as `output_names(model)`. State
    that the model keeps from call to call lies in variables. Several times faster than `model.export`, which keeps
    every weight as a variable; take that one for a SavedModel to be trained further.

    A folder that is there already is replaced when the new one is complete, and not touched by a failure.
    """
    target = Path(folder)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent) as workspace:
        fresh, old = Path(workspace, "new"), Path(workspace, "old")
        write(model, str(fresh))
        if target.exists():
            target.rename(old)
        shutil.move(fresh, target)


def write(model: keras.Model, folder: str, passed: Sequence[StateLayer] = ()) -> Names:
    """Write a SavedModel with the states `passed` as further arguments and results instead of variables."""
    names = Names(
        tuple(_distinct([*input_names(model), *(layer.name for layer in passed)])),
        tuple(_distinct([*output_names(model), *(f"{layer.name}_next" for layer in passed)])),
    )
    tensors = [*model.inputs, *(layer.state for layer in passed)]
    specs = [tf.TensorSpec(t.shape, t.dtype, name) for t, name in zip(tensors, names.inputs)]
    embedded = _embedded(model) if passed or not list(state_layers(model)) else []

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors: Any) -> dict[str, Any]:
        count = len(model.inputs)
        return dict(zip(names.outputs, _called(model, tensors[:count], passed, tensors[count:], embedded)))

    holder, function = tf.Module(), serve.get_concrete_function()
    # Not the model's own variables: a converter's function may read those of a SavedModel that it has loaded.
    holder.weights = list(function.variables)
    tf.saved_model.save(holder, folder, signatures={SIGNATURE: function})
    return names


def _embedded(model: keras.Model) -> list[tuple[keras.Variable, np.ndarray]]:
    """The small weights, which go into the graph as constants, with their values."""
    states = {id(layer.state) for layer in state_layers(model)}
    return [
        (variable, variable.numpy())
        for variable in model.variables
        if id(variable) not in states and math.prod(variable.shape) <= _EMBEDDED
    ]


def _called(
    model: keras.Model,
    tensors: Sequence[Any],
    passed: Sequence[StateLayer],
    held: Sequence[Any],
    embedded: Sequence[tuple[keras.Variable, np.ndarray]],
) -> list[Any]:
    """The model's outputs, flattened, and behind them the new values of the states that are passed in."""
    feed = list(tensors) if len(tensors) > 1 else tensors[0]
    mapping = [(layer.state, t) for layer, t in zip(passed, held)]
    mapping += [(variable, tf.constant(array)) for variable, array in embedded]
    if not mapping:
        return keras.tree.flatten(model(feed, training=False))
    with keras.StatelessScope(state_mapping=mapping) as scope:
        results = keras.tree.flatten(model(feed, training=False))
    return [*results, *(scope.get_current_value(layer.state) for layer in passed)]


def input_names(model: keras.Model) -> list[str]:
    """The names of the model's inputs as a TFLite signature has them, in order."""
    return _distinct([tensor.name for tensor in model.inputs])


def output_names(model: keras.Model) -> list[str]:
    """A name for each output, in the order of `keras.tree.flatten(model.output)`.

    The name that the user gave it, the key of an output that stands in a dict, else `output_<i>`.
    """
    named = []
    for i, (path, tensor) in enumerate(keras.tree.flatten_with_path(model.output)):
        keys = [str(step) for step in path if isinstance(step, str)]
        layer = tensor._keras_history.operation
        if isinstance(layer, OutputLayer):
            named.append(layer.name)
        else:
            named.append("_".join(map(str, path)) if keys else f"output_{i}")
    return _distinct(named)


def _plain(name: str) -> str:
    """A name as a signature takes it: ASCII letters, digits and underscores, of which none stands first."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"t{plain}" if plain.startswith("_") else plain


def _distinct(names: Sequence[str]) -> list[str]:
    """These names as a signature takes them, each once."""
    found: list[str] = []
    for name in map(_plain, names):
        while name in found:
            name += "_"
        found.append(name)
    return found
