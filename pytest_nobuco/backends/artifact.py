"""A file that some converter made, opened: what goes in, what comes out, and a function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nobuco.backends.matching import Slot
from pytest_nobuco.backends.spec import RUNTIMES
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency.deployed import run_interpreter

if TYPE_CHECKING:
    import numpy as np

FORMS = "a .tflite, .keras or .onnx file, or the folder of a SavedModel"


@dataclass(frozen=True)
class Opened:
    """An artifact ready to run on arrays in its own order; `slots` are None where it does not tell what it takes."""

    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
    inputs: tuple[Slot, ...] | None = None
    outputs: tuple[Slot, ...] | None = None
    dtypes: tuple[Any, ...] = ()
    """Of the inputs."""


def runtime_of(path: Path) -> str | None:
    """What runs a file, by its suffix; None for what nothing here runs."""
    if path.is_dir():
        return "savedmodel" if path.joinpath("saved_model.pb").exists() else None
    return RUNTIMES.get(path.suffix)


def open_artifact(path: Path) -> Opened:
    """Open a TFLite or Keras file or a SavedModel.

    Raises:
        UnavailableError: what runs it is missing here.
        SuiteError: it cannot be opened.
    """
    try:
        return _OPENERS[runtime_of(path) or ""](path)
    except (SuiteError, ImportError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        raise SuiteError(f"{path} cannot be opened: {type(error).__name__}: {words[:300]}") from None


def size_of(path: Path) -> int:
    """The bytes of a file or folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _tflite(path: Path) -> Opened:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UnavailableError("TFLite needs ai-edge-litert: pip install 'nobuco[pytest]'") from None
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    inputs, outputs = _named(interpreter, "inputs"), _named(interpreter, "outputs")
    return Opened(
        lambda arrays: run_interpreter(interpreter, arrays)(),
        _slots(inputs),
        _slots(outputs),
        tuple(detail["dtype"] for _, detail in inputs),
    )


def _named(interpreter: Any, which: str) -> list[tuple[str, Any]]:
    """The tensors with the names that the only signature gives them, or else the graph."""
    details = getattr(interpreter, f"get_{which.removesuffix('s')}_details")()
    if len(interpreter.get_signature_list()) == 1:
        runner = interpreter.get_signature_runner()
        named = getattr(runner, f"get_{which.removesuffix('s')}_details")()
        indices = {detail["index"]: name for name, detail in named.items()}
        if {detail["index"] for detail in details} == set(indices):
            return [(indices[detail["index"]], detail) for detail in details]
    return [(detail["name"], detail) for detail in details]


def _slots(named: Sequence[tuple[str, Any]]) -> tuple[Slot, ...]:
    slots = []
    for name, detail in named:
        signed = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
        slots.append(Slot(name, tuple(None if size < 0 else int(size) for size in signed)))
    return tuple(slots)


def _keras(path: Path) -> Opened:
    import keras

    import nobuco.layers  # noqa: F401  which files of nobuco's hold

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except ValueError as error:
        if "safe_mode" not in str(error):
            raise
        raise SuiteError(
            f"{path} holds Python code (a Lambda layer), which is not run: save it as a SavedModel or TFLite file "
            "where you trust it, and give that"
        ) from None

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = model(arrays[0] if len(arrays) == 1 else list(arrays), training=False)
        return [keras.ops.convert_to_numpy(leaf) for leaf in keras.tree.flatten(outputs)]

    inputs = keras.tree.flatten(model.inputs)
    made = keras.tree.flatten(model.outputs)
    names = getattr(model, "output_names", None) or [tensor.name for tensor in made]
    return Opened(
        run,
        tuple(Slot(tensor.name, tuple(tensor.shape)) for tensor in inputs),
        tuple(Slot(name, tuple(tensor.shape)) for name, tensor in zip(names, made)),
        tuple(keras.backend.standardize_dtype(tensor.dtype) for tensor in inputs),
    )


def _saved_model(path: Path) -> Opened:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise SuiteError(f"{path} has no signature 'serving_default', by which a SavedModel is called")
    signature = loaded.signatures["serving_default"]
    inputs, made = signature.structured_input_signature[1], signature.structured_outputs

    def run(
        arrays: Sequence[np.ndarray], keep: Any = loaded
    ) -> list[np.ndarray]:  # a signature does not keep its model
        outputs = signature(**{name: tf.constant(array) for name, array in zip(inputs, arrays)})
        return [outputs[name].numpy() for name in made]

    return Opened(
        run,
        tuple(Slot(name, _shape(spec)) for name, spec in inputs.items()),
        tuple(Slot(name, _shape(spec)) for name, spec in made.items()),
        tuple(spec.dtype.as_numpy_dtype for spec in inputs.values()),
    )


def _shape(spec: Any) -> tuple[int | None, ...]:
    if spec.shape.rank is None:
        raise SuiteError(f"tensor {spec.name} says no shape")
    return tuple(spec.shape)


_OPENERS: dict[str, Callable[[Path], Opened]] = {"tflite": _tflite, "keras_file": _keras, "savedmodel": _saved_model}
