"""Which nodes of a trace get converted, and as what: the trace's tree becomes a list of units in running order.

The highest node that has a converter wins. What depends on no input and no parameter is folded into a
constant, what no output needs is dropped, and chains of pure data movement become one unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod
from typing import Any

from nobuco.binding import by_position
from nobuco.ir import Graph, Node, Samples, Value, ValueKind, leaves, map_leaves, values
from nobuco.ir.growth import Sizes
from nobuco.layout.movement import Reshape, Step
from nobuco.registry import Converter, operation_name
from nobuco.serving import serving
from nobuco.trace.calls import LIKE, NEW, is_random, name_of


@dataclass(frozen=True, eq=False)
class Unit:
    """A node, or a chain of nodes that only move data, which becomes one layer.

    `scope` is the path of the module that the call was made in; `inputs` and `outputs` are the tensors that
    enter and leave, in order. `flattening` is the call in front of it that it also stands for.
    """

    node: Node
    converter: Converter
    scope: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    chain: tuple[tuple[Node, Converter], ...] = ()
    sizes: Sizes | None = None
    flattening: Unit | None = None

    @property
    def moves_only(self) -> bool:
        """Whether the unit is pure data movement."""
        return bool(self.chain)

    def steps(self, shape: Sequence[int]) -> list[Step]:
        """The movement of the whole chain, on logical dimensions, for an input of this shape.

        A traced size is larger than it was while tracing by as much as the dimensions are that it grows with.
        """
        found: list[Step] = []
        head = self.inputs[0]
        larger = [Fraction(n, sample or 1) for n, sample in zip(shape, head.shape)]

        def number(value: Value, dim: int | None) -> int:
            if self.sizes is None:
                return value.shape[dim or 0]
            axes = self.sizes.axes_of(self.sizes.growth(value, dim), head)
            sample = self.sizes.number(value) if dim is None else value.shape[dim]
            return -1 if axes is None else int(prod((larger[axis] for axis in axes), start=sample))

        for node, converter in self.chain:
            steps = _steps(node, converter, tuple(shape), number)
            found += steps
            shape = moved_shape(shape, steps)
        return found


@dataclass(frozen=True)
class Gap:
    """A call without a converter, the path of the module that it was made in, and the call that was opened into it."""

    node: Node
    scope: str
    within: Node | None = None


@dataclass(frozen=True)
class Selection:
    """What `select` decided: units in running order, the fate of the nodes that became none, and what to warn of."""

    units: tuple[Unit, ...]
    folded: frozenset[int]
    gaps: tuple[Gap, ...]
    dropped: tuple[Unit, ...] = ()
    notes: tuple[str, ...] = ()


def moved_shape(shape: Sequence[int], steps: Sequence[Step]) -> tuple[int, ...]:
    """The shape that a tensor of `shape` has after the steps."""
    for step in steps:
        shape = step.shape if isinstance(step, Reshape) else tuple(shape[i] for i in step.perm)
    return tuple(shape)


def select(graph: Graph, find: Callable[[Any], Converter | None]) -> Selection:
    """Choose the converter of every call of a trace; `find` looks one up by operation."""
    changing = frozenset(v.id for v in (*graph.inputs, *(before for before, _ in graph.states)))
    picker = _Picker(find, graph.samples, _uses(graph), _alive(graph), Sizes.of(graph), changing)
    for node in graph.nodes:
        picker.visit(node, "")
    results = _results(graph)
    needed, kept, dropped = {v.id for v in results}, [], []
    for unit in reversed(picker.units):
        if any(v.id in needed for v in unit.outputs):
            needed |= {v.id for v in unit.inputs}
            kept.append(unit)
        else:
            dropped.append(unit)
    units = _absorb_flattenings(_merge_movements(kept[::-1], results), results)
    return Selection(tuple(units), frozenset(picker.folded), tuple(picker.gaps), tuple(dropped), tuple(picker.notes))


def unanswered(graph: Graph, selection: Selection) -> tuple[str, ...]:
    """What to warn of: of a trace, but for what arose inside calls that a converter answers for, and of the choice."""
    converted = {unit.node.id for unit in (*selection.units, *selection.dropped)}
    open_ones = (
        warning
        for warning in graph.warnings
        if not all(calls & converted for calls in graph.noted.get(warning, (frozenset(),)))
    )
    return tuple(dict.fromkeys((*open_ones, *selection.notes)))


@dataclass
class _Picker:
    """Walks the tree once, outermost call first."""

    find: Callable[[Any], Converter | None]
    samples: Samples
    uses: Mapping[int, int]
    alive: Set[int]
    sizes: Sizes
    states: frozenset[int] = frozenset()
    units: list[Unit] = field(default_factory=list)
    folded: set[int] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def visit(self, node: Node, scope: str, within: Node | None = None) -> None:
        inside = node.path if node.module is not None else scope
        if all(v in node.inputs for v in node.results) and not _writes_below(node) and not self._escapes(node):
            return
        if self._is_constant(node):
            self.folded |= {v.id for leaf in _leaf_nodes(node) for v in leaf.results} - self.states
            return
        open_ended = self._escapes(node) or self._reaches_out(node)
        converter = None if open_ended else serving(node, self.find, self.samples, self.notes.append)
        if converter is not None:
            node = by_position(node, converter.function) if converter.is_built_in else node
            chain = ((node, converter),) if converter.steps is not None and _is_algebraic(node, self.sizes) else ()
            inputs = node.inputs[:1] if chain else node.inputs
            self.units.append(Unit(node, converter, scope, inputs, node.results, chain, self.sizes))
            self.gaps += [gap for region in node.regions for gap in select(region, self.find).gaps]
        elif node.children:
            for child in node.children:
                self.visit(child, inside, node if node.opened else within)
        # A module that calls nothing gives what others have made; a check by Python asks for what no output needs.
        elif node.module is None and any(v.id in self.alive for v in node.results):
            # What opens into nothing but itself, as ATen calls it, goes by the name that the user wrote.
            if within is not None and within.children == (node,):
                node, within = within, None
            self.gaps.append(Gap(node, inside, within))

    def _is_constant(self, node: Node) -> bool:
        """Whether neither an input nor anything trainable has a part in a call."""
        leaf_nodes = list(_leaf_nodes(node))
        made = {v.id for leaf in leaf_nodes for v in leaf.results}
        read = [v for leaf in leaf_nodes for v in self._data_read(leaf) if v.id not in made]
        given = node.inputs if node.children else ()
        fixed = (ValueKind.BUFFER, ValueKind.CONSTANT)
        return not any(is_random(leaf) for leaf in leaf_nodes) and all(
            (v.kind in fixed and v.id not in self.states) or v.id in self.folded for v in (*read, *given)
        )

    def _data_read(self, leaf: Node) -> Sequence[Value]:
        """The inputs of a call whose elements matter to it: of `x.new_zeros(3)`, none."""
        name = name_of(leaf.op)
        if name in NEW or (name in LIKE and leaf.inputs and self._keeps_its_size(leaf.inputs[0])):
            return leaf.inputs[1:]
        return leaf.inputs

    def _keeps_its_size(self, value: Value) -> bool:
        """Whether a tensor has the same shape at all sizes of the dynamic axes."""
        grown = [self.sizes.growth(value, dim) for dim in range(value.rank)]
        return all(factors is not None and all(factor == 1 for factor in factors) for factors in grown)

    def _escapes(self, node: Node) -> bool:
        """Whether something made inside is used outside although the call does not return it.

        A converter could not supply it: a write to an argument, a feature that a hook keeps.
        """
        if not node.children:
            return False
        returned = {v.id for v in node.results}
        inner: Counter[int] = Counter()
        made: set[int] = set()
        for leaf in _leaf_nodes(node):
            inner.update(v.id for v in leaf.inputs)
            made |= {v.id for v in leaf.results}
        return any(self.uses.get(v, 0) > inner[v] for v in made - returned)

    def _reaches_out(self, node: Node) -> bool:
        """Whether something made outside is used inside although the call is not given it.

        A converter would not know of it: a feature that another module keeps, a weight that a hook has computed,
        one that each call changes.
        """
        if not node.children:
            return False
        leaf_nodes = _leaf_nodes(node)
        known = {v.id for leaf in leaf_nodes for v in leaf.results} | {v.id for v in node.inputs}
        return any(
            (v.kind is ValueKind.RESULT or v.id in self.states) and v.id not in known and v.id not in self.folded
            for leaf in leaf_nodes
            for v in leaf.inputs
        )


def _results(graph: Graph) -> tuple[Value, ...]:
    """What a call is for: what it returns, and what it leaves in the tensors that modules hold."""
    return (*values(graph.outputs), *(after for _, after in graph.states))


def _uses(graph: Graph) -> Counter[int]:
    found = Counter(v.id for v in _results(graph))
    for node in graph.nodes:
        for leaf in _leaf_nodes(node):
            found.update(v.id for v in leaf.inputs)
    return found


def _alive(graph: Graph) -> Set[int]:
    """Which values the results of a graph are computed from, themselves included."""
    alive = {v.id for v in _results(graph)}
    for node in reversed(graph.nodes):
        for leaf in reversed(_leaf_nodes(node)):
            if any(v.id in alive for v in leaf.results):
                alive.update(v.id for v in leaf.inputs)
    return alive


def _leaf_nodes(node: Node) -> Sequence[Node]:
    return [n for n in node.walk() if not n.children]


def _writes_below(node: Node) -> bool:
    return any(leaf.writes for leaf in node.walk())


def _merge_movements(units: Sequence[Unit], outputs: Sequence[Value]) -> list[Unit]:
    """Join a movement to the one before it where nothing else reads what lies between."""
    uses = Counter(v.id for v in outputs)
    for unit in units:
        uses.update(v.id for v in unit.inputs)
    merged: list[Unit] = []
    position: dict[int, int] = {}
    for unit in units:
        before = position.get(unit.inputs[0].id) if unit.converter.steps is not None else None
        if before is not None and uses[unit.inputs[0].id] == 1 and _follows(unit, merged[before]):
            head = merged[before]
            unit = replace(unit, inputs=head.inputs, chain=(*head.chain, (unit.node, unit.converter)))
            merged[before] = unit
        else:
            before = len(merged)
            merged.append(unit)
        if unit.moves_only:
            position[unit.outputs[0].id] = before
    return merged


def _absorb_flattenings(units: Sequence[Unit], outputs: Sequence[Value]) -> list[Unit]:
    """Leave a flattening to the layers behind it if all that read it are such as take its elements as they lie."""
    flattenings = {unit.outputs[0].id: unit for unit in units if unit.moves_only and _is_flattening(unit)}
    for value in (*outputs, *(v for unit in units if unit.converter.after_flattening is None for v in unit.inputs)):
        flattenings.pop(value.id, None)
    joined = []
    for unit in units:
        if unit.moves_only and unit.outputs[0].id in flattenings:
            continue
        flattening = flattenings.get(unit.inputs[0].id) if unit.inputs else None
        joined.append(unit if flattening is None else _joined(unit, flattening))
    return joined


def _is_flattening(unit: Unit) -> bool:
    """Whether a movement makes one dimension of all but the first."""
    source, result = unit.inputs[0], unit.outputs[0]
    reshapes = all(isinstance(step, Reshape) for step in unit.steps(source.shape))
    return reshapes and source.rank > 2 == result.rank and source.shape[0] == result.shape[0]


def _joined(unit: Unit, flattening: Unit) -> Unit:
    source, flat = flattening.inputs[0], unit.inputs[0]
    args, kwargs = map_leaves(lambda leaf: source if leaf is flat else leaf, (unit.node.args, dict(unit.node.kwargs)))
    node = replace(unit.node, args=args, kwargs=kwargs)
    converter = unit.converter.after_flattening
    assert converter is not None
    return replace(unit, node=node, converter=converter, inputs=(source,), flattening=flattening)


def _follows(unit: Unit, head: Unit) -> bool:
    """Whether the algebra of a chain can go on with a movement: it may know what the movement alone does not."""
    return unit.sizes is None or _is_algebraic(unit.node, unit.sizes, head.inputs[0])


def _is_algebraic(node: Node, sizes: Sizes, head: Value | None = None) -> bool:
    """Whether a movement's sizes follow from the dimensions of what it moves (or of the head of its chain).

    One that does not is what -1 says; more are known only to the running model.
    """
    first, *others = node.inputs
    asked = [(v, dim) for v in others for dim in ([None] if _is_size(v, node) else range(v.rank))]
    unknown = sum(sizes.axes_of(sizes.growth(v, dim), head or first) is None for v, dim in asked)
    return unknown == 0 or (unknown == 1 and -1 not in leaves((node.args, dict(node.kwargs))))


def _is_size(value: Value, node: Node) -> bool:
    """Whether a movement takes a number there, rather than the shape of a tensor: `x.view(n)`, not `x.view_as(y)`."""
    is_like = getattr(node.op, "__name__", "").endswith("_as")
    return value.kind is ValueKind.SIZE or (value.rank == 0 and not is_like)


def _steps(
    node: Node, converter: Converter, shape: tuple[int, ...], number: Callable[[Value, int | None], int]
) -> list[Step]:
    """The steps of one movement, its tensors replaced by their shapes, the one that moves by `shape`."""
    assert converter.steps is not None
    first = node.inputs[0]

    def replaced(leaf: Any) -> Any:
        if not isinstance(leaf, Value):
            return leaf
        if leaf is not first and _is_size(leaf, node):
            return number(leaf, None)
        return shape if leaf is first else tuple(number(leaf, dim) for dim in range(leaf.rank))

    args, kwargs = map_leaves(replaced, (node.args, dict(node.kwargs)))
    return list(converter.steps(*args, **kwargs))


def gap_message(gaps: Sequence[Gap], refused: Mapping[int, str] | None = None) -> str:
    """One message for every operation that has no converter, each with its calls and a converter to fill in.

    `refused` tells of calls, by the node's id, why PyTorch could not open them.
    """
    by_operation: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_operation.setdefault(operation_name(gap.node.op), []).append(gap)
    parts = [f"{len(by_operation)} operation(s) have no converter:"]
    for name, calls in by_operation.items():
        parts.append(f"\n{name}, called {len(calls)} time(s):")
        parts += [f"  {_place(gap)}" for gap in calls[:5]]
        reasons = (refused.get(gap.node.id) for gap in calls) if refused else ()
        parts += [f"PyTorch cannot open it into ATen calls: {why}" for why in list(filter(None, reasons))[:1]]
        parts.append("Write one and run again:\n" + _stub(name, calls[0].node))
    return "\n".join(parts)


def _place(gap: Gap) -> str:
    shapes = ", ".join(repr(v) for v in gap.node.inputs)
    scope = f"  in module {gap.scope!r}" if gap.scope else ""
    within = f"  in {operation_name(gap.within.op)}" if gap.within is not None else ""
    return f"{gap.node.site}{scope}{within}  ({shapes})"


def _stub(name: str, node: Node) -> str:
    args = [f"arg{i}" for i in range(len(node.args))] + [f"{key}=None" for key in node.kwargs]
    own = ["self", *args] if node.module is not None else args
    spoken = operation_name(getattr(node.op, "overloadpacket", node.op))
    operation = f"{name}.__get__" if type(node.op).__name__ == "method-wrapper" else name
    strategy = "nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER"
    return (
        f"    @nobuco.converter({operation}, channel_ordering_strategy={strategy})\n"
        f"    def convert_{spoken.split('.')[-1].strip('_')}({', '.join(own)}):\n"
        f"        return lambda {', '.join(args)}: ...  # the same, on TensorFlow tensors"
    )
