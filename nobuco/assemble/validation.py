"""Every layer checked as it is made: alone on what PyTorch was given, and on the running model's values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
import torch

from nobuco.assemble.built import BuiltRegion, Checked
from nobuco.assemble.units import run, single
from nobuco.bridge import t_pytorch2keras, to_array, to_numpy
from nobuco.ir import Graph, Value, ValueKind, coarsest_inside, computed_in
from nobuco.layout.channels import Lying
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.parity import Difference, Tolerance, compare, worst
from nobuco.parity.pointing import pointed
from nobuco.plan.planner import Plan
from nobuco.plan.regions import PlannedRegion, lies
from nobuco.registry import operation_name
from nobuco.select import Unit

Live = Sequence[tuple[Value, ChannelOrder]]


@dataclass
class Validator:
    """Runs the layers of a model on real values, and keeps those of the running model while they are needed."""

    graph: Graph
    plan: Plan
    tolerance: Callable[[str], Tolerance]
    lies: Mapping[int, Lying] = field(default_factory=dict)
    _computed: Mapping[int, str] = field(default_factory=dict)
    _running: dict[tuple[int, ChannelOrder], tf.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._computed = computed_in(self.graph)

    def check(
        self, unit: Unit, signature: Signature, layer: Any, live: Live, regions: Sequence[BuiltRegion], checked: Checked
    ) -> Checked:
        """What is found of a unit's layer; `live` are the inputs that it is called with."""
        inputs = live or [(value, self.plan.orders[value.id]) for value in self.graph.inputs[:1]]
        inner = [region.difference for region in regions if region.difference is not None]
        checked = self._alone(unit, signature, layer, inputs, inner, checked)
        running = [self._running_value(value, order) for value, order in inputs]
        onward = run(unit, layer, running, "on the running model's values")
        self.graph.samples.want(value.id for value in unit.outputs)
        for value, order, tensor in zip(unit.outputs, signature.outputs, onward):
            self._running.setdefault((value.id, order), tensor)
        return replace(checked, accumulated=worst([*inner, *self._differences(unit, signature, onward)]))

    def _alone(
        self, unit: Unit, signature: Signature, layer: Any, inputs: Live, inner: Sequence[Difference], checked: Checked
    ) -> Checked:
        """What is found of a layer on what PyTorch was given; `inner` is what was found of bodies inside it."""
        recorded = [self._sample(value, order) for value, order in inputs]
        alone = run(unit, layer, recorded, "on the inputs that PyTorch was given")
        del recorded
        checked = replace(checked, own=worst([*inner, *self._differences(unit, signature, alone, alone=True)]))
        for difference in inner:
            if not difference.matches:
                message = f"a branch or a loop's body does not match: {difference.describe()}"
                checked = replace(checked, refused=True, message=message)
        return checked if unit.converter.validate_func is None else self._asked(unit, signature, alone, checked)

    def region_difference(self, region: PlannedRegion, function: Callable[..., list[Any]]) -> Difference | None:
        """How far a body is from PyTorch on what it was given while tracing, whether it was the side taken or not."""
        inputs = [self._sample(v, lies(v, region.order)) for v in region.graph.inputs]
        return worst(
            self._difference(v, lies(v, region.order), tensor, computed_in(region.graph).get(v.id, v.dtype))
            for v, tensor in zip(region.graph.outputs, function(*inputs))
        )

    def forget(self, done: Iterable[Value]) -> None:
        """Drop values that no unit reads any more."""
        for value in done:
            self.graph.samples.want_no_more([value.id])
            for order in ChannelOrder:
                self._running.pop((value.id, order), None)

    def _differences(
        self, unit: Unit, signature: Signature, got: Sequence[Any], alone: bool = False
    ) -> list[Difference]:
        dtypes = [coarsest_inside(unit.node, v) if alone else self._computed.get(v.id, v.dtype) for v in unit.outputs]
        return [self._of_output(unit, *output) for output in zip(unit.outputs, signature.outputs, got, dtypes)]

    def _of_output(self, unit: Unit, value: Value, order: ChannelOrder, tensor: Any, dtype: str) -> Difference:
        """How far an output is off; indices by what they point to, if PyTorch leaves open which of equal elements."""
        difference = self._difference(value, order, tensor, dtype)
        first = next(iter(unit.node.args), None)
        is_index = value.dtype == "int64" and value.id == unit.outputs[-1].id  # values come before their indices
        if difference.matches or difference.is_broken or not is_index or not isinstance(first, Value):
            return difference
        known = pointed(operation_name(unit.node.op), self._expected(first), unit.node.args, unit.node.kwargs)
        if known is None or known.is_first:
            return difference
        ours, theirs = known.at(logical(tensor, order)), known.at(self._expected(value))
        if ours is None or theirs is None:
            return difference
        by_value = compare(ours, theirs, self.tolerance(first.dtype))
        return by_value if by_value.matches else difference

    def _difference(self, value: Value, order: ChannelOrder, tensor: Any, dtype: str) -> Difference:
        """How far a tensor is from a value that was computed in that dtype."""
        return compare(logical(tensor, order), self._expected(value), self.tolerance(dtype))

    def _asked(self, unit: Unit, signature: Signature, got: Sequence[Any], checked: Checked) -> Checked:
        """The verdict of the converter's own `validate_func`, which stands in place of the comparison."""
        expected = [self.graph.samples[v.id] for v in unit.outputs]
        ours = [logical(t, o) for t, o in zip(got, signature.outputs)]
        verdict = unit.converter.validate_func(single(expected), single(ours))  # type: ignore[misc]
        if verdict is False:
            return replace(checked, refused=True, message="its validate_func says that the outputs do not match")
        if verdict is True or verdict is None:
            return replace(checked, own=None)
        tolerance = self.tolerance(unit.outputs[0].dtype)
        message = f"its validate_func gives {verdict:.3g}, allowed {tolerance}"
        return replace(checked, own=None, refused=not verdict <= tolerance.max_abs, message=message)

    def _sample(self, value: Value, order: ChannelOrder) -> tf.Tensor:
        if value.kind is ValueKind.SIZE:
            return tf.constant(self.graph.samples[value.id], value.dtype)
        sample, lying = self.graph.samples[value.id], self.lies.get(value.id)
        return t_pytorch2keras(sample if lying is None else taken(sample, lying), order)

    def _expected(self, value: Value) -> np.ndarray:
        sample = self.graph.samples[value.id]
        if value.kind is ValueKind.SIZE:
            return np.asarray(sample, value.dtype)
        return to_numpy(taken(sample, self.lies[value.id]) if value.id in self.lies else sample)

    def _running_value(self, value: Value, order: ChannelOrder) -> tf.Tensor:
        """What a value is in the running model; inputs, states and weights start as they were while tracing."""
        key = (value.id, order)
        if key not in self._running:
            made_in = self.plan.orders.get(value.id, order)
            if (value.id, made_in) in self._running:
                perm = made_in.transposition_to(order, value.rank)
                self._running[key] = tf.transpose(self._running[value.id, made_in], perm)
            else:
                self._running[key] = self._sample(value, order)
        return self._running[key]


def taken(sample: torch.Tensor, lying: Lying) -> torch.Tensor:
    """A tensor as one whose channels have an order of their own."""
    return sample.index_select(lying.dim, torch.tensor(lying.order))


def logical(tensor: Any, order: ChannelOrder) -> np.ndarray:
    """A TensorFlow tensor as an array in PyTorch's order."""
    array = to_array(tensor)
    return np.transpose(array, order.transposition_to(ChannelOrder.PYTORCH, array.ndim))
