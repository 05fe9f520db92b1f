"""What a signature calls a model's inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from nobuco.errors import ExportArgumentError
from nobuco.kinds import Kind, takes
from nobuco.layers import OutputLayer, StateLayer

MODEL = Kind(
    "a Keras model that has inputs, e.g. what pytorch_to_keras returned",
    lambda given: isinstance(given, keras.Model) and bool(getattr(given, "inputs", None)),
)


@dataclass(frozen=True)
class Names:
    """The names of inputs and outputs in the model's order; a SavedModel's signature has no order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, model: keras.Model, passed: Sequence[StateLayer] = ()) -> Names:
        """Those of a model; the states `passed` are further arguments and results."""
        return cls(
            tuple(_distinct([*input_names(model), *(layer.name for layer in passed)])),
            tuple(_distinct([*output_names(model), *(f"{layer.name}_next" for layer in passed)])),
        )


@takes(ExportArgumentError, model=MODEL)
def input_names(model: keras.Model) -> list[str]:
    """The names of the model's inputs as a TFLite signature has them, in order."""
    return _distinct([tensor.name for tensor in model.inputs])


@takes(ExportArgumentError, model=MODEL)
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
