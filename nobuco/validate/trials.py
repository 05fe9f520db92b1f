"""The finished model, run on the example and on other arguments, and compared with what PyTorch gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nobuco.assemble.built import Built
from nobuco.assemble.outputs import Output
from nobuco.assemble.validation import logical
from nobuco.bridge import t_pytorch2keras, to_numpy
from nobuco.ir import Graph, Trial, Value, ValueKind, computed_in, given_out, run_gave
from nobuco.layers.conditions import SizeCondition
from nobuco.layers.state import reset_states
from nobuco.layout.order import ChannelOrder
from nobuco.parity import Difference, Tolerance, Tried, compare, worst
from nobuco.program.inputs import InputSpec
from nobuco.validate.frugal import outputs_of


def is_told_of(trial: Trial, graph: Graph, names: Sequence[str]) -> bool:
    """Whether a trial is at sizes at which a condition says that the model may be wrong."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in zip(names, call)} for call in trial.inputs]
    conditions = [SizeCondition(c.region, c.message) for c in graph.conditions if c.is_exact]
    return any(condition.holds(of) is False for condition in conditions for of in shapes)


def _expected(value: Value, sample: Any) -> np.ndarray:
    return np.asarray(sample, value.dtype) if value.kind is ValueKind.SIZE else to_numpy(sample)


@dataclass(frozen=True)
class Trials:
    """A finished model with all that a comparison needs; `orders` is how each value of the graph is made."""

    built: Built
    graph: Graph
    inputs: Mapping[int, InputSpec]
    outputs: Sequence[Output]
    orders: Mapping[int, ChannelOrder]
    tolerance: Callable[[str], Tolerance]

    @cached_property
    def computed(self) -> Mapping[int, str]:
        """The dtype that each value was computed in, where that is coarser than its own: a bound follows it."""
        return computed_in(self.graph)

    def on_example(self) -> tuple[Difference, ...]:
        """How far each output is from what PyTorch gave on the example."""
        samples = self.graph.samples
        inputs = [samples[value.id] for value in self.graph.inputs]
        differences = self._differences(inputs, run_gave(self.graph))
        reset_states(self.built.model)
        return differences

    def on_others(self, is_told_of: Callable[[Trial], bool]) -> tuple[Tried, ...]:
        """How the model fares on the graph's trials, but for those where a condition says that it need not be right."""
        return tuple(self._tried(trial) for trial in self.graph.trials if not is_told_of(trial))

    def refuted(self) -> frozenset[str]:
        """The messages of those conditions under which the model need not stand: it is right without, where tried."""
        return frozenset(
            message
            for message, trials in self.graph.evidence.items()
            if trials and all(self._tried(trial).ok for trial in trials)
        )

    def _tried(self, trial: Trial) -> Tried:
        steps = []
        try:
            for inputs, expected in zip(trial.inputs, trial.outputs, strict=True):
                steps.append(worst(self._differences(inputs, expected)))
        except Exception as error:  # whatever a TensorFlow operation raises at a size that it cannot take
            return Tried(trial.about, None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        finally:
            reset_states(self.built.model)
        return Tried(trial.about, worst([step for step in steps if step is not None]), None)

    def _differences(self, inputs: Sequence[Any], expected: Sequence[Any]) -> tuple[Difference, ...]:
        orders = [self.inputs[value.id].order for value in self.graph.inputs]
        feeds = [t_pytorch2keras(tensor, order) for tensor, order in zip(inputs, orders)]
        by_output = dict(zip(self.built.order, outputs_of(self.built.model, feeds), strict=True))
        # A number may be a plain one here and a size elsewhere: what a run gave is known by its place.
        places = [place for place, leaf in enumerate(given_out(self.graph.outputs)) if isinstance(leaf, Value)]
        return tuple(
            compare(
                logical(by_output[i], order or self.orders.get(value.id, ChannelOrder.PYTORCH)),
                _expected(value, expected[places[i]]),
                self.tolerance(self.computed.get(value.id, value.dtype)),
            )
            for i, (value, order, _) in enumerate(self.outputs)
        )
