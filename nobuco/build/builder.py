"""From a plan to a Keras functional model: a layer per unit, each checked on the way against what PyTorch gave."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.bridge import in_order, t_pytorch2keras, to_numpy
from nobuco.build.chain import Chain
from nobuco.build.closures import loads_by_itself, variables_of
from nobuco.build.moves import moving_function, plan_moves
from nobuco.build.regions import BuiltRegion, PlannedRegion, calling, lies, order_of, planned
from nobuco.build.units import bound, describe, flat_outputs, made
from nobuco.errors import ConverterError
from nobuco.ir import Graph, Value, ValueKind, leaves, map_leaves, values
from nobuco.layers import OpLayer, OutputLayer, StateLayer, WeightLayer
from nobuco.layout.order import ChannelOrder, is_free
from nobuco.layout.planner import Plan
from nobuco.layout.strategy import Signature
from nobuco.parity import Difference, Tolerance, compare, worst
from nobuco.registry import operation_name
from nobuco.select import Unit


@dataclass(frozen=True)
class InputSpec:
    """How an input of the Keras model looks: its name, its logical shape (None: dynamic) and its order."""

    name: str
    shape: tuple[int | None, ...]
    order: ChannelOrder


@dataclass(frozen=True)
class Checked:
    """What was measured of one unit: its own error on recorded inputs, and the error of the running model."""

    own: Difference | None
    accumulated: Difference | None
    seconds: float
    signature: Signature
    reused: bool
    transpositions: int
    message: str | None = None
    refused: bool = False
    """Whether the converter's own `validate_func` said that it is wrong."""


@dataclass(frozen=True)
class Built:
    """The model, and what was measured while building it, by node id.

    `order` tells for each output of the model, flattened as Keras does (dicts by key), which output of the
    programme it is. `regions` are the bodies of its control-flow calls, at any depth.
    """

    model: keras.Model
    checks: Mapping[int, Checked]
    transpositions: int
    order: Sequence[int]
    regions: Sequence[BuiltRegion] = ()


@dataclass
class Builder:
    """Builds one model. `validate` runs each layer as it is made, alone and on the running values."""

    graph: Graph
    units: Sequence[Unit]
    plan: Plan
    inputs: Mapping[int, InputSpec]
    tolerance: Callable[[str], Tolerance]
    constants_to_variables: bool = True
    validate: bool = True
    on_unit: Callable[[], None] = lambda: None
    _tensors: dict[tuple[int, ChannelOrder], Any] = field(default_factory=dict)
    _running: dict[tuple[int, ChannelOrder], tf.Tensor] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)
    _layers: dict[Any, Any] = field(default_factory=dict)
    _changed: int = 0
    _given: list[Any] = field(default_factory=list)
    _regions: dict[int, list[BuiltRegion]] = field(default_factory=dict)
    _states: list[StateLayer] = field(default_factory=list)

    def build(self, outputs: Sequence[tuple[Value, ChannelOrder | None, str | None]]) -> Built:
        """The model whose outputs are these values, in the order (None: as made) and under the name given."""
        keras_inputs = [self._input(value, self.inputs[value.id]) for value in self.graph.inputs]
        self._names.update(plain_name(name) for _, _, name in outputs if name is not None)
        self._states = [self._state(before) for before, _ in self.graph.states]
        remaining = Counter(v.id for unit in self.units for v in unit.inputs)
        checks = {}
        for unit, signature in zip(self.units, self.plan.signatures):
            checks[unit.node.id] = self._build_unit(unit, signature)
            remaining.subtract(v.id for v in unit.inputs)
            self._forget(v for v in unit.inputs if not remaining[v.id])
            self.on_unit()
        made = [self._output(*output, keeps=i == 0) for i, output in enumerate(outputs)]
        model = keras.Model(_single(keras_inputs), _structured(self.graph.outputs, made))
        return Built(
            model,
            checks,
            self._changed,
            keras.tree.flatten(_structured(self.graph.outputs, range(len(made)))),
            [region for regions in self._regions.values() for region in regions],
        )

    # -- inputs, constants, outputs -------------------------------------------------------------------

    def _input(self, value: Value, spec: InputSpec) -> Any:
        shape = spec.order.to_physical(spec.shape)
        tensor = keras.Input(batch_shape=tuple(shape), dtype=value.dtype, name=self._unique(spec.name))
        self._tensors[value.id, spec.order] = tensor
        self._given.append(tensor)
        if self.validate:
            self._running[value.id, spec.order] = self._sample(value, spec.order)
        return tensor

    def _output(self, value: Value, order: ChannelOrder | None, name: str | None, keeps: bool) -> Any:
        order = order if order is not None and value.rank >= 3 else self.plan.orders.get(value.id, ChannelOrder.PYTORCH)
        tensor = self._tensor(value, order)
        if keeps:
            tensor = self._with_states_kept(tensor)
        if name is not None:
            return OutputLayer(name=plain_name(name))(tensor)
        if any(tensor is given for given in self._given):
            return OpLayer(tf.identity, name=self._unique(f"{tensor.name}_out"))(tensor)
        return tensor

    def _tensor(self, value: Value, order: ChannelOrder) -> Any:
        if value.id in self.plan.orders:
            return self._in_order(value, order)
        if self._is_weight(value):
            return self._weight(value, order)
        array = self._embedded(value, order)
        return OpLayer(lambda _: tf.constant(array), name=self._unique("constant"))(self._given[0])

    def _state(self, value: Value) -> StateLayer:
        order = self.plan.orders[value.id]
        layer = StateLayer.create(self._embedded(value, order), name=self._unique(value.name or "state"))
        self._tensors[value.id, order] = layer(self._given[0])
        if self.validate:
            self._running[value.id, order] = self._sample(value, order)
        return layer

    def _with_states_kept(self, tensor: Any) -> Any:
        """An output behind which every state is written, so that no part of the model is dropped."""
        for layer, (before, after) in zip(self._states, self.graph.states):
            order = self.plan.orders[before.id]
            tensor = layer(tensor, self._tensor(after, order), self._tensors[before.id, order])
        return tensor

    def _embedded(self, value: Value, order: ChannelOrder) -> np.ndarray:
        """A constant as an array of its own: what becomes of PyTorch's tensor later must not reach the model."""
        return np.array(in_order(to_numpy(self.graph.samples[value.id]), order))

    def _weight(self, value: Value, order: ChannelOrder) -> Any:
        key = (value.id, order)
        if key not in self._tensors:
            array = in_order(to_numpy(self.graph.samples[value.id]), order)
            trainable = value.kind is ValueKind.PARAMETER
            shared = ("weight", *key)  # with the bodies of control-flow calls
            if shared not in self._layers:
                name = self._unique(value.name)
                self._layers[shared] = WeightLayer.create(array, trainable=trainable, name=name)
            self._tensors[key] = self._layers[shared](self._given[0])
            self._running[key] = tf.convert_to_tensor(array)
        return self._tensors[key]

    def _is_weight(self, value: Value) -> bool:
        named = value.kind is ValueKind.PARAMETER or (value.kind is ValueKind.BUFFER and value.rank > 0)
        return named and self.constants_to_variables

    # -- one unit -------------------------------------------------------------------------------------

    def _build_unit(self, unit: Unit, signature: Signature) -> Checked:
        started, before = time.perf_counter(), self._changed
        constants, live = {}, []
        for position, (value, order) in enumerate(zip(unit.inputs, signature.inputs)):
            if value.id in self.plan.orders:
                live.append((value, order))
            elif self._is_weight(value):
                self._weight(value, order)
                live.append((value, order))
            else:
                constants[position] = self._embedded(value, order)
        layer, reused = self._layer(unit, signature, constants)
        tensors = [self._in_order(value, order) for value, order in live]
        outputs = self._run(unit, layer, tensors or [self._given[0]], "while the model was built")
        self._check_outputs(unit, signature, outputs)
        for value, order, tensor in zip(unit.outputs, signature.outputs, outputs):
            self._tensors.setdefault((value.id, order), tensor)
        moved = self._changed - before
        checked = Checked(None, None, 0.0, signature, reused, moved)
        if self.validate:
            checked = self._validated(unit, signature, layer, live, checked)
        return replace(checked, seconds=time.perf_counter() - started)

    def _layer(self, unit: Unit, signature: Signature, constants: Mapping[int, np.ndarray]) -> tuple[Any, bool]:
        """The Keras layer (or chain) of a unit; a module called again shares the one that it has."""
        node = unit.node
        literals = repr(map_leaves(lambda v: "*" if isinstance(v, Value) else v, (node.args, dict(node.kwargs))))
        key = (id(node.module), signature, literals)
        shareable = node.module is not None and unit.converter.reusable and not constants
        if shareable and key in self._layers:
            return self._layers[key], True
        layer = self._named(unit, self._new_layer(unit, signature, constants))
        if shareable:
            self._layers[key] = layer
        return layer, False

    def _new_layer(self, unit: Unit, signature: Signature, constants: Mapping[int, np.ndarray]) -> Any:
        if unit.moves_only:
            before, after = signature.inputs[0], signature.outputs[0]
            shape = before.to_physical(self._shape(unit.inputs[0]))
            moves = plan_moves(unit, shape, before, after)
            self._changed += sum(move.transposes for move in moves)
            return OpLayer(moving_function(unit, before, after)) if moves else _unchanged
        result = made(unit, self.graph.samples, self._bodies(unit, signature))
        alone = (
            len(unit.inputs) == 1 and not constants and len(list(leaves((unit.node.args, dict(unit.node.kwargs))))) == 1
        )
        if isinstance(result, (keras.layers.Layer, Chain)) and alone and loads_by_itself(result):
            return result
        function = bound(unit, result, signature, constants)
        if not unit.inputs or len(constants) == len(unit.inputs):
            return OpLayer(lambda _: _single(function()), variables_of(result))
        return OpLayer(lambda *tensors: _single(function(*tensors)), variables_of(result))

    def _bodies(self, unit: Unit, signature: Signature) -> list[Callable[..., Any]]:
        """The bodies of a control-flow call, each a model that shares the layers of this one."""
        *explicit, captured = unit.node.args if unit.node.regions else ((),)
        functions = []
        for region in unit.node.regions:
            ready = planned(region, self.graph, order_of(signature))
            outer = (*values(explicit)[: len(region.inputs) - len(captured)], *captured)
            specs = {}
            for i, (value, given) in enumerate(zip(region.inputs, outer)):
                shape = self._shape(given)[given.rank - value.rank :]
                specs[value.id] = InputSpec(f"input_{i}", tuple(shape), ready.plan.orders[value.id])
            builder = Builder(
                ready.graph, ready.selection.units, ready.plan, specs, self.tolerance,
                self.constants_to_variables, self.validate, _layers=self._layers,
            )  # fmt: skip
            built = builder.build([(v, lies(v, ready.order), None) for v in region.outputs])
            self._changed += built.transpositions
            function = calling(built.model)
            difference = self._region_difference(ready, function) if self.validate else None
            self._regions.setdefault(unit.node.id, []).append(BuiltRegion(ready.selection, built.checks, difference))
            self._regions |= builder._regions
            functions.append(function)
        return functions

    def _region_difference(self, region: PlannedRegion, function: Callable[..., list[Any]]) -> Difference | None:
        """How far a body is from PyTorch on what it was given while tracing, whether it was the side taken or not."""
        given = [self._sample(v, lies(v, region.order)) for v in region.graph.inputs]
        return worst(
            compare(logical(tensor, lies(v, region.order)), self._expected(v), self.tolerance(v.dtype))
            for v, tensor in zip(region.graph.outputs, function(*given))
        )

    def _shape(self, value: Value) -> list[int | None]:
        """The logical shape of a live value in the model, None where dynamic."""
        order = self.plan.orders.get(value.id, ChannelOrder.PYTORCH)
        tensor = self._tensors.get((value.id, order))
        return list(value.shape) if tensor is None else order.to_logical(list(tensor.shape))

    def _named(self, unit: Unit, layer: Any) -> Any:
        if layer is _unchanged:
            return layer
        node = unit.node
        name = node.path or ".".join(filter(None, (unit.scope, operation_name(node.op).split(".")[-1].strip("_"))))
        if isinstance(layer, Chain):
            for inner in layer.layers:
                if inner is not layer.main:
                    inner.name = self._unique(f"{name}_pad")
        (layer.main if isinstance(layer, Chain) else layer).name = self._unique(name)
        return layer

    def _run(self, unit: Unit, layer: Any, tensors: Sequence[Any], when: str) -> list[Any]:
        try:
            return flat_outputs(layer(*tensors))
        except Exception as error:
            raise ConverterError(
                f"what the converter of {describe(unit)} returned raised {type(error).__name__} {when}: {error}"
            ) from error

    def _check_outputs(self, unit: Unit, signature: Signature, outputs: Sequence[Any]) -> None:
        if len(outputs) != len(unit.outputs):
            raise ConverterError(
                f"{describe(unit)}: PyTorch gives {len(unit.outputs)} tensor(s), the converted node {len(outputs)}"
            )
        for i, (value, order, tensor) in enumerate(zip(unit.outputs, signature.outputs, outputs)):
            got = keras.backend.standardize_dtype(tensor.dtype)
            if got != value.dtype:
                raise ConverterError(
                    f"{describe(unit)}: output {i} has dtype {got}, PyTorch gives {value.dtype}; "
                    f"cast it in the converter, e.g. tf.cast(x, tf.{value.dtype})"
                )
            expected, shape = order.to_physical(value.shape), tuple(tensor.shape)
            if len(shape) != len(expected) or any(s is not None and s != e for s, e in zip(shape, expected)):
                raise ConverterError(
                    f"{describe(unit)}: output {i} has shape {shape}, expected {tuple(expected)} "
                    f"({order.name} order; PyTorch gives {value.shape})"
                )

    # -- channel order --------------------------------------------------------------------------------

    def _in_order(self, value: Value, order: ChannelOrder) -> Any:
        """The Keras tensor of a value in this order, transposed once however many want it."""
        key = (value.id, order)
        if key not in self._tensors:
            made_in = self.plan.orders[value.id]
            layer = self._transposition(value, made_in, order)
            self._tensors[key] = layer(self._tensors[value.id, made_in])
            self._changed += not is_free(value.shape)
        return self._tensors[key]

    def _transposition(self, value: Value, before: ChannelOrder, after: ChannelOrder) -> Any:
        perm = before.transposition_to(after, value.rank)
        suffix = "to_channels_last" if after is ChannelOrder.TENSORFLOW else "to_channels_first"
        dtype = None if value.dtype == "int8" else value.dtype  # Keras reads "int8" as a way to quantise
        return keras.layers.Permute(perm[1:], dtype=dtype, name=self._unique(suffix))

    # -- validation -----------------------------------------------------------------------------------

    def _validated(
        self,
        unit: Unit,
        signature: Signature,
        layer: Any,
        live: Sequence[tuple[Value, ChannelOrder]],
        checked: Checked,
    ) -> Checked:
        """Run a layer alone on what PyTorch was given, and on the running model's values."""
        dummy = [next(iter(self._running.values()))] if not live else []
        recorded = [self._sample(value, order) for value, order in live] or dummy
        running = [self._running_in_order(value, order) for value, order in live] or dummy
        alone = self._run(unit, layer, recorded, "on the inputs that PyTorch was given")
        onward = self._run(unit, layer, running, "on the running model's values")
        for value, order, tensor in zip(unit.outputs, signature.outputs, onward):
            self._running.setdefault((value.id, order), tensor)
        checked = replace(
            checked,
            own=self._difference(unit, signature, alone),
            accumulated=self._difference(unit, signature, onward),
        )
        for region in self._regions.get(unit.node.id, ()):
            if region.difference is not None and not region.difference.matches:
                message = f"a branch or a loop's body does not match: {region.difference.describe()}"
                checked = replace(checked, refused=True, message=message)
        return checked if unit.converter.validate_func is None else self._asked(unit, signature, alone, checked)

    def _difference(self, unit: Unit, signature: Signature, got: Sequence[Any]) -> Difference | None:
        return worst(
            [
                *(region.difference for region in self._regions.get(unit.node.id, ()) if region.difference),
                *(
                    compare(logical(tensor, order), self._expected(value), self.tolerance(value.dtype))
                    for value, order, tensor in zip(unit.outputs, signature.outputs, got)
                ),
            ]
        )

    def _asked(self, unit: Unit, signature: Signature, got: Sequence[Any], checked: Checked) -> Checked:
        """The verdict of the converter's own `validate_func`, which stands in place of the comparison."""
        expected = [self.graph.samples[v.id] for v in unit.outputs]
        ours = [logical(t, o) for t, o in zip(got, signature.outputs)]
        verdict = unit.converter.validate_func(_single(expected), _single(ours))  # type: ignore[misc]
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
        return t_pytorch2keras(self.graph.samples[value.id], order)

    def _expected(self, value: Value) -> np.ndarray:
        sample = self.graph.samples[value.id]
        return np.asarray(sample, value.dtype) if value.kind is ValueKind.SIZE else to_numpy(sample)

    def _running_in_order(self, value: Value, order: ChannelOrder) -> tf.Tensor:
        key = (value.id, order)
        if key not in self._running:
            made_in = self.plan.orders[value.id]
            perm = made_in.transposition_to(order, value.rank)
            self._running[key] = tf.transpose(self._running[value.id, made_in], perm)
        return self._running[key]

    def _forget(self, done: Any) -> None:
        for value in done:
            for order in ChannelOrder:
                self._running.pop((value.id, order), None)

    def _unique(self, name: str) -> str:
        name = plain_name(name)
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else self._unique(f"{name}_{count - 1}")


def _unchanged(tensor: Any) -> Any:
    """What a movement becomes when nothing is left of it."""
    return tensor


def plain_name(name: str) -> str:
    """A name as Keras takes it, and TensorFlow for a scope: a slash would open one."""
    return re.sub(r"[^A-Za-z0-9_.>-]", "_", name)


def logical(tensor: Any, order: ChannelOrder) -> np.ndarray:
    """A TensorFlow tensor as an array in PyTorch's order."""
    array = np.asarray(tensor)
    return np.transpose(array, order.transposition_to(ChannelOrder.PYTORCH, array.ndim))


def _structured(tree: Any, items: Iterable[Any]) -> Any:
    """The structure of a programme's output around `items`, one for each value in it.

    What is no tensor is left out; dataclasses and Hugging Face outputs become dicts, tuples become lists.
    """
    queue = iter(items)

    def build(part: Any) -> Any:
        if isinstance(part, Value):
            return next(queue)
        if dataclasses.is_dataclass(part) and not hasattr(part, "items"):
            part = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        if hasattr(part, "items"):
            return {str(key): build(item) for key, item in part.items() if values(item)}
        return [build(item) for item in part if values(item)]

    return build(tree)


def _single(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 else list(items)


__all__ = ["Builder", "Built", "Checked", "InputSpec", "values"]
