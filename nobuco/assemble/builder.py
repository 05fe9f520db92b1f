"""From a plan to a Keras functional model: a layer per unit, each checked on the way against what PyTorch gave."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from nobuco.assemble.built import Built, BuiltRegion, Checked
from nobuco.assemble.kept_sizes import KeptSize, dynamic_sizes, with_numbers, without_use
from nobuco.assemble.layers import layer_of
from nobuco.assemble.names import Names
from nobuco.assemble.outputs import Output, keras_order, made_outputs, structured
from nobuco.assemble.tensors import Tensors
from nobuco.assemble.units import check_outputs, run, single
from nobuco.assemble.validation import Validator
from nobuco.errors import ConverterError
from nobuco.ir import Graph, Value, values
from nobuco.layers.model import ConvertedModel
from nobuco.layout.channels import Lying
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature
from nobuco.parity import Tolerance
from nobuco.plan.planner import Plan
from nobuco.plan.regions import lies, order_of, planned
from nobuco.program.inputs import InputSpec
from nobuco.select import Unit


@dataclass
class Builder:
    """Builds one model. `validate` runs each layer as it is made, alone and on the running values.

    `lies` are the tensors whose channels have an order of their own.

    `checks`, `transpositions` and `regions` are those of the units built so far, when it raises, too.
    """

    graph: Graph
    units: Sequence[Unit]
    plan: Plan
    inputs: Mapping[int, InputSpec]
    tolerance: Callable[[str], Tolerance]
    constants_to_variables: bool = True
    validate: bool = True
    on_unit: Callable[[], None] = lambda: None
    lies: Mapping[int, Lying] = field(default_factory=dict)
    checks: dict[int, Checked] = field(default_factory=dict)
    kept_sizes: list[KeptSize] = field(default_factory=list)
    _shared: dict[Any, Any] = field(default_factory=dict)
    _regions: dict[int, list[BuiltRegion]] = field(default_factory=dict)
    _layers: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensors = Tensors(self.graph, self.plan, Names(), self._shared, self.constants_to_variables, self.lies)
        self._validator = Validator(self.graph, self.plan, self.tolerance, self.lies) if self.validate else None

    def build(self, outputs: Sequence[Output]) -> Built:
        """The model whose outputs are these values, in the order (None: as made) and under the name given."""
        tensors = self._tensors
        for value in self.graph.inputs:
            tensors.add_input(value, self.inputs[value.id])
        tensors.names.reserve(name for _, _, name in outputs if name is not None)
        states = [(tensors.add_state(before), before, after) for before, after in self.graph.states]
        self._build_units()
        order = keras_order(self.graph.outputs)
        results = made_outputs(outputs, order[0], states, tensors)
        model = ConvertedModel(single(tensors.inputs), structured(self.graph.outputs, results))
        return Built(
            model, self.checks, tensors.transpositions, order, self.regions, self._layers, tensors.is_weight,
            tuple(self.kept_sizes), [(layer, before) for layer, before, _ in states],
        )  # fmt: skip

    @property
    def transpositions(self) -> int:
        """How many the model holds."""
        return self._tensors.transpositions

    @property
    def regions(self) -> list[BuiltRegion]:
        """The bodies of control-flow calls, at any depth."""
        return [region for built in self._regions.values() for region in built]

    def _build_units(self) -> None:
        remaining = Counter(v.id for unit in self.units for v in unit.inputs)
        for unit, signature in zip(self.units, self.plan.signatures):
            self.checks[unit.node.id] = self._build_unit(unit, signature)
            remaining.subtract(v.id for v in unit.inputs)
            if self._validator is not None:
                self._validator.forget(v for v in unit.inputs if not remaining[v.id])
            self.on_unit()

    def _build_unit(self, unit: Unit, signature: Signature) -> Checked:
        """The layer of a unit; one that cannot take a size as a tensor has a number in its place."""
        sizes = dynamic_sizes(unit, self.graph)
        try:
            return self._layer(unit, signature, sizes)
        except ConverterError as error:
            if not sizes:
                raise
            try:
                checked = self._layer(*with_numbers(unit, signature, sizes, self.graph), ())
            except ConverterError:
                raise error from error.__cause__
        self.kept_sizes += KeptSize.of(unit, sizes, certainly=True)
        return checked

    def _layer(self, unit: Unit, signature: Signature, sizes: Sequence[Value]) -> Checked:
        started, before = time.perf_counter(), self._tensors.transpositions
        constants, live = self._given(unit, signature)
        make = partial(layer_of, unit, signature, constants, self._tensors, partial(self._bodies, unit, signature))
        layer, reused = make()
        tensors = [self._tensors.get(value, order) for value, order in live]
        run_on = tensors or self._tensors.inputs[:1]
        try:
            outputs = run(unit, layer, run_on, "while the model was built")
        except ConverterError:
            if not reused:
                raise
            layer, reused = make(anew=True)  # a layer of Keras that was made for another rank
            outputs = run(unit, layer, run_on, "while the model was built")
        self._layers[unit.node.id] = layer
        check_outputs(unit, signature, outputs)
        if sizes and not unit.moves_only:
            unused = without_use(layer, [value for value, _ in live], tensors, sizes)
            self.kept_sizes += KeptSize.of(unit, unused, certainly=False)
        for output in zip(unit.outputs, signature.outputs, outputs):
            self._tensors.add(*output)
        transposed = self._tensors.transpositions - before
        checked = Checked(None, None, 0.0, signature, reused, transposed, layer=getattr(layer, "name", ""))
        if self._validator is not None:
            regions = self._regions.get(unit.node.id, ())
            checked = self._validator.check(unit, signature, layer, live, regions, checked)
        return replace(checked, seconds=time.perf_counter() - started)

    def _given(
        self, unit: Unit, signature: Signature
    ) -> tuple[dict[int, np.ndarray], list[tuple[Value, ChannelOrder]]]:
        """The inputs of a unit: those that it embeds, by position, and those that its layer is called with."""
        constants, live = {}, []
        for position, (value, order) in enumerate(zip(unit.inputs, signature.inputs)):
            if self._tensors.is_live(value):
                live.append((value, order))
            else:
                constants[position] = self._tensors.embedded(value, order)
        return constants, live

    def _bodies(self, unit: Unit, signature: Signature) -> list[Callable[..., Any]]:
        """The bodies of a control-flow call, each a model that shares the layers of this one."""
        if not unit.node.regions:
            return []
        *explicit, captured = unit.node.args
        functions = []
        for region in unit.node.regions:
            outer = (*values(explicit)[: len(region.inputs) - len(captured)], *captured)
            functions.append(self._body(unit, region, outer, order_of(signature)))
        return functions

    def _body(self, unit: Unit, region: Graph, outer: Sequence[Value], order: ChannelOrder) -> Callable[..., Any]:
        """One body, for inputs like these values of the model around; a loop takes them without their first axis."""
        ready = planned(region, self.graph, order)
        specs = {}
        for i, (value, outside) in enumerate(zip(region.inputs, outer)):
            shape = self._tensors.shape(outside)[outside.rank - value.rank :]
            specs[value.id] = InputSpec(f"input_{i}", tuple(shape), ready.plan.orders[value.id])
        builder = Builder(
            ready.graph, ready.selection.units, ready.plan, specs, self.tolerance,
            self.constants_to_variables, self.validate, _shared=self._shared,
        )  # fmt: skip
        built = builder.build([(v, lies(v, ready.order), None) for v in region.outputs])
        self._tensors.transpositions += built.transpositions
        function = _calling(built.model)
        difference = self._validator.region_difference(ready, function) if self._validator is not None else None
        self._regions.setdefault(unit.node.id, []).append(BuiltRegion(ready.selection, built.checks, difference))
        self._regions |= builder._regions
        self.kept_sizes += built.kept_sizes
        return function


def _calling(model: ConvertedModel) -> Callable[..., list[Any]]:
    """A Keras model as `tensors -> list of tensors`."""

    def call(*tensors: Any) -> list[Any]:
        return keras.tree.flatten(model(tensors[0] if len(tensors) == 1 else list(tensors)))

    return call
