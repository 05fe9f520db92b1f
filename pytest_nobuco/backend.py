"""The one file that meets PyTorch, TensorFlow and nobuco, and only once an item runs.

Together they take seconds and hundreds of megabytes to import, which `--collect-only`, and every project that
merely has the plugin installed, must not pay. What the rest of the plugin needs of them is `Backend`; the
plugin's own tests put a pure-Python one in its place.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import Bound, Difference
from pytest_nobuco.inputs import FLOATS, InputSpec, read_inputs

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nobuco.parity import Tolerance
    from nobuco.report.data import Report


@dataclass(frozen=True)
class Subject:
    """A PyTorch model with the inputs it is tried on and what it makes of them."""

    model: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    expected: tuple[Any, ...]


class Backend(Protocol):
    """What a suite needs of the frameworks."""

    def is_model(self, candidate: Any) -> bool:
        """Whether it is a model already, rather than the class or factory of one."""

    def build(self, make: Callable[[], Any], seed: int) -> Any:
        """The model that `make` gives, its random weights seeded; `SuiteError` if that is none."""

    def subject(self, model: Any, inputs: Sequence[Any] | None, kwargs: Mapping[str, Any], seed: int) -> Subject:
        """The model with its inputs drawn and run once in PyTorch; None takes its `example_inputs()`."""

    def convert(self, subject: Subject, order: str) -> Any:
        """The converted model, in whatever form `run` takes; `SuiteError` if it cannot be converted."""

    def run(self, converted: Any, subject: Subject, runtime: str) -> Sequence[Any]:
        """Its outputs, laid out as PyTorch's; `UnavailableError` if the runtime is missing here."""

    def compare(self, got: Any, expected: Any, bound: Bound) -> Difference:
        """How far one output is from PyTorch's."""

    def worst_node(self, converted: Any) -> str | None:
        """Where in the model the error is largest, in words; None if it was not measured."""


@dataclass
class Converted:
    """A Keras model, the report of its conversion, and its TFLite form once somebody asked for it."""

    model: Any
    report: Report
    order: Any
    tflite: bytes | None = field(default=None, repr=False)


class NobucoBackend:
    """The real one."""

    def is_model(self, candidate: Any) -> bool:
        """See `Backend`."""
        import torch

        return isinstance(candidate, torch.nn.Module)

    def build(self, make: Callable[[], Any], seed: int) -> Any:
        """See `Backend`."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make()
        if inspect.isclass(model) or not callable(model):
            raise SuiteError(f"expected a torch.nn.Module or another callable, got {_summary(model)}")
        return model.eval() if isinstance(model, torch.nn.Module) else model

    def subject(self, model: Any, inputs: Sequence[Any] | None, kwargs: Mapping[str, Any], seed: int) -> Subject:
        """See `Backend`."""
        import torch
        from torch.utils import _pytree as pytree

        given_args, given_kwargs = _example_inputs(model) if inputs is None else (inputs, {})
        numbers = iter(range(seed, seed + 1_000_000))
        args, kwargs = pytree.tree_map(
            lambda leaf: _draw(leaf, next(numbers)) if isinstance(leaf, InputSpec) else leaf,
            (tuple(given_args), {**given_kwargs, **kwargs}),
        )
        # On copies, since a model may write to its inputs.
        with torch.no_grad():
            try:
                outputs = model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
            except Exception as error:
                shapes = ", ".join(_summary(leaf) for leaf in pytree.tree_leaves((args, kwargs)))
                raise SuiteError(
                    f"the model fails in PyTorch itself on inputs {shapes}: {type(error).__name__}: {error}"
                ) from error
        expected = tuple(_arrays(outputs))
        for index, array in enumerate(expected):
            _refuse_vacuous(index, array)
        return Subject(model, args, kwargs, expected)

    def convert(self, subject: Subject, order: str) -> Converted:
        """See `Backend`."""
        import nobuco
        from nobuco.errors import NobucoError

        channel_order = {"nchw": nobuco.ChannelOrder.PYTORCH, "nhwc": nobuco.ChannelOrder.TENSORFLOW}[order]
        try:
            keras_model, report = nobuco.pytorch_to_keras(
                subject.model,
                args=list(copy.deepcopy(subject.args)),
                kwargs=copy.deepcopy(dict(subject.kwargs)) or None,
                inputs_channel_order=channel_order,
                outputs_channel_order=channel_order,
                verbose=False,
                return_report=True,
            )
        except NobucoError as error:
            raise SuiteError(f"the model cannot be converted: {error}") from error
        return Converted(keras_model, report, channel_order)

    def run(self, converted: Converted, subject: Subject, runtime: str) -> list[np.ndarray]:
        """See `Backend`."""
        import torch
        from torch.utils import _pytree as pytree

        import nobuco

        leaves = pytree.tree_leaves((subject.args, dict(subject.kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        feeds = [nobuco.t_pytorch2keras(tensor, converted.order) for tensor in tensors]
        if runtime == "keras":
            outputs = converted.model(feeds[0] if len(feeds) == 1 else feeds)
        else:
            outputs = _run_tflite(converted, feeds)
        leaves = pytree.tree_leaves(outputs)
        return list(_arrays([nobuco.t_keras2pytorch(leaf, converted.order) for leaf in leaves]))

    def compare(self, got: Any, expected: Any, bound: Bound) -> Difference:
        """See `Backend`."""
        from nobuco.parity import compare

        return compare(got, expected, _tolerance(expected, bound))

    def worst_node(self, converted: Converted) -> str | None:
        """See `Backend`."""
        node = converted.report.worst_node()
        if node is None or node.accumulated is None:
            return None
        label = f"{node.path} ({node.name})" if node.path else node.name
        off = f"off by {node.accumulated.max_abs:.1e} in the Keras model"
        return f"{label}, {off if node.accumulated.matches else node.accumulated.describe()} {node.invoked}"


def _example_inputs(model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model says it is tried on: one input, a sequence of them, or a dict of keyword arguments."""
    method = getattr(model, "example_inputs", None)
    if method is None:
        raise SuiteError(
            "nobody said what its inputs are: give --nobuco-input 1,3,224,224, or inputs=... in "
            "the convert marker, or the model a method example_inputs() that returns its arguments"
        )
    example = method()
    if isinstance(example, Mapping):
        return (), dict(example)
    return read_inputs(example), {}


def _draw(spec: InputSpec, seed: int) -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, spec.dtype)
    if spec.dtype in FLOATS:
        return torch.randn(spec.shape, generator=generator).to(dtype)
    return torch.randint(spec.low, spec.high, spec.shape, generator=generator).to(dtype)


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    import torch
    from torch.utils import _pytree as pytree

    from nobuco.bridge import to_numpy

    for leaf in pytree.tree_leaves(tree):
        if isinstance(leaf, torch.Tensor):
            yield to_numpy(leaf)


def _refuse_vacuous(index: int, expected: np.ndarray) -> None:
    """An output with no number in it would match whatever the model does."""
    import numpy as np

    if expected.dtype.kind == "V" or not expected.size:  # bfloat16 is opaque to NumPy
        return
    if not np.isfinite(expected).any():
        raise SuiteError(
            f"output {index} {_summary(expected)} is NaN or infinite everywhere in PyTorch itself, so "
            "there is nothing to compare; are the inputs in the model's range?"
        )


def _run_tflite(converted: Converted, feeds: Sequence[Any]) -> list[Any]:
    try:
        import ai_edge_litert.interpreter  # noqa: F401  asked here so that its absence is a skip, not a failure
    except ImportError:
        raise UnavailableError("TFLite needs ai-edge-litert: pip install 'nobuco[pytest]'") from None
    from nobuco.export.tflite import run_tflite, to_tflite

    if converted.tflite is None:
        converted.tflite = to_tflite(converted.model)
    return run_tflite(converted.tflite, feeds)


def _tolerance(expected: np.ndarray, bound: Bound) -> Tolerance:
    from nobuco.parity import Tolerance, default_tolerance

    # A bound relative to the largest element says nothing of a tensor of zeros.
    if bound.is_default or (bound.max_abs is None and not expected.any()):
        return default_tolerance(expected.dtype.name)
    return Tolerance(math.inf if bound.max_abs is None else bound.max_abs, bound.max_rel, bound.source)


def _summary(thing: Any) -> str:
    shape, dtype = getattr(thing, "shape", None), getattr(thing, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
    return f"the {type(thing).__name__} {thing!r:.60}"
