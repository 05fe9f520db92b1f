"""TFLite: a Keras model as a flatbuffer, and running one."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from nobuco.layers import OutputLayer, StateLayer
from nobuco.layers.state import state_layers

_SIGNATURE = "serving_default"
# Weights of up to this many elements go into the graph as constants: a variable costs the SavedModel and the
# converter 20 ms, whatever its size. Larger ones stay variables, since constants are copied several times.
_EMBEDDED = 2**14


def to_tflite(model: keras.Model, states: Literal["variables", "arguments"] = "variables") -> bytes:
    """The model as a TFLite flatbuffer with float32 weights and TFLite's own operations.

    Its signature names the inputs as the model does and the outputs as `output_names` says.

    Args:
        model: what `pytorch_to_keras` returned.
        states: what becomes of the state of a model that has some. `variables`: the file holds it as resource
            variables, as they are now, and an interpreter keeps them from one `invoke` to the next (a new
            interpreter starts afresh). `arguments`: it is passed in, behind the inputs, and comes out, behind the
            outputs, in the order of `nobuco.layers.state.state_layers(model)`, and the file itself keeps nothing.

    Raises:
        tensorflow.lite.python.convert_phase.ConverterError: an operation has no TFLite form.
    """
    # `tf.lite.TFLiteConverter` ends in this function too, but first loads the SavedModel twice and afterwards
    # unpacks and packs the finished file, which takes twice the time and a third more memory; and its way
    # from concrete functions holds seven copies of the weights (6.7 GB for ViT-B/16, against 2.9 GB).
    from tensorflow.lite.python.convert import convert_saved_model

    passed = list(state_layers(model)) if states == "arguments" else []
    given = _distinct([*input_names(model), *(layer.name for layer in passed)])
    names = _distinct([*output_names(model), *(f"{layer.name}_next" for layer in passed)])
    tensors_given = [*model.inputs, *(layer.state for layer in passed)]
    specs = [tf.TensorSpec(t.shape, t.dtype, name) for t, name in zip(tensors_given, given)]

    embedded = _embedded(model) if passed or not list(state_layers(model)) else []

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors: Any) -> dict[str, Any]:
        count = len(model.inputs)
        return dict(zip(names, _called(model, tensors[:count], passed, tensors[count:], embedded)))

    holder, function = tf.Module(), serve.get_concrete_function()
    # Not the model's own variables: a converter's function may read those of a SavedModel that it has loaded.
    holder.weights = list(function.variables)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(holder, folder, signatures={_SIGNATURE: function})
        data = bytearray(
            convert_saved_model(
                saved_model_dir=folder,
                saved_model_version=1,
                saved_model_tags={"serve"},
                saved_model_exported_names=[_SIGNATURE],
            )
        )
    return _in_model_order(data, given, names)


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


def _in_model_order(data: bytearray, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The flatbuffer with its inputs and outputs in the model's order; a SavedModel's signature has none."""
    from tensorflow.lite.python.schema_py_generated import Model

    model = Model.GetRootAs(data, 0)
    signature, graph = model.SignatureDefs(0), model.Subgraphs(0)
    given = {signature.Inputs(i).Name().decode(): signature.Inputs(i) for i in range(signature.InputsLength())}
    made = {signature.Outputs(i).Name().decode(): signature.Outputs(i) for i in range(signature.OutputsLength())}
    if given:  # the arrays are views of `data`
        graph.InputsAsNumpy()[:] = [given[name].TensorIndex() for name in inputs]
    graph.OutputsAsNumpy()[:] = [made[name].TensorIndex() for name in outputs]
    return bytes(data)


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


def run_tflite(data: bytes, feeds: Sequence[Any], num_threads: int = 1) -> list[np.ndarray]:
    """Run a flatbuffer with LiteRT and XNNPACK on arrays in input order; returns the outputs in order.

    The order is that of the Keras model's inputs and flattened outputs for a file that `to_tflite` made. An
    input whose shape differs from the file's is resized to what is fed.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=num_threads)
    inputs = interpreter.get_input_details()
    for detail, feed in zip(inputs, feeds):
        if list(detail["shape"]) != list(np.shape(feed)):
            interpreter.resize_tensor_input(detail["index"], np.shape(feed))
    interpreter.allocate_tensors()
    for detail, feed in zip(inputs, feeds):
        interpreter.set_tensor(detail["index"], np.asarray(feed))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def tflite_operations(data: bytes) -> Counter[str]:
    """How often each operation stands in a flatbuffer, over all its subgraphs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=plain)
    return Counter(details["op_name"] for details in interpreter._get_ops_details())


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
