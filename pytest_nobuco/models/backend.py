"""The one file that meets PyTorch, TensorFlow and nobuco, and only once an item runs.

Together they take seconds and hundreds of megabytes to import, which `--collect-only`, and every project that
merely has the plugin installed, must not pay. What the rest of the plugin needs of them is `Backend`; the
plugin's own tests put a pure-Python one in its place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from nobuco.environment.quiet import load_tensorflow
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.gate import Bound, Difference
from pytest_nobuco.models.dynamic import FreeAxes, Shape
from pytest_nobuco.models.fuzz import Domain, domains_of, in_place_of
from pytest_nobuco.models.runtimes import Artefacts, run
from pytest_nobuco.models.witness import Witness, with_other_values

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nobuco import ChannelOrder
    from nobuco.parity import Tolerance
    from nobuco.report.data import Report
    from nobuco.subject.inputs import InputSpec


@dataclass(frozen=True)
class Subject:
    """A PyTorch model with the inputs it is tried on and what it makes of them.

    The shapes are those of all tensors that go in, and of all that come out, in their order.
    """

    model: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    expected: tuple[Any, ...]
    shapes: tuple[Shape, ...] = ()
    output_shapes: tuple[Shape, ...] = ()
    samples: tuple[Any, ...] = ()
    """Further arguments that the model is called with, from which a runtime that quantises takes its ranges."""
    witness: Witness | None = None
    """What else PyTorch tells of these outputs."""
    is_example: bool = True
    """Whether these inputs are those that a conversion is given."""
    name: str = ""
    """By which the model can be imported; empty for one that only its object has."""


@dataclass(frozen=True)
class Form:
    """What a conversion depends on besides the model: how inputs and outputs lie, and which axes are dynamic.

    An order is empty where no tensor has one.
    """

    inputs: str
    outputs: str
    free: FreeAxes = ()
    backend: str = ""
    """What converts, if it is not nobuco."""

    @property
    def name(self) -> str:
        """The form in a word, for reports."""
        axes = ";".join(",".join(map(str, axes)) for axes in self.free)
        return "-".join(part for part in (self.backend, self.inputs, self.outputs, axes) if part) or "static"


class Backend(Protocol):
    """What a suite needs of the frameworks."""

    def is_model(self, candidate: Any) -> bool:
        """Whether it is a model already, rather than the class or factory of one."""

    def build(self, make: Callable[[], Any], seed: int) -> Any:
        """The model that `make` gives, its random weights seeded; `SuiteError` if that is no model."""

    def subject(self, model: Any, inputs: Sequence[Any] | None, kwargs: Mapping[str, Any], seed: int) -> Subject:
        """The model with its inputs drawn and run once in PyTorch; None takes its `example_inputs()`."""

    def resized(self, subject: Subject, shapes: Sequence[Shape]) -> Subject:
        """The same on inputs of these shapes; `SuiteError` if the model does not take them."""

    def varied(self, subject: Subject) -> Subject | None:
        """The same on other values; None where there are none, or the model does not take them."""

    def domains(self, subject: Subject, free: FreeAxes) -> list[Domain]:
        """What other inputs the model may get, by those that it has."""

    def redrawn(self, subject: Subject, specs: Sequence[InputSpec]) -> Subject:
        """The same on these inputs in the place of its tensors; `SuiteError` if the model does not take them."""

    def convert(self, subject: Subject, form: Form, arguments: Mapping[str, Any]) -> Any:
        """The converted model, in whatever form `run` takes; `SuiteError` if it cannot be converted."""

    def run(self, converted: Any, subject: Subject, runtime: str) -> Sequence[Any]:
        """Its outputs, laid out as PyTorch's; `UnavailableError` if the runtime is missing here."""

    def compare(self, got: Any, expected: Any, bound: Bound) -> Difference:
        """How far one output is from PyTorch's."""

    def culprit(self, converted: Any, subject: Subject, bound: Bound, runtime: str) -> str | None:
        """The call that is off by its own fault where the model leaves this bound, in words; None if none was measured.

        `subject` is the one on which it leaves it.
        """

    def imprecise(self, converted: Any) -> Mapping[str, str]:
        """The calls that are off by themselves, whether the outputs show it or not: operations, in words, by name."""

    def computed_in(self, converted: Any) -> Sequence[str]:
        """The coarsest dtype on the way to each output; nothing where it is not known."""

    def graph(self, converted: Any) -> Mapping[str, Any] | None:
        """The report of the conversion as JSON can hold it; None if there is none."""


@dataclass(frozen=True)
class Converted:
    """A Keras model, the report of its conversion, and how it lies."""

    model: Any
    report: Report
    inputs: ChannelOrder
    outputs: ChannelOrder
    artefacts: Artefacts
    shapes: tuple[Shape, ...] = ()
    """Those of the inputs that it was converted with."""


class NobucoBackend:
    """The real one."""

    def is_model(self, candidate: Any) -> bool:
        """See `Backend`."""
        import torch

        return isinstance(candidate, torch.nn.Module)

    def build(self, make: Callable[[], Any], seed: int) -> Any:
        """See `Backend`."""
        from nobuco.subject.model import built

        with _as_suite_error():
            return built(make, seed)

    def subject(self, model: Any, inputs: Sequence[Any] | None, kwargs: Mapping[str, Any], seed: int) -> Subject:
        """See `Backend`."""
        from nobuco.subject.model import arguments

        with _as_suite_error(hint="--nobuco-input, or inputs=... in the convert marker, gives them"):
            args, kwargs = arguments(model, inputs, kwargs, seed)
        return _tried(model, args, kwargs)

    def resized(self, subject: Subject, shapes: Sequence[Shape]) -> Subject:
        """See `Backend`."""
        tensors = _tensors((subject.args, dict(subject.kwargs)))
        return _on(subject, [_repeated(tensor, shape) for tensor, shape in zip(tensors, shapes)])

    def varied(self, subject: Subject) -> Subject | None:
        """See `Backend`."""
        changed = with_other_values((subject.args, dict(subject.kwargs)))
        if changed is None:
            return None
        try:
            return _tried_elsewhere(subject.model, *changed)
        except SuiteError:
            return None

    def domains(self, subject: Subject, free: FreeAxes) -> list[Domain]:
        """See `Backend`."""
        return domains_of(_tensors((subject.args, dict(subject.kwargs))), free)

    def redrawn(self, subject: Subject, specs: Sequence[InputSpec]) -> Subject:
        """See `Backend`."""
        from nobuco.subject.model import draw

        return _on(subject, in_place_of(_tensors((subject.args, dict(subject.kwargs))), specs, draw))

    def convert(self, subject: Subject, form: Form, arguments: Mapping[str, Any]) -> Converted:
        """See `Backend`."""
        import nobuco

        orders = {"nchw": nobuco.ChannelOrder.PYTORCH, "nhwc": nobuco.ChannelOrder.TENSORFLOW}
        inputs, outputs = (orders.get(name, nobuco.ChannelOrder.TENSORFLOW) for name in (form.inputs, form.outputs))
        args, kwargs = copy.deepcopy((list(subject.args), dict(subject.kwargs)))
        free = zip(_tensors((args, kwargs)), form.free)
        with _as_suite_error("the model cannot be converted: "):
            keras_model, report = nobuco.pytorch_to_keras(
                subject.model,
                args=args,
                kwargs=kwargs or None,
                input_shapes={
                    tensor: tuple(None if axis in axes else size for axis, size in enumerate(tensor.shape))
                    for tensor, axes in free
                    if axes
                }
                or None,
                inputs_channel_order=inputs,
                outputs_channel_order=outputs,
                verbose=False,
                return_report=True,
                **arguments,
            )
        return Converted(keras_model, report, inputs, outputs, Artefacts(keras_model), subject.shapes)

    def run(self, converted: Converted, subject: Subject, runtime: str) -> list[np.ndarray]:
        """See `Backend`."""
        import nobuco

        def feeds_of(arguments: Any) -> list[Any]:
            return [nobuco.t_pytorch2keras(tensor, converted.inputs) for tensor in _tensors(arguments)]

        feeds = feeds_of((subject.args, dict(subject.kwargs)))
        samples = [feeds_of(arguments) for arguments in subject.samples] or [feeds]
        outputs = run(converted.artefacts, feeds, runtime, samples)
        return _arrays([nobuco.t_keras2pytorch(leaf, converted.outputs) for leaf in outputs])

    def compare(self, got: Any, expected: Any, bound: Bound) -> Difference:
        """See `Backend`."""
        from nobuco.parity import compare, fidelity

        if bound.min_snr is not None:
            return fidelity(got, expected, bound.min_snr, bound.source)
        return compare(got, expected, _tolerance(expected, bound))

    def culprit(self, converted: Converted, subject: Subject, bound: Bound, runtime: str) -> str | None:
        """See `Backend`."""
        from pytest_nobuco.models.culprit import culprit_of

        return culprit_of(converted, subject, bound, runtime)

    def imprecise(self, converted: Converted) -> Mapping[str, str]:
        """See `Backend`."""
        from pytest_nobuco.models.culprit import imprecise_calls

        return imprecise_calls(converted.report)

    def computed_in(self, converted: Converted) -> Sequence[str]:
        """See `Backend`."""
        return [port.computed for port in converted.report.results]

    def graph(self, converted: Converted) -> dict[str, Any]:
        """See `Backend`."""
        from nobuco.report import report_to_dict

        return report_to_dict(converted.report)


@contextmanager
def _as_suite_error(before: str = "", hint: str = "") -> Iterator[None]:
    """Tell what nobuco refuses as an error of the suite."""
    from nobuco.errors import NobucoError

    try:
        yield
    except NobucoError as error:
        raise SuiteError(f"{before}{error}" + (f"; {hint}" if hint else "")) from error


def _tried(model: Any, args: Any, kwargs: Any) -> Subject:
    """Run the model in PyTorch."""
    from nobuco.errors import InputError
    from nobuco.ir import tensors as given_tensors
    from nobuco.subject.model import ran, summary

    tensors = _tensors((args, kwargs))
    try:
        outputs = ran(model, args, kwargs)
    except InputError as error:
        raise SuiteError(str(error)) from error.__cause__
    if not given_tensors(outputs):
        raise SuiteError(f"the model gives no tensor in PyTorch, but {summary(outputs)}: there is nothing to compare")
    expected = tuple(_arrays(outputs))
    for index, array in enumerate(expected):
        _refuse_vacuous(index, array)
    return Subject(
        model, args, kwargs, expected,
        tuple(tuple(tensor.shape) for tensor in tensors), tuple(array.shape for array in expected),
        witness=Witness(model, args, kwargs, outputs),
    )  # fmt: skip


def _on(subject: Subject, tensors: Sequence[torch.Tensor]) -> Subject:
    """The model on these tensors in the place of its own."""
    import torch
    from torch.utils import _pytree as pytree

    following = iter(tensors)
    args, kwargs = pytree.tree_map(
        lambda leaf: next(following) if isinstance(leaf, torch.Tensor) else leaf, (subject.args, dict(subject.kwargs))
    )
    return _tried_elsewhere(subject.model, args, kwargs)


def _tried_elsewhere(model: Any, args: Any, kwargs: Any) -> Subject:
    """Run the model in PyTorch on inputs that the user did not give."""
    from nobuco.trace.unchecked import refusing_unchecked

    with refusing_unchecked():
        return replace(_tried(model, args, kwargs), is_example=False)


def _repeated(tensor: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The tensor cropped or repeated to this shape: its elements stay in the range that the model takes."""
    import torch

    for axis, size in enumerate(shape):
        if not tensor.shape[axis]:  # there is nothing to repeat
            tensor = tensor.new_zeros((*tensor.shape[:axis], size, *tensor.shape[axis + 1 :]))
        elif size != tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor


def _tensors(tree: Any) -> list[torch.Tensor]:
    import torch
    from torch.utils import _pytree as pytree

    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _arrays(tree: Any) -> list[np.ndarray]:
    load_tensorflow()  # which the bridge to it would load with all that it says of itself
    from nobuco.bridge import flat_outputs, to_numpy

    return [to_numpy(tensor) for tensor in flat_outputs(tree)]


def _refuse_vacuous(index: int, expected: np.ndarray) -> None:
    """An output with no number in it would match whatever the model does."""
    import numpy as np

    from nobuco.subject.model import summary

    if expected.dtype.kind == "V" or not expected.size:  # bfloat16 is opaque to NumPy
        return
    if not np.isfinite(expected).any():
        raise SuiteError(
            f"output {index} {summary(expected)} is NaN or infinite everywhere in PyTorch itself, so "
            "there is nothing to compare; are the inputs in the model's range?"
        )


# How often the noise of PyTorch's own rounding a default bound allows: what its outputs move by as each result on the
# way is rounded anew; another order of summation makes more than a single rounding.
_NOISES = 16
_TIGHT = ("float32", "float64", "complex64", "complex128")


def _tolerance(expected: np.ndarray, bound: Bound) -> Tolerance:
    # A bound relative to the largest element says nothing of a tensor of zeros.
    if bound.is_default or (bound.max_abs is None and not expected.any()):
        return default_bound(bound.dtype or expected.dtype.name, bound.noise)
    from nobuco.parity import Tolerance

    return Tolerance(bound.max_abs or 0.0, bound.max_rel, bound.source)


def default_bound(dtype_name: str, noise: float | None) -> Tolerance:
    """The bound where none is set: the dtype's, of the scale of what is compared, however small, above its noise."""
    import numpy as np

    from nobuco.parity import default_tolerance

    tolerance = default_tolerance(dtype_name)
    if dtype_name not in _TIGHT or noise is None:
        return tolerance
    # Numbers below the least normal one are zero to TensorFlow.
    floor = max(_NOISES * noise, float(np.finfo(dtype_name).tiny))
    return replace(tolerance, smallest=min(floor / tolerance.max_abs, tolerance.smallest))
