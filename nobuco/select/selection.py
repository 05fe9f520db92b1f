"""Which nodes of a trace get converted, and as what: the trace's tree becomes a list of units in running order.

The highest node that has a converter wins. What depends on no input and no parameter is folded into a
constant, what no output needs is dropped, and chains of pure data movement become one unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from nobuco.ir import Graph, Node, Samples, Value, ValueKind, values
from nobuco.ir.growth import Sizes
from nobuco.registry import Converter
from nobuco.select.binding import by_position
from nobuco.select.movements import absorb_flattenings, is_algebraic, merge_movements
from nobuco.select.serving import serving
from nobuco.select.units import Gap, Selection, Unit
from nobuco.trace.calls import LIKE, NEW, is_random, name_of


def select(graph: Graph, find: Callable[[Any], Converter | None]) -> Selection:
    """Choose the converter of every call of a trace; `find` looks one up by operation."""
    changing = frozenset(v.id for v in (*graph.inputs, *(before for before, _ in graph.states)))
    picker = _Picker(find, graph.samples, _uses(graph), _alive(graph), Sizes.of(graph), changing)
    for node in graph.nodes:
        picker.visit(node, "")
    results = results_of(graph)
    needed, kept, dropped = {v.id for v in results}, [], []
    for unit in reversed(picker.units):
        if any(v.id in needed for v in unit.outputs):
            needed |= {v.id for v in unit.inputs}
            kept.append(unit)
        else:
            dropped.append(unit)
    units = absorb_flattenings(merge_movements(kept[::-1], results), results)
    return Selection(tuple(units), frozenset(picker.folded), tuple(picker.gaps), tuple(dropped), tuple(picker.notes))


def unresolved_warnings(graph: Graph, selection: Selection) -> tuple[str, ...]:
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
            chain = ((node, converter),) if converter.steps is not None and is_algebraic(node, self.sizes) else ()
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
        results = {v.id for leaf in leaf_nodes for v in leaf.results}
        read = [v for leaf in leaf_nodes for v in self._data_read(leaf) if v.id not in results]
        inputs = node.inputs if node.children else ()
        fixed = (ValueKind.BUFFER, ValueKind.CONSTANT)
        return not any(is_random(leaf) for leaf in leaf_nodes) and all(
            (v.kind in fixed and v.id not in self.states) or v.id in self.folded for v in (*read, *inputs)
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
        results: set[int] = set()
        for leaf in _leaf_nodes(node):
            inner.update(v.id for v in leaf.inputs)
            results |= {v.id for v in leaf.results}
        return any(self.uses.get(v, 0) > inner[v] for v in results - returned)

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


def results_of(graph: Graph) -> tuple[Value, ...]:
    """What a call is for: what it returns, and what it leaves in the tensors that modules hold."""
    return (*values(graph.outputs), *(after for _, after in graph.states))


def _uses(graph: Graph) -> Counter[int]:
    uses = Counter(v.id for v in results_of(graph))
    for node in graph.nodes:
        for leaf in _leaf_nodes(node):
            uses.update(v.id for v in leaf.inputs)
    return uses


def _alive(graph: Graph) -> Set[int]:
    """Which values the results of a graph are computed from, themselves included."""
    alive = {v.id for v in results_of(graph)}
    for node in reversed(graph.nodes):
        for leaf in reversed(_leaf_nodes(node)):
            if any(v.id in alive for v in leaf.results):
                alive.update(v.id for v in leaf.inputs)
    return alive


def _leaf_nodes(node: Node) -> Sequence[Node]:
    return [n for n in node.walk() if not n.children]


def _writes_below(node: Node) -> bool:
    return any(leaf.writes for leaf in node.walk())
