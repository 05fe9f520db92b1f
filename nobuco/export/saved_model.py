"""SavedModel: a Keras model as a folder that TensorFlow Serving, TF.js and TFLite's converter read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from nobuco.errors import ExportArgumentError
from nobuco.export.names import MODEL, Names
from nobuco.export.states import refuse_lost_writes, variables_of
from nobuco.export.weights import twins
from nobuco.files import replacing_folder
from nobuco.kinds import FLAG, PATH, Kind, takes
from nobuco.layers import StateLayer
from nobuco.layers.output import in_order
from nobuco.layers.state import state_layers

SIGNATURE = "serving_default"
# Weights of up to this many elements go into the graph as constants: a variable costs the SavedModel and the
# converter 20 ms, whatever its size. Larger ones stay variables, since constants are copied several times.
_EMBEDDED = 2**14

Models: TypeAlias = keras.Model | Mapping[str, keras.Model]
MODELS = MODEL | Kind("a dict of such by the names of their signatures", lambda given: _is_mapping_of_models(given))


def _is_mapping_of_models(value: Any) -> bool:
    named = isinstance(value, Mapping) and all(isinstance(name, str) and name for name in value)
    return named and bool(value) and all(map(MODEL.fits, value.values()))


@takes(ExportArgumentError, model=MODELS, folder=PATH, overwrite=FLAG)
def to_saved_model(model: Models, folder: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a model as a SavedModel for inference, or several models as one, a signature each.

    A signature names the inputs as `input_names(model)` does and the outputs as `output_names(model)`. State
    that the model keeps from call to call lies in variables. Several times faster than `model.export`, which keeps
    every weight as a variable; take that one for a SavedModel to be trained further.

    A SavedModel that is there already is replaced when the new one is complete, and not touched by a failure. So is an
    empty folder; one that holds anything else is left as it is.

    Args:
        model: a Keras model, whose signature is `serving_default`, or models by the names of their signatures.
        folder: where to; the folder around it must be there.
        overwrite: whether a SavedModel, or an empty folder, that is there already is replaced.

    Raises:
        OutputError: there is something else at that path, or no folder for it.
    """
    with replacing_folder(folder, foreign, overwrite) as fresh:
        write(by_signature(model), str(fresh))


_PARTS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables|variables/variables\.(index|data-\d+-of-\d+)"
    r"|assets|debug|debug/saved_model_debug_info\.pb"
)


def foreign(folder: Path) -> str:
    """What in a folder is no part of a SavedModel; "" where all is."""
    if not (folder / "saved_model.pb").is_file():
        return f"{min(path.name for path in folder.iterdir())}, and no saved_model.pb"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            return f"{name}, which is a link or a device"
        if not _PARTS.fullmatch(name) and name not in _assets(folder / "saved_model.pb"):
            return name
    return ""


def _assets(file: Path) -> set[str]:
    """The files that a SavedModel says that it needs beside its graph and its variables."""
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(file.read_bytes())
    except DecodeError:
        return set()
    return {f"assets/{asset.filename}" for graph in model.meta_graphs for asset in graph.asset_file_def}


def by_signature(model: Models) -> dict[str, keras.Model]:
    """Models by the names of their signatures."""
    return dict(model) if isinstance(model, Mapping) else {SIGNATURE: model}


def write(
    models: Mapping[str, keras.Model],
    folder: str,
    pass_states: bool = False,
    narrow: bool = False,
    rebuild: Callable[[Any], Any] | None = None,
) -> dict[str, Names]:
    """Write a SavedModel.

    With `pass_states`, states are further arguments and results instead of variables. With `narrow`, what the models
    take and give in 64-bit integers has 32 bits at the signature. `rebuild` gives what stands for a concrete function.
    """
    refuse_lost_writes(models)
    states = {} if pass_states else variables_of(models)
    passed = {key: list(state_layers(model)) if pass_states else [] for key, model in models.items()}
    names = {key: Names.of(model, passed[key]) for key, model in models.items()}
    weights = twins(models)
    functions = {
        key: _signature(model, names[key], passed[key], states, weights, narrow) for key, model in models.items()
    }
    holder = tf.Module()
    # Not the models' own variables: a converter's function may read those of a SavedModel that it has loaded.
    holder.weights = list({id(v): v for function in functions.values() for v in function.variables}.values())
    if rebuild is not None:
        functions = {key: rebuild(function) for key, function in functions.items()}
    # A function that is built again has gradients that speak of the one that it was, and it is not trained.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=rebuild is None)
    tf.saved_model.save(holder, folder, signatures=functions, options=options)
    return names


def _signature(
    model: keras.Model,
    names: Names,
    passed: Sequence[StateLayer],
    states: Mapping[int, tf.Variable],
    weights: Mapping[int, keras.Variable],
    narrow: bool,
) -> Any:
    """The model as a TensorFlow function whose results have names."""
    tensors = [*model.inputs, *(layer.state for layer in passed)]
    own = [tf.as_dtype(t.dtype) for t in tensors]
    specs = [
        tf.TensorSpec(t.shape, _narrowed(dtype, narrow), name) for t, dtype, name in zip(tensors, own, names.inputs)
    ]
    embedded = _embedded(model)
    elsewhere = [(v, weights[id(v)]) for v in model.variables if weights.get(id(v), v) is not v]
    kept = [(layer, states[id(layer)]) for layer in state_layers(model) if id(layer) in states]

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors: Any) -> dict[str, Any]:
        count, tensors = len(model.inputs), tuple(map(tf.cast, tensors, own))
        held = [*zip(passed, tensors[count:]), *((layer, variable.read_value()) for layer, variable in kept)]
        fixed = [(variable, tf.convert_to_tensor(twin.value)) for variable, twin in elsewhere]
        fixed += [(variable, tf.constant(array)) for variable, array in embedded]
        results, after = _called(model, tensors[:count], held, fixed)
        for (_, variable), value in zip(kept, after[len(passed) :]):
            variable.assign(value)
        results += after[: len(passed)]
        return {name: tf.cast(t, _narrowed(t.dtype, narrow)) for name, t in zip(names.outputs, results)}

    return serve.get_concrete_function()


def _narrowed(dtype: Any, narrow: bool) -> Any:
    return tf.int32 if narrow and tf.as_dtype(dtype) == tf.int64 else dtype


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
    held: Sequence[tuple[StateLayer, Any]],
    fixed: Sequence[tuple[keras.Variable, Any]],
) -> tuple[list[Any], list[Any]]:
    """The model's outputs, in order, and what becomes of the states, which `held` has with what they hold before.

    `fixed` are tensors in place of weights.
    """
    feed = list(tensors) if len(tensors) > 1 else tensors[0]
    mapping = [*((layer.state, tensor) for layer, tensor in held), *fixed]
    if not mapping:
        return in_order(model(feed, training=False)), []
    with keras.StatelessScope(state_mapping=mapping) as scope:
        results = in_order(model(feed, training=False))
    return results, [scope.get_current_value(layer.state) for layer, _ in held]
