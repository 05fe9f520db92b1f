"""What a signature calls a model's inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from nobuco.errors import ExportArgumentError
from nobuco.kinds import Kind, takes
from nobuco.layers import OutputLayer, StateLayer

MODEL = Kind(
    "a Keras model that has inputs, e.g. what pytorch_to_keras returned",
    lambda given: isinstance(given, keras.Model) and bool(given.inputs) and given.output is not None,
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
            tuple(_distinct([*output_names(model), *(f"{layer.name}_next" for layer in passed)], keep=".")),
        )


@takes(ExportArgumentError, model=MODEL)
def input_names(model: keras.Model) -> list[str]:
    """The names of the model's inputs as a TFLite signature has them, in order."""
    return _distinct([tensor.name for tensor in model.inputs])


@takes(ExportArgumentError, model=MODEL)
def output_names(model: keras.Model) -> list[str]:
    """A name for each output, in the order in which the program gives them.

    The name that the user gave it, the keys that lead to it (`detections.boxes`), else `output_<i>`.
    """
    named = []
    for i, (name, tensor) in enumerate(_with_keys(model.output, "")):
        layer = tensor._keras_history.operation
        named.append(layer.name if isinstance(layer, OutputLayer) else name if _has_key(name) else f"output_{i}")
    return _distinct(named, keep=".")


def _with_keys(outputs: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors of nested outputs, each with the keys and numbers that lead to it."""
    if isinstance(outputs, Mapping):
        for key, part in outputs.items():
            yield from _with_keys(part, f"{name}.{key}" if name else str(key))
    elif isinstance(outputs, (list, tuple)):
        for i, part in enumerate(outputs):
            yield from _with_keys(part, f"{name}_{i}" if name else f"output_{i}")
    else:
        yield name, outputs


def _has_key(name: str) -> bool:
    return re.fullmatch(r"(output(_\d+)+)?", name) is None


def _plain(name: str, keep: str = "") -> str:
    """A name as a signature takes it: ASCII letters, digits, underscores and `keep`, no underscore first."""
    plain = re.sub(rf"[^\w{re.escape(keep)}]", "_", name, flags=re.ASCII)
    return f"t{plain}" if plain.startswith("_") else plain


def _distinct(names: Sequence[str], keep: str = "") -> list[str]:
    """These names as a signature takes them, each once."""
    distinct: list[str] = []
    for name in names:
        name = _plain(name, keep)
        while name in distinct:
            name += "_"
        distinct.append(name)
    return distinct
