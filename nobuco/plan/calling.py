"""The converter of a unit, called with what PyTorch was given."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.errors import ConverterError
from nobuco.ir import Node, Value, leaves, map_leaves
from nobuco.layout.strategy import Signature
from nobuco.registry import operation_name
from nobuco.select import Unit


def call_converter(
    unit: Unit, samples: Mapping[int, Any], signature: Signature | None = None, regions: Sequence[Any] = ()
) -> Any:
    """Call the unit's converter with what PyTorch was given; returns its callable or Keras layer.

    A call with regions gets them, built, as its first argument; one that begins with a flattening is told how the
    tensor lies.

    Raises:
        ConverterError: the converter raised, or what it returned cannot be called.
    """
    node, converter = unit.node, unit.converter
    args, kwargs = traced_arguments(node, samples)
    own = (node.module, *args) if node.module is not None else args
    own = (tuple(regions), *own) if node.regions else own
    if unit.flattening is not None and signature is not None:
        kwargs["order"] = signature.inputs[0]
    assert converter.make is not None
    make = converter.make
    if unit.taken is not None or unit.given is not None:
        assert converter.folding is not None
        make, kwargs = converter.folding.make, {**kwargs, "taken": unit.taken, "given": unit.given}
    try:
        result = make(*own, **kwargs)
    except Exception as error:
        message = f"the converter of {describe(unit)} raised {type(error).__name__}: {error}"
        raise ConverterError(message, node.id) from error
    if isinstance(result, keras.layers.Lambda):
        # Keras saves a Lambda as Python bytecode and refuses to load it; as a function it is saved as its graph.
        return functools.partial(result.function, **(result.arguments or {}))
    if isinstance(result, keras.layers.Layer) or callable(result):
        return result
    raise ConverterError(
        f"the converter of {describe(unit)} returned {type(result).__name__}; it must return a Keras layer "
        "or a callable that takes the operation's arguments as TensorFlow tensors, "
        "e.g. `return lambda x: tf.nn.relu(x)`",
        node.id,
    )


def describe(unit: Unit) -> str:
    """The operation, the user's line and the converter's place, for error messages."""
    name, path = operation_name(unit.node.op), unit.node.path or unit.scope
    where = f" in module {path!r}" if path else ""
    return f"{name}{where} (called at {unit.node.site}; converter at {unit.converter.location})"


def traced_arguments(node: Node, samples: Mapping[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as PyTorch saw them; tensors are copies where a later write changed them."""

    def sample(leaf: Any) -> Any:
        return samples[leaf.id] if isinstance(leaf, Value) else leaf

    args, kwargs = map_leaves(sample, (node.args, dict(node.kwargs)))
    return args, kwargs


def flat_outputs(tree: Any) -> list[Any]:
    """The tensors of what a callable returned, in order."""
    return [leaf for leaf in leaves(tree) if tf.is_tensor(leaf) or isinstance(leaf, (np.ndarray, keras.KerasTensor))]
