"""TFLite: a Keras model as a flatbuffer, and running one."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from nobuco.export.saved_model import SIGNATURE, Names, write
from nobuco.layers.state import state_layers


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
    with tempfile.TemporaryDirectory() as folder:
        names = write(model, folder, passed)
        data = convert_saved_model(
            saved_model_dir=folder,
            saved_model_version=1,
            saved_model_tags={"serve"},
            saved_model_exported_names=[SIGNATURE],
        )
    return _in_model_order(bytearray(data), names)


def _in_model_order(data: bytearray, names: Names) -> bytes:
    """The flatbuffer with its inputs and outputs in the model's order; a SavedModel's signature has none."""
    from tensorflow.lite.python.schema_py_generated import Model

    model = Model.GetRootAs(data, 0)
    signature, graph = model.SignatureDefs(0), model.Subgraphs(0)
    given = {signature.Inputs(i).Name().decode(): signature.Inputs(i) for i in range(signature.InputsLength())}
    made = {signature.Outputs(i).Name().decode(): signature.Outputs(i) for i in range(signature.OutputsLength())}
    if given:  # the arrays are views of `data`
        graph.InputsAsNumpy()[:] = [given[name].TensorIndex() for name in names.inputs]
    graph.OutputsAsNumpy()[:] = [made[name].TensorIndex() for name in names.outputs]
    return bytes(data)


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
        interpreter.set_tensor(detail["index"], np.asarray(feed.numpy() if hasattr(feed, "numpy") else feed))
    interpreter.invoke()
    return [_read(interpreter, detail) for detail in interpreter.get_output_details()]


def _read(interpreter: Any, detail: Mapping[str, Any]) -> np.ndarray:
    """An output; one without elements has no memory that the interpreter could show."""
    if 0 in detail["shape"]:
        return np.empty(detail["shape"], detail["dtype"])
    return interpreter.get_tensor(detail["index"])


def tflite_operations(data: bytes) -> Counter[str]:
    """How often each operation stands in a flatbuffer, over all its subgraphs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=plain)
    return Counter(details["op_name"] for details in interpreter._get_ops_details())
