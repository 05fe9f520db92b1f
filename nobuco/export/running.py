"""Running a TFLite file with LiteRT on arrays, which are checked first: the runtime reads memory that nothing set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nobuco.errors import ExportArgumentError, ExportError
from nobuco.kinds import instance, shown, takes, whole


def litert() -> Any:
    """LiteRT's interpreter, which only who runs a file needs.

    Raises:
        ExportError: it is not installed.
    """
    try:
        from ai_edge_litert import interpreter
    except ModuleNotFoundError:
        raise ExportError("running a TFLite file needs LiteRT: pip install ai-edge-litert") from None
    return interpreter


_DATA = instance("the bytes of a TFLite file, e.g. what to_tflite returned", bytes, bytearray, memoryview)


@takes(
    ExportArgumentError,
    data=_DATA,
    feeds=instance("a list of arrays, one for each input of the file", list, tuple),
    num_threads=whole(1),
)
def run_tflite(data: bytes, feeds: Sequence[Any], num_threads: int = 1) -> list[np.ndarray]:
    """Run a flatbuffer with LiteRT and XNNPACK on arrays in input order; returns the outputs in order.

    The order is that of the Keras model's inputs and flattened outputs for a file that `to_tflite` made. An
    input with dynamic sizes is resized to what is fed. Where the file takes or gives integers that stand for numbers,
    numbers go in and come out.

    Raises:
        ExportArgumentError: `data` is no TFLite file, or `feeds` are not what it takes.
        ExportError: LiteRT is not installed, or cannot run the file.
    """
    interpreter = interpreter_of(data, num_threads=num_threads)
    try:
        feed(interpreter, feeds)
        interpreter.invoke()
    except RuntimeError as error:
        raise ExportError(f"LiteRT cannot run this file: {error}") from error
    return [as_numbers(output_of(interpreter, detail), detail) for detail in interpreter.get_output_details()]


def output_of(interpreter: Any, detail: Mapping[str, Any]) -> np.ndarray:
    """An output; one without elements has no memory that the interpreter could show."""
    if 0 in detail["shape"]:
        return np.empty(detail["shape"], detail["dtype"])
    return interpreter.get_tensor(detail["index"])


def interpreter_of(data: bytes, **options: Any) -> Any:
    """LiteRT's interpreter of a file.

    Raises:
        ExportArgumentError: that is no TFLite file.
    """
    module = litert()
    try:
        return module.Interpreter(model_content=bytes(data), **options)
    except ValueError as error:
        raise ExportArgumentError(
            f"data is no TFLite file ({len(data)} bytes that begin with {bytes(data[:8])!r}): {error}"
        ) from None


def feed(interpreter: Any, feeds: Sequence[Any], argument: str = "feeds") -> None:
    """Give an interpreter its inputs, for whose shapes it makes room. Messages call them as the caller's argument.

    Raises:
        ExportArgumentError: they are not what the file takes.
    """
    inputs = interpreter.get_input_details()
    if len(feeds) != len(inputs):
        names = ", ".join(detail["name"] for detail in inputs)
        raise ExportArgumentError(
            f"{argument} has {len(feeds)} arrays; the file has {len(inputs)} inputs, {names}: {shown(feeds)}"
        )
    arrays = [_as_file_takes(given, detail, f"{argument}[{i}]") for i, (given, detail) in enumerate(zip(feeds, inputs))]
    for detail, array in zip(inputs, arrays):
        if list(detail["shape"]) != list(array.shape):
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(inputs, arrays):
        interpreter.set_tensor(detail["index"], array)


def _as_file_takes(given: Any, detail: Mapping[str, Any], place: str) -> np.ndarray:
    """An array as an input takes it: as integers where those stand for numbers."""
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    (scale, zero), dtype = detail["quantization"], np.dtype(detail["dtype"])
    dtypes = (np.dtype(np.float32), dtype) if scale else (dtype,)
    array = checked(given, shape, dtypes, f"{place} ({detail['name']!r})")
    if array.dtype == dtype:
        return array
    limits = np.iinfo(dtype)
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(dtype)


def checked(value: Any, shape: Sequence[int | None], dtypes: Sequence[np.dtype], place: str) -> np.ndarray:
    """An array of this shape (None: any size) and of one of these types, from what a user gives for one.

    That may be an array of any library, or Python's numbers, which have no type of their own.

    Raises:
        ExportArgumentError: it is no array of numbers, or one of another shape or type.
    """
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):  # lists of unequal length, symbolic tensors
        array = np.array(None)
    if isinstance(value, (bool, int, float, list, tuple)) and np.can_cast(array.dtype, dtypes[0], "same_kind"):
        array = array.astype(dtypes[0])
    fits = array.ndim == len(shape) and all(size in (None, own) for size, own in zip(shape, array.shape))
    if not fits or array.dtype not in dtypes:
        names = " or ".join(map(str, dtypes))
        way = f"x.astype(np.{dtypes[0]})" if fits and array.dtype != object else f"an array of {names} of that shape"
        raise ExportArgumentError(
            f"{place} is {shown(value)}; the file takes {tuple(shape)} of {names} (None: any size); give {way}"
        )
    return array


def as_numbers(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """The numbers that the integers of a tensor stand for; returns other tensors unchanged."""
    scale, zero = detail["quantization"]
    return (array.astype(np.float32) - zero) * np.float32(scale) if scale else array


@takes(ExportArgumentError, data=_DATA)
def tflite_operations(data: bytes) -> Counter[str]:
    """How often each operation stands in a flatbuffer, over all its subgraphs."""
    plain = litert().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = interpreter_of(data, experimental_op_resolver_type=plain)
    return Counter(details["op_name"] for details in interpreter._get_ops_details())
