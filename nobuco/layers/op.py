"""A TensorFlow function as a Keras layer that saves and loads without the code that made it.

In the process that converts, the layer calls a Python function. Its config, made when asked for, carries the
function's own GraphDef; a layer made from a config calls that. The variables that the function uses are the
layer's own weights either way.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


@keras.saving.register_keras_serializable(package="nobuco")
class OpLayer(keras.layers.Layer):
    """Calls `function(*tensors)`, which gives a tensor or a list of tensors."""

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        variables: Sequence[keras.Variable] = (),
        graph: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a layer from a function and the variables that it uses, or from a saved graph."""
        super().__init__(autocast=False, **kwargs)
        if (function is None) == (graph is None):
            raise ValueError("OpLayer takes either a function or a saved graph")
        self._graph = graph
        # Keras tracks the variables of a list that becomes an attribute; twice would save them twice.
        if graph is None:
            self._own, self._function = list(variables), function
        else:
            self._own = [self._saved_weight(spec) for spec in graph["weights"]]
            self._function = self._loaded(graph)
        self.built = True

    def call(self, *tensors: Any) -> Any:
        """Run the function."""
        assert self._function is not None
        return self._function(*tensors)

    def get_config(self) -> dict[str, Any]:
        """The function as a GraphDef, made now."""
        graph = self._graph or _exported(self._function, self._own, self._input_specs())
        return {**super().get_config(), "graph": graph}

    def _loaded(self, graph: dict[str, Any]) -> Callable[..., Any]:
        function = _imported(graph)

        def call(*tensors: Any) -> Any:
            results = function(*tensors, *(tf.convert_to_tensor(v.value) for v in self._own))
            return results[0] if graph["single"] else list(results)

        return call

    def _input_specs(self) -> list[tf.TensorSpec]:
        """The inputs of every call so far, with None where calls differ."""
        specs: list[tf.TensorSpec] = []
        for node in self._inbound_nodes:
            given = [tf.TensorSpec(t.shape, t.dtype) for t in node.input_tensors]
            specs = given if not specs else [a.most_specific_compatible_type(b) for a, b in zip(specs, given)]
        return specs

    def _saved_weight(self, spec: dict[str, Any]) -> Any:
        return self.add_weight(
            shape=spec["shape"], dtype=spec["dtype"], trainable=spec["trainable"], name=spec["name"],
            initializer="zeros", autocast=False,
        )  # fmt: skip


def _exported(function: Any, variables: Sequence[Any], specs: Sequence[tf.TensorSpec]) -> dict[str, Any]:
    """A function as plain data. Its variables become inputs behind the tensors."""

    def pure(*tensors: Any) -> list[Any]:
        inputs, weights = tensors[: len(specs)], tensors[len(specs) :]
        with keras.StatelessScope(state_mapping=list(zip(variables, weights))):
            results = function(*inputs)
        singles.append(not isinstance(results, (list, tuple)))
        return [results] if singles[-1] else list(results)

    singles: list[bool] = []
    weight_specs = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    concrete = tf.function(pure, autograph=False).get_concrete_function(*specs, *weight_specs)
    if concrete.captured_inputs:  # variables that Keras does not know, say of a SavedModel: saved as they are now
        concrete = convert_variables_to_constants_v2(concrete)
    definition = concrete.graph.as_graph_def().SerializeToString()
    return {
        "definition": base64.b64encode(zlib.compress(definition, 9)).decode("ascii"),
        "inputs": [t.name for t in concrete.inputs],
        "outputs": [t.name for t in concrete.outputs],
        "single": singles[0],
        "weights": [
            {"shape": list(v.shape), "dtype": str(v.dtype), "trainable": bool(v.trainable), "name": v.name}
            for v in variables
        ],
    }


def _imported(graph: dict[str, Any]) -> Any:
    """The saved function, callable eagerly and inside any other graph."""
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(zlib.decompress(base64.b64decode(graph["definition"])))
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    names = wrapped.graph.as_graph_element
    return wrapped.prune([names(n) for n in graph["inputs"]], [names(n) for n in graph["outputs"]])
