"""A model in the forms that are timed: PyTorch's, Keras's and TFLite's, with the inputs each takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nobuco.errors import SuiteError

if TYPE_CHECKING:
    import numpy as np

    from pytest_nobuco.models.backend import Converted, Subject


@dataclass(frozen=True)
class Deployed:
    """A PyTorch model and what it was converted to, or a TFLite file by itself."""

    label: str
    subject: Subject | None = None
    converted: Converted | None = None
    file: bytes | None = None
    given: tuple[Any, ...] | None = None
    """The inputs of a file by itself; drawn at random if None."""

    @property
    def torch_subject(self) -> Subject:
        """The PyTorch model with its inputs."""
        if self.subject is None:
            raise SuiteError(f"{self.label} is a TFLite file, so there is no PyTorch model to time")
        return self.subject

    @property
    def keras_model(self) -> Any:
        """The Keras model."""
        if self.converted is None:
            raise SuiteError(f"{self.label} is a TFLite file, so there is no Keras model to time")
        return self.converted.model

    @cached_property
    def tflite(self) -> bytes:
        """The TFLite file."""
        if self.file is not None:
            return self.file
        assert self.converted is not None
        return self.converted.artefacts.tflite

    @cached_property
    def feeds(self) -> list[np.ndarray]:
        """The inputs as the converted model takes them."""
        import numpy as np

        if self.converted is None:
            return [np.asarray(feed) for feed in self.given or _drawn(self.tflite)]
        import torch
        from torch.utils import _pytree as pytree

        import nobuco

        leaves = pytree.tree_leaves((self.torch_subject.args, dict(self.torch_subject.kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return [np.asarray(nobuco.t_pytorch2keras(tensor, self.converted.inputs)) for tensor in tensors]

    def as_pytorch(self, outputs: Sequence[Any]) -> list[np.ndarray]:
        """The converted model's outputs laid out as PyTorch's."""
        import numpy as np

        if self.converted is None:
            return [np.asarray(output) for output in outputs]
        import nobuco
        from nobuco.bridge import to_numpy

        return [to_numpy(nobuco.t_keras2pytorch(output, self.converted.outputs)) for output in outputs]

    @cached_property
    def expected(self) -> Sequence[np.ndarray]:
        """What every runtime must give: PyTorch's outputs, or the plain kernels' for a file by itself."""
        return self.subject.expected if self.subject is not None else _reference(self.tflite, self.feeds)

    def pytorch_call(self) -> Any:
        """A function that runs the PyTorch model; on a copy, since a model may have state or write to its inputs."""
        model, args, kwargs = copy.deepcopy(
            (self.torch_subject.model, self.torch_subject.args, dict(self.torch_subject.kwargs))
        )
        return lambda: model(*args, **kwargs)


def read_file(model: str | Path | bytes) -> bytes:
    """The TFLite file that the user gave as bytes or by its path."""
    if isinstance(model, bytes):
        return model
    try:
        return Path(model).read_bytes()
    except OSError as error:
        raise SuiteError(f"the TFLite file cannot be read: {error}") from None


def _drawn(data: bytes) -> list[np.ndarray]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    generator = np.random.default_rng(0)
    drawn = []
    for detail in Interpreter(model_content=data).get_input_details():
        dtype = np.dtype(detail["dtype"])
        if dtype.kind == "f":
            drawn.append(generator.standard_normal(detail["shape"]).astype(dtype))
        else:  # an integer is most often an index into something
            drawn.append(generator.integers(0, 2, detail["shape"]).astype(dtype))
    return drawn


def _reference(data: bytes, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=plain)
    return run_interpreter(interpreter, feeds)()


def run_interpreter(interpreter: Any, feeds: Sequence[np.ndarray]) -> Callable[[], list[np.ndarray]]:
    """Make an interpreter ready for inputs of these shapes; returns one run, from arrays to arrays."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != len(feeds):
        raise SuiteError(f"the TFLite file takes {len(inputs)} inputs, and {len(feeds)} were given")
    for detail, feed in zip(inputs, feeds):
        if list(detail["shape"]) != list(feed.shape):
            interpreter.resize_tensor_input(detail["index"], feed.shape)
    interpreter.allocate_tensors()

    def run() -> list[np.ndarray]:
        for detail, feed in zip(inputs, feeds):
            interpreter.set_tensor(detail["index"], feed)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in outputs]

    return run
