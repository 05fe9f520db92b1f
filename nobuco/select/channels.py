"""Movements of channels that are none where tensors lie otherwise: in an order of channels of their own.

Weights make and read channels in any order, and what takes each by itself passes it on. So a shuffle of channels, or
each second of them, asks for an order of the tensors around it, and becomes runs of channels behind each other, or
nothing. What a program takes and gives, and what any other call reads or makes, lies as in PyTorch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from nobuco.ir import Value, ValueKind
from nobuco.layout.channels import Joint, Lying, Order, chosen, runs
from nobuco.layout.strategy import nbytes
from nobuco.registry import ChannelUse
from nobuco.select.routes import Content, dimensions, moved, turns, use_of
from nobuco.select.units import Unit

# What operations cost, as if in bytes moved: to begin; a shuffle, for each of its bytes (the transposition five times,
# a reshape to each side of it once); a piece of a row of channels, which takes as long as so many bytes at least.
_BEGIN, _SHUFFLE, _PIECE = 2**12, 7, 32
# Into so many equal parts XNNPACK splits.
_MOST_SHARES = 4


def in_order(units: Sequence[Unit], ends: Iterable[Value]) -> tuple[list[Unit], dict[int, Lying]]:
    """The units with channels in orders in which fewer of them move, and which tensors lie in an order of their own.

    `ends` are tensors that lie as in PyTorch, whoever makes them: what a program gives, and keeps from call to call.
    Nothing changes where a call has bodies, which may call any module; and a module that is called again has weights
    in one order.
    """
    routes = {i: contents for i, unit in enumerate(units) if (contents := moved(unit)) is not None}
    if any(unit.node.regions for unit in units) or not _some_turn(units, routes):
        return list(units), {}
    kept = [None if use_of(unit) is ChannelUse.WEIGHED else dimensions(unit) for unit in units]
    while _some_turn(units, routes):
        network = _Network.of(units, kept, routes, ends)
        orders = network.orders()
        dear = network.dear(orders)
        if not dear:
            return network.rewritten(orders), network.lies(orders)
        routes = {i: contents for i, contents in routes.items() if i not in dear}
    return list(units), {}


def _some_turn(units: Sequence[Unit], routes: Mapping[int, Mapping[int, Content]]) -> bool:
    return any(turns(units[i], contents) for i, contents in routes.items())


@dataclass
class _Bonds:
    """Which tensors lie in one order, as each unit adds to it.

    `dims` are the dimensions that channels are in, and `fixed` the tensors that lie as in PyTorch.
    """

    fixed: set[int]
    dims: dict[int, int] = field(default_factory=dict)
    _above: dict[int, int] = field(default_factory=dict)

    def wire(self, id: int) -> int:
        """The tensors that lie as this one does, as one of them."""
        top = id
        while top in self._above:
            top = self._above[top]
        while id != top:  # next time it is one step
            self._above[id], id = top, self._above[id]
        return top

    def add(self, unit: Unit, kept: Mapping[int, int] | None, again: bool) -> None:
        """What a unit that does not route channels asks for.

        Args:
            unit: the unit.
            kept: the dimensions of the channels that it keeps apart, if it does.
            again: whether its module is called elsewhere, too.
        """
        if unit.outputs and all(v.kind is ValueKind.SIZE for v in unit.outputs):
            return
        weighed = not again and use_of(unit) is ChannelUse.WEIGHED
        ends = {v.id: 1 for v in (*unit.inputs[:1], *unit.outputs[:1])} if weighed else {}
        together = None if again else kept
        bound = ends if together is None else together
        agree = all(self.dims.setdefault(id, dim) == dim for id, dim in bound.items())
        if together is None or not agree:
            self.fixed |= {v.id for v in (*unit.inputs, *unit.outputs)} - (ends.keys() if agree else set())
            return
        for id in together:
            self.join(id, unit.outputs[0].id)

    def join(self, id: int, other: int) -> None:
        """Let two tensors lie in one order."""
        if self.wire(id) != self.wire(other):
            self._above[self.wire(id)] = self.wire(other)


@dataclass(frozen=True)
class _Network:
    """Units, some of them routing channels, with what these do to each of their outputs.

    `joints` are the tensors made by routes that other units read, and `ways` the routes on which each gets its
    channels.
    """

    units: Sequence[Unit]
    routes: Mapping[int, Mapping[int, Content]]
    values: Mapping[int, Value]
    bonds: _Bonds
    joints: Mapping[int, Joint]
    ways: Mapping[int, frozenset[int]]

    @classmethod
    def of(
        cls,
        units: Sequence[Unit],
        kept: Sequence[Mapping[int, int] | None],
        routes: Mapping[int, Mapping[int, Content]],
        ends: Iterable[Value],
    ) -> _Network:
        """With the dimensions of channels that each unit keeps apart, and by number what routes give."""
        values = {v.id: v for unit in units for v in (*unit.inputs, *unit.outputs)}
        calls = Counter(id(unit.node.module) for unit in units if unit.node.module is not None)
        results = {v.id for unit in units for v in unit.outputs}
        outer = {v.id for v in values.values() if v.id not in results and not v.kind.is_constant}
        read = {v.id for v in ends}
        bonds = _Bonds(read | outer)
        contents: dict[int, Content] = {}
        ways: dict[int, frozenset[int]] = {}
        for i, unit in enumerate(units):
            if i not in routes:
                read |= {v.id for v in unit.inputs}
                bonds.add(unit, kept[i], calls[id(unit.node.module)] > 1)
            for made_id, content in routes.get(i, {}).items():
                contents[made_id] = tuple(contents[s][n] if s in contents else (s, n) for s, n in content)
                ways[made_id] = frozenset({i}).union(*(ways.get(s, ()) for s in {s for s, _ in content}))
        joints = {id: Joint(id, content) for id, content in contents.items() if id in read}
        return cls(units, routes, values, bonds, joints, ways)

    def orders(self) -> dict[int, Order]:
        """By id of each tensor that may lie in any order, the one that makes joints of few runs."""
        wires = {id: self.bonds.wire(id) for id in self.values}
        dims = {id: self.bonds.dims.get(id, 1) for id in self.values}
        counts = {wires[id]: v.shape[dims[id]] for id, v in self.values.items() if dims[id] < v.rank}
        taken = chosen(wires, counts, list(self.joints.values()), {wires[id] for id in self.bonds.fixed if id in wires})
        return {id: taken[wire] for id, wire in wires.items() if wire in taken}

    def lies(self, orders: Mapping[int, Order]) -> dict[int, Lying]:
        """The tensors whose order is not PyTorch's."""
        others = ((id, order) for id, order in orders.items() if order != tuple(range(len(order))))
        return {id: Lying(self.bonds.dims.get(id, 1), order) for id, order in others}

    def dear(self, orders: Mapping[int, Order]) -> set[int]:
        """Routes to leave as they are: where tensors that have to do with each other cost as much as before, or more,
        those that turn channels on the way to the dearest.
        """
        shared = Counter(i for id in self.joints for i in self.ways[id])
        groups, losses = _Bonds(set()), dict[int, list[tuple[float, set[int]]]]()
        for id, joint in self.joints.items():
            for source in dict.fromkeys(source for source, _ in joint.channels):
                groups.join(self.bonds.wire(source), self.bonds.wire(id))
        for id, joint in self.joints.items():
            loss = self._cost(joint, orders) - sum(self._cost_before(i) / shared[i] for i in self.ways[id])
            turning = {i for i in self.ways[id] if turns(self.units[i], self.routes[i])}
            losses.setdefault(groups.wire(self.bonds.wire(id)), []).append((loss, turning))
        lost = [each for each in losses.values() if sum(loss for loss, _ in each) >= 0]
        return {i for each in lost for i in _dearest(each)}

    def rewritten(self, orders: Mapping[int, Order]) -> list[Unit]:
        """The units, with what is left of routes in their place, and with weights in order."""
        lying, units, passed = self.lies(orders), list[Unit](), set[int]()
        for i, unit in enumerate(self.units):
            joints = [self.joints[v.id] for v in unit.outputs if v.id in self.joints]
            if i not in self.routes:
                own = {v.id: lying[v.id].order for v in (*unit.inputs, *unit.outputs) if v.id in lying}
                units.append(replace(unit, lies=own) if own and unit.converter.folding is not None else unit)
            elif joints and self._is_left(i, orders):
                units.append(unit)
            elif joints:
                through = sorted({j for joint in joints for j in self.ways[joint.value]} - passed - {i})
                units.append(_joined(unit, self.values, joints, orders, [self.units[j] for j in through]))
                passed |= {i, *through}
        return _shared(units, self.values)

    def _is_left(self, number: int, orders: Mapping[int, Order]) -> bool:
        """Whether a unit gives the runs that its outputs consist of, if it stays as it is."""
        unit, contents = self.units[number], self.routes[number]
        if any(v.id in self.ways and v.id not in self.joints for v in unit.inputs):
            return False
        return all(
            id in self.joints and runs(Joint(id, content), {}) == runs(self.joints[id], orders)
            for id, content in contents.items()
        )

    def _cost(self, joint: Joint, orders: Mapping[int, Order]) -> float:
        """What it costs to put a tensor together."""
        parts, value = runs(joint, orders), self.values[joint.value]
        channel, rows = nbytes(value) / len(joint.channels), prod(value.shape) / len(joint.channels)
        sizes = [max(channel * (run.stop - run.start), rows * _PIECE) for run in parts]
        whole = [run.stop - run.start == self.values[run.source].shape[1] for run in parts]
        cut = sum(_BEGIN + size for size, all_ in zip(sizes, whole) if not all_)
        return cut + (_BEGIN + sum(sizes) if len(parts) > 1 else 0)

    def _cost_before(self, number: int) -> float:
        """What a unit costs as it is."""
        size = sum(nbytes(v) for v in self.units[number].outputs)
        return _BEGIN + size * (_SHUFFLE if turns(self.units[number], self.routes[number]) else 1)


def _dearest(each: Sequence[tuple[float, set[int]]]) -> set[int]:
    """Of losses, each with the routes that cause it, the routes of the greater half, so that there are few rounds."""
    turning = sorted((one for one in each if one[1]), key=lambda one: one[0], reverse=True)
    losing = sum(loss >= 0 for loss, _ in turning)
    return {i for _, routes in turning[: -(-losing // 2) or 1] for i in routes}


def _shared(units: Sequence[Unit], values: Mapping[int, Value]) -> list[Unit]:
    """The units, told of tensors that they cut into a few equal parts."""
    cut: dict[int, set[tuple[int, int]]] = {}
    for run in (run for unit in units for own in unit.parts for run in own):
        if run.stop - run.start < values[run.source].shape[1]:
            cut.setdefault(run.source, set()).add((run.start, run.stop))
    shares = {}
    for source, runs_ in cut.items():
        count, (size, rest) = len(runs_), divmod(values[source].shape[1], len(runs_))
        even = rest == 0 and runs_ == {(i * size, (i + 1) * size) for i in range(count)}
        if even and 1 < count <= _MOST_SHARES:
            shares[source] = count
    return [replace(unit, shares=shares) if unit.parts else unit for unit in units]


def _joined(
    unit: Unit,
    values: Mapping[int, Value],
    joints: Sequence[Joint],
    orders: Mapping[int, Order],
    through: Sequence[Unit],
) -> Unit:
    """What is left of a unit that routes channels: runs of the tensors that they come from."""
    parts = tuple(tuple(runs(joint, orders)) for joint in joints)
    sources = tuple(values[id] for id in dict.fromkeys(run.source for own in parts for run in own))
    outputs = tuple(values[joint.value] for joint in joints)
    node = replace(unit.node, args=(sources,), kwargs={}, outputs=outputs, children=())
    through = [*([unit] if unit.chain else []), *through]
    return replace(
        unit, node=node, inputs=sources, outputs=outputs, chain=(), parts=parts, through=tuple(through)
    )  # fmt: skip
