"""Where values are in the Keras model: the tensor of each, in each channel order that something wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.assemble.learned import Learned, remember
from nobuco.assemble.names import Names
from nobuco.bridge import in_order, to_numpy
from nobuco.ir import Graph, Value, ValueKind
from nobuco.layers import OpLayer, StateLayer, WeightLayer
from nobuco.layout.channels import Lying
from nobuco.layout.order import ChannelOrder, is_free
from nobuco.plan.planner import Plan
from nobuco.program.inputs import InputSpec


@dataclass
class Tensors:
    """The Keras tensors of a model under construction.

    `inputs` are those that it is given, and `transpositions` counts the changes of order that move data. `shared`
    holds layers by what they were made for; the bodies of control-flow calls have the same as the model around.
    """

    graph: Graph
    plan: Plan
    names: Names
    shared: dict[Any, Any]
    constants_to_variables: bool
    lies: Mapping[int, Lying] = field(default_factory=dict)
    inputs: list[Any] = field(default_factory=list)
    transpositions: int = 0
    _found: dict[tuple[int, ChannelOrder], Any] = field(default_factory=dict)

    def add_input(self, value: Value, spec: InputSpec) -> None:
        """Make an input of the model."""
        shape = spec.order.to_physical(spec.shape)
        tensor = keras.Input(batch_shape=tuple(shape), dtype=value.dtype, name=self.names.unique(spec.name))
        self._found[value.id, spec.order] = tensor
        self.inputs.append(tensor)

    def add_state(self, value: Value) -> StateLayer:
        """Make a layer that holds what the model keeps from call to call; its first output is the value before."""
        order = self.plan.orders[value.id]
        layer = StateLayer.create(self.embedded(value, order), name=self.names.unique(value.name or "state"))
        remember(layer.state, self._learned(value, order).sources)
        self._found[value.id, order] = layer(self.inputs[0])
        return layer

    def add(self, value: Value, order: ChannelOrder, tensor: Any) -> None:
        """Note where a unit has put a value."""
        self._found.setdefault((value.id, order), tensor)

    def get(self, value: Value, order: ChannelOrder) -> Any:
        """The tensor of any value in this order."""
        if self.is_live(value):
            return self._live(value, order)
        array = self.embedded(value, order)
        return OpLayer(lambda _: tf.constant(array), name=self.names.unique("constant"))(self.inputs[0])

    def is_live(self, value: Value) -> bool:
        """Whether a value is a tensor of the model, not a constant that a layer embeds."""
        return value.id in self.plan.orders or self.is_weight(value)

    def order_of(self, value: Value) -> ChannelOrder:
        """The order in which a value is made."""
        return self.plan.orders.get(value.id, ChannelOrder.PYTORCH)

    def shape(self, value: Value) -> list[int | None]:
        """The logical shape of a live value in the model, None where dynamic."""
        order = self.order_of(value)
        tensor = self._found.get((value.id, order))
        return list(value.shape) if tensor is None else order.to_logical(list(tensor.shape))

    def embedded(self, value: Value, order: ChannelOrder) -> np.ndarray:
        """A constant as an array of its own: what becomes of PyTorch's tensor later must not reach the model."""
        sample = self.graph.samples[value.id]
        if value.kind is ValueKind.SIZE:  # made of a number that could not be followed
            return np.array(sample, value.dtype)
        array, lying = to_numpy(sample), self.lies.get(value.id)
        return np.array(in_order(array if lying is None else np.take(array, lying.order, lying.dim), order))

    def _live(self, value: Value, order: ChannelOrder) -> Any:
        """The Keras tensor of a value in this order, transposed once however many want it."""
        key = (value.id, order)
        if key not in self._found:
            if value.id in self.plan.orders:
                made_in = self.plan.orders[value.id]
                self._found[key] = self._transposition(value, made_in, order)(self._found[value.id, made_in])
                self.transpositions += not is_free(value.shape)
            else:
                self._found[key] = self._weight(value, order)(self.inputs[0])
        return self._found[key]

    def _weight(self, value: Value, order: ChannelOrder) -> WeightLayer:
        key = ("weight", value.id, order)
        if key not in self.shared:
            held = self._learned(value, order)
            trainable = value.kind is ValueKind.PARAMETER
            layer = WeightLayer.create(held.value, trainable=trainable, name=self.names.unique(value.name))
            remember(layer.weight, held.sources)
            self.shared[key] = layer
        return self.shared[key]

    def is_weight(self, value: Value) -> bool:
        """Whether a layer of its own holds a value, as a weight."""
        named = value.kind is ValueKind.PARAMETER or (value.kind is ValueKind.BUFFER and value.rank > 0)
        return named and self.constants_to_variables

    def _learned(self, value: Value, order: ChannelOrder) -> Learned:
        held, lying = Learned.of(self.graph.samples[value.id]), self.lies.get(value.id)
        held = held if lying is None else held.ordered(lying.dim, lying.order)
        return held.transpose(*order.permutation(value.rank))

    def _transposition(self, value: Value, before: ChannelOrder, after: ChannelOrder) -> keras.layers.Layer:
        perm = before.transposition_to(after, value.rank)
        suffix = "to_channels_last" if after is ChannelOrder.TENSORFLOW else "to_channels_first"
        dtype = None if value.dtype == "int8" else value.dtype  # Keras reads "int8" as a way to quantise
        return keras.layers.Permute(perm[1:], dtype=dtype, name=self.names.unique(suffix))
