"""`compare`: the outputs of a model converted earlier, against PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import torch
from torch import nn

from nobuco.assemble.outputs import keras_order
from nobuco.environment.alone import alone
from nobuco.errors import InputError
from nobuco.fault.running import feeds, found, run, ways_to_feed
from nobuco.ir import Graph, computed_in, values
from nobuco.kinds import BOUND, NOTHING, takes
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, tolerances, worst
from nobuco.program.arguments import output_orders_given
from nobuco.program.call import Call, prepared
from nobuco.stages import traced


@dataclass(frozen=True)
class OutputParity:
    """An output of the Keras model: which of PyTorch's it is, in which order it lies, and how far it is off."""

    number: int
    order: ChannelOrder
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """The outputs of a Keras model against PyTorch's, in PyTorch's order; `inputs` is how the inputs were laid out."""

    outputs: tuple[OutputParity, ...]
    inputs: tuple[ChannelOrder, ...]

    @property
    def ok(self) -> bool:
        """Whether all outputs match."""
        return all(output.difference.matches for output in self.outputs)

    @property
    def worst(self) -> Difference | None:
        """The gravest difference; None of a model without outputs."""
        return worst(output.difference for output in self.outputs)

    def __str__(self) -> str:
        marks = {True: "✓", False: "✗"}
        return "\n".join(
            f"{marks[o.difference.matches]} output {o.number}: {o.difference.describe()}" for o in self.outputs
        )


@takes(tolerance=BOUND | NOTHING)
@alone
def compare(
    model: nn.Module | Any,
    keras_model: keras.Model,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    inputs_channel_order: ChannelOrder | str | Mapping[torch.Tensor, ChannelOrder | str] | None = None,
    outputs_channel_order: ChannelOrder | str | Mapping[int, ChannelOrder | str] | None = None,
    tolerance: float | None = None,
) -> Comparison:
    """Compare a Keras model that was converted earlier (or loaded from a file) with the PyTorch model as it is now.

    Both run once, on copies of the arguments; what they keep from call to call is left as it was.

    Args:
        model: the PyTorch model, a module or any callable.
        keras_model: the Keras model.
        args: the positional arguments of `model`.
        kwargs: its keyword arguments.
        inputs_channel_order: how the Keras model takes its inputs, for all or by tensor; None finds out: from their
            shapes, and where those fit both orders by which comes nearer to PyTorch.
        outputs_channel_order: how its outputs lie, for all or by PyTorch's output index; None finds out likewise.
        tolerance: the largest absolute difference; None takes the dtype's default.

    Raises:
        InputError: an argument is wrong, or the Keras model has other inputs or outputs than PyTorch.
    """
    call = prepared(model, args, kwargs)
    graph = traced(call, [tensor.shape for tensor in call.tensors])
    return compared(graph, call, keras_model, inputs_channel_order, outputs_channel_order, tolerance)


def compared(
    graph: Graph,
    call: Call,
    keras_model: keras.Model,
    inputs_channel_order: Any = None,
    outputs_channel_order: Any = None,
    tolerance: float | None = None,
) -> Comparison:
    """The comparison with what a trace recorded; of several ways to lay the inputs out, the one that comes nearest."""
    outputs = values(graph.outputs)
    orders_of = output_orders_given(outputs_channel_order, len(outputs))
    bounds, computed = tolerances(tolerance, "tolerance"), computed_in(graph)
    tried = []
    for orders in ways_to_feed(call, keras_model, inputs_channel_order):
        got = run(keras_model, feeds(call, orders))
        if len(got) != len(outputs):
            raise InputError(f"the Keras model has {len(got)} outputs, PyTorch gives {len(outputs)} tensors")
        by_output = dict(zip(keras_order(graph.outputs), got))
        parities = []
        for i, value in enumerate(outputs):
            bound = bounds(computed.get(value.id, value.dtype))
            one = found(value, graph, by_output[i], bound, orders_of.get(i))
            parities.append(OutputParity(i, one.order, one.difference))
        tried.append(Comparison(tuple(parities), orders))
    return min(tried, key=_distance)


def _distance(comparison: Comparison) -> tuple[bool, float]:
    gravest = comparison.worst
    return (not comparison.ok, gravest.severity if gravest is not None else 0.0)
