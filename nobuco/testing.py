"""Parity with PyTorch as a plain assertion: the plugin's comparison for scripts, notebooks and unittest."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from nobuco.bridge import flat_outputs, t_keras2pytorch, t_pytorch2keras, to_numpy
from nobuco.convert import pytorch_to_keras
from nobuco.errors import InputError, NobucoWarning
from nobuco.kinds import BOUND, NOTHING, Kind, takes
from nobuco.layout.order import ChannelOrder
from nobuco.parity import compare, tolerances
from nobuco.program.arguments import known_orders
from nobuco.program.call import prepared
from nobuco.report import Report
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.matrix import RUNTIMES
from pytest_nobuco.models.runtimes import Artefacts, run


def _are_runtimes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(runtime in RUNTIMES for runtime in value)


@takes(runtimes=Kind(f"a list of some of {', '.join(RUNTIMES)}", _are_runtimes), max_abs_diff=BOUND | NOTHING)
def assert_parity(
    model: Any,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    runtimes: Sequence[str] = ("keras", "tflite"),
    max_abs_diff: float | None = None,
    inputs_channel_order: ChannelOrder | str | Mapping[Any, ChannelOrder | str] = ChannelOrder.TENSORFLOW,
    **conversion: Any,
) -> keras.Model:
    """Convert a PyTorch model, and assert that the result gives what PyTorch gives.

    The Keras model is compared node by node, at other sizes where axes are dynamic, and on other values; each further
    runtime on the example.

    Args:
        model: the PyTorch model, a module or any callable.
        args: its positional arguments.
        kwargs: its keyword arguments.
        runtimes: what the converted model runs in: "keras", "keras_file" (saved and loaded), "savedmodel", "tflite".
        max_abs_diff: the largest absolute difference; None takes the default of each output's dtype.
        inputs_channel_order: how the converted model takes its inputs, for all or by tensor.
        **conversion: further arguments of `nobuco.pytorch_to_keras`. Outputs lie as PyTorch's.

    Returns:
        The Keras model.

    Raises:
        AssertionError: an output leaves its bound, in a runtime, at another size or on other values; it names each.
        InputError: an argument is wrong, or a runtime cannot run here.
        ConversionError: operations have no converter.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the converted model does not match PyTorch", NobucoWarning)  # asserted below
        keras_model, expected, report = pytorch_to_keras(
            model, args, kwargs, inputs_channel_order=inputs_channel_order, outputs_channel_order=ChannelOrder.PYTORCH,
            validation_tolerance=max_abs_diff, return_outputs_pt=True, return_report=True, verbose=False, **conversion,
        )  # fmt: skip
    problems = list(_problems_of(report))
    call = prepared(model, args, kwargs)
    orders = known_orders(call, inputs_channel_order)
    feeds = [t_pytorch2keras(x, orders.get(i, ChannelOrder.TENSORFLOW)) for i, x in enumerate(call.tensors)]
    artefacts, computed = Artefacts(keras_model), [port.computed for port in report.results]
    wanted = [to_numpy(tensor) for tensor in flat_outputs(expected)]
    for runtime in runtimes:
        if runtime == "keras":
            continue  # it is what the report is of
        try:
            got = [to_numpy(t_keras2pytorch(x, ChannelOrder.PYTORCH)) for x in run(artefacts, feeds, runtime)]
        except SuiteError as error:
            raise InputError(f"runtimes: {runtime}: {error}") from error
        problems += _problems_in(runtime, got, wanted, computed, max_abs_diff)
    if problems:
        raise AssertionError("\n".join([f"{report.model} does not match PyTorch:", *problems]))
    return keras_model


def _problems_of(report: Report) -> list[str]:
    """What the conversion has found, with the call that went wrong first."""
    problems = [f"  {port.name}: {o.describe()}" for port, o in zip(report.results, report.outputs) if not o.matches]
    problems += [f"  {tried.about}: {tried.describe()}" for tried in report.trials if not tried.ok]
    culprit = report.first_bad() or report.first_off()
    if problems and culprit is not None:
        problems.append(f"  culprit: {culprit.name} at {culprit.invoked}")
    return problems


def _problems_in(
    runtime: str,
    got: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    computed: Sequence[str],
    max_abs_diff: float | None,
) -> Iterator[str]:
    """What is wrong in a runtime; where no bound is given, that of the coarsest dtype on the way to an output holds."""
    if len(got) != len(expected):
        yield f"  {runtime}: {len(got)} outputs, PyTorch gives {len(expected)}"
        return
    bound_of = tolerances(max_abs_diff, "max_abs_diff")
    for i, (ours, theirs, coarsest) in enumerate(zip(got, expected, computed)):
        difference = compare(ours, theirs, bound_of(coarsest or theirs.dtype.name))
        if not difference.matches:
            yield f"  {runtime}, output {i}: {difference.describe()}"
