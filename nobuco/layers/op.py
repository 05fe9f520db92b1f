"""A TensorFlow function as a Keras layer that saves and loads without the code that made it.

In the process that converts, the layer calls a Python function. Its config, made when asked for, carries the
function's own GraphDef; a layer made from a config calls that. The variables that the function uses are the
layer's own weights either way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nobuco.errors import NobucoWarning, UnsafeFileError
from nobuco.layers.importing import bring_in
from nobuco.layers.loading import FromFile, declared, trusted
from nobuco.layers.packing import packed, unpacked
from nobuco.layers.vetting import vet


@keras.saving.register_keras_serializable(package="nobuco")
class OpLayer(FromFile, keras.layers.Layer):
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
        self._graph = None if graph is None else _checked(graph)
        # Keras tracks the variables of a list that becomes an attribute; twice would save them twice.
        if graph is None:
            self._own, self._function = list(variables), function
        else:
            self._function = self._loaded(graph)
            self._own = [self._saved_weight(spec) for spec in graph["weights"]]
        self.built = True

    def call(self, *tensors: Any) -> Any:
        """Run the function."""
        assert self._function is not None
        return self._function(*tensors)

    def get_config(self) -> dict[str, Any]:
        """The function as a GraphDef, made now."""
        graph = self._graph or _exported(self.name, self._function, self._own, self._input_specs())
        return {**super().get_config(), "graph": graph}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OpLayer:
        """A layer of what `get_config` gave; no file has a function."""
        _checked(config.get("graph"))
        return super().from_config({k: v for k, v in config.items() if k not in ("function", "variables")})

    def _loaded(self, graph: dict[str, Any]) -> Callable[..., Any]:
        function = _imported(graph)

        def call(*tensors: Any) -> Any:
            results = function(*tensors, *(tf.convert_to_tensor(v.value) for v in self._own))
            for result, shape in zip(results, graph.get("shapes", ())):  # which TensorFlow may not look for itself
                result.set_shape(shape)
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
            shape=declared(spec["shape"], spec["dtype"]), dtype=spec["dtype"], trainable=spec["trainable"],
            name=spec["name"], initializer="zeros", autocast=False,
        )  # fmt: skip


_GRAPH = {"definition": str, "inputs": list, "outputs": list, "single": bool, "weights": list}
_WEIGHT = {"shape": list, "dtype": str, "trainable": bool, "name": str}


def _checked(graph: Any) -> dict[str, Any]:
    """What a config has for a graph, if it has the form that `_exported` gives it."""
    if not _formed(graph, _GRAPH) or not all(_formed(weight, _WEIGHT) for weight in graph["weights"]):
        raise UnsafeFileError(f"holds no graph where one must be, but {repr(graph)[:80]}")
    return graph


def _formed(config: Any, kinds: Mapping[str, type]) -> bool:
    return isinstance(config, Mapping) and all(isinstance(config.get(key), kind) for key, kind in kinds.items())


def _exported(name: str, function: Any, variables: Sequence[Any], specs: Sequence[tf.TensorSpec]) -> dict[str, Any]:
    """A layer's function as plain data. Its variables become inputs behind the tensors."""

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
    definition = concrete.graph.as_graph_def()
    try:
        vet(definition, definition.ByteSize())
    except UnsafeFileError as error:
        message = f"the layer {name!r} {error.found}: a file of it loads only with safe_mode=False"
        warnings.warn(message, NobucoWarning, stacklevel=2)
    return {
        "definition": packed(definition),
        "inputs": [t.name for t in concrete.inputs],
        "outputs": [t.name for t in concrete.outputs],
        "shapes": [None if t.shape.rank is None else list(t.shape) for t in concrete.outputs],
        "single": singles[0],
        "weights": [
            {"shape": list(v.shape), "dtype": str(v.dtype), "trainable": bool(v.trainable), "name": v.name}
            for v in variables
        ],
    }


def _imported(graph: Mapping[str, Any]) -> Any:
    """The saved function, callable eagerly and inside any other graph."""
    definition, size = unpacked(graph["definition"], trusted())
    if not trusted():
        vet(definition, size)
    done: dict[str, Any] = {}
    try:
        wrapped = tf.compat.v1.wrap_function(lambda: done.update(bring_in(definition, trusted())), [])
        ends = [[_tensor(done, name) for name in graph[key]] for key in ("inputs", "outputs")]
        return wrapped.prune(*ends)
    except (TypeError, LookupError, ValueError, AttributeError, tf.errors.OpError) as error:
        if isinstance(error, UnsafeFileError):
            raise
        raise UnsafeFileError(f"holds a graph that cannot be imported ({str(error)[:200]})") from error


def _tensor(operations: Mapping[str, Any], name: str) -> Any:
    operation, _, number = name.rpartition(":")
    return operations[operation].outputs[int(number)]
