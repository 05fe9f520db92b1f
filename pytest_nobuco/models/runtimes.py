"""What runs a converted model: each takes the arrays that go in and gives those that come out, flat."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.matrix import LATER

PRECISIONS = {
    "tflite_fp16": "float16", "tflite_dynamic": "dynamic", "tflite_int8": "int8", "tflite_int16x8": "int16x8",
}  # fmt: skip
"""What `nobuco.export.to_tflite` calls the form of a runtime that quantises."""


@dataclass
class Artefacts:
    """A Keras model and what it was written to, each made when first asked for; the folder goes with it."""

    model: Any
    _folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory, repr=False)
    _quantised: dict[str, bytes] = field(default_factory=dict, repr=False)

    @cached_property
    def keras_file(self) -> Any:
        """The model as `.keras` brings it back."""
        import keras

        path = Path(self._folder.name, "model.keras")
        with warnings.catch_warnings():
            # One for each weight, of TensorFlow's `__array__` under NumPy 2.
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            self.model.save(path)
            return keras.models.load_model(path)

    @cached_property
    def saved_model(self) -> Any:
        """The signature of the model's SavedModel."""
        import tensorflow as tf

        loaded = tf.saved_model.load(str(self._saved))
        return loaded, loaded.signatures["serving_default"]  # a signature does not keep its model alive

    @cached_property
    def _saved(self) -> Path:
        from nobuco.export import to_saved_model

        path = Path(self._folder.name, "saved_model")
        to_saved_model(self.model, path)
        return path

    def begin(self) -> None:
        """Forget what earlier runs left in a model that keeps state."""
        from nobuco.layers.state import reset_states, state_layers

        if any(state_layers(self.model)):
            reset_states(self.model)
            if "keras_file" in vars(self):
                reset_states(self.keras_file)
            vars(self).pop("saved_model", None)

    @cached_property
    def tflite(self) -> bytes:
        """The model as a TFLite flatbuffer."""
        from nobuco.export import to_tflite

        return to_tflite(self.model)

    def quantised(self, runtime: str, samples: Sequence[Sequence[Any]]) -> bytes:
        """The flatbuffer of a runtime that quantises, by the ranges that the first to ask has samples of."""
        from nobuco.export import to_tflite

        if runtime not in self._quantised:
            options: Any = {"precision": PRECISIONS[runtime], "representative": list(map(list, samples))}
            self._quantised[runtime] = to_tflite(self.model, **options)
        return self._quantised[runtime]


def run(artefacts: Artefacts, feeds: Sequence[Any], runtime: str, samples: Sequence[Sequence[Any]] = ()) -> list[Any]:
    """Run on arrays in input order; `samples` are what a runtime that quantises takes its ranges from.

    Raises:
        UnavailableError: the runtime is missing here, or does not exist yet.
        SuiteError: the model cannot be brought into the runtime's form.
    """
    if runtime in LATER:
        raise UnavailableError(f"{runtime} is planned for a later version of nobuco")
    artefacts.begin()
    if runtime in PRECISIONS:
        return _run_file(lambda: artefacts.quantised(runtime, samples), feeds)
    return _RUNNERS[runtime](artefacts, feeds)


def _run_keras(artefacts: Artefacts, feeds: Sequence[Any]) -> list[Any]:
    return _called(artefacts.model, feeds)


def _run_keras_file(artefacts: Artefacts, feeds: Sequence[Any]) -> list[Any]:
    return _called(artefacts.keras_file, feeds)


def _called(model: Any, feeds: Sequence[Any]) -> list[Any]:
    from nobuco.layers.output import called

    return called(model, feeds)


def _run_saved_model(artefacts: Artefacts, feeds: Sequence[Any]) -> list[Any]:
    from nobuco.export import input_names, output_names

    _, signature = artefacts.saved_model
    outputs = signature(**dict(zip(input_names(artefacts.model), feeds)))
    return [outputs[name] for name in output_names(artefacts.model)]


def _run_tflite(artefacts: Artefacts, feeds: Sequence[Any]) -> list[Any]:
    return _run_file(lambda: artefacts.tflite, feeds)


def _run_file(make: Callable[[], bytes], feeds: Sequence[Any]) -> list[Any]:
    try:
        import ai_edge_litert.interpreter  # noqa: F401  asked here so that its absence is a skip, not a failure
    except ImportError:
        raise UnavailableError("TFLite needs ai-edge-litert: pip install 'nobuco[pytest]'") from None
    from nobuco.export import run_tflite

    try:
        data = make()
    except Exception as error:
        if type(error).__name__ != "ExportError":
            raise
        raise SuiteError(f"the model has no TFLite form: {error}") from error
    return run_tflite(data, feeds)


_RUNNERS: dict[str, Callable[[Artefacts, Sequence[Any]], list[Any]]] = {
    "keras": _run_keras,
    "keras_file": _run_keras_file,
    "savedmodel": _run_saved_model,
    "tflite": _run_tflite,
}
