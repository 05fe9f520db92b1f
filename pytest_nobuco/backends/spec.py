"""What a backend is to its author."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

RUNTIMES = {".tflite": "tflite", ".keras": "keras_file", ".onnx": "onnx"}
"""What runs a file, by its suffix."""


@dataclass(frozen=True)
class Job:
    """What to convert, in the backend's interpreter.

    model: a `torch.nn.Module` in eval mode, with the weights that it has in the session.
    args, kwargs: the arguments that it is tried on; tensors of PyTorch's order.
    artifact: the file or folder to write.
    inputs, outputs: the channel order wanted, "nchw" (PyTorch's) or "nhwc" (channels last); "" where no tensor has
        three or more axes.
    free: for each input tensor, in order, the axes that shall be dynamic; empty if none shall.
    input_names: of the input tensors, in order.
    """

    model: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    artifact: Path
    inputs: str = "nchw"
    outputs: str = "nchw"
    free: tuple[tuple[int, ...], ...] = ()
    input_names: tuple[str, ...] = ()

    def images(self, tensors: Sequence[Any]) -> list[int]:
        """Which of these tensors have channels to put last: those of three or more axes."""
        return [place for place, tensor in enumerate(tensors) if tensor.ndim >= 3]


Run = Callable[[Sequence["np.ndarray"]], Sequence["np.ndarray"]]


@dataclass(frozen=True)
class Backend:
    """A converter of PyTorch models, and what it can.

    The functions run in the backend's interpreter. Their file is loaded there by its path: at its top it imports
    nothing but the standard library and `pytest_nobuco.backends`, in its functions whatever that interpreter has.

    name: what `--nobuco-backend` calls it.
    convert: writes `job.artifact`.
    install: the words behind `pip install`.
    modules: what has to be importable there.
    artifact: the name of what `convert` writes. A `.tflite` or `.keras` file and a SavedModel (a folder, no suffix) are
        run by the session; others by `load`.
    load: makes a function of an artifact, from arrays to arrays, in PyTorch's order of arguments.
    orders: pairs of channel orders, of inputs and outputs, that it can give.
    dynamic: whether it can give dynamic axes.
    describe: what a table says of an artifact: `operations` and `transpositions`, for what is no TFLite file.
    """

    name: str
    convert: Callable[[Job], None]
    install: str = ""
    modules: tuple[str, ...] = ()
    artifact: str = "net.tflite"
    load: Callable[[Path], Run] | None = None
    orders: tuple[str, ...] = ("nchw-nchw",)
    dynamic: bool = False
    describe: Callable[[Path], Mapping[str, int]] | None = None

    @property
    def runtime(self) -> str:
        """What the runtime is called in a test's id."""
        suffix = Path(self.artifact).suffix
        return RUNTIMES.get(suffix, suffix.removeprefix(".") or "savedmodel")
