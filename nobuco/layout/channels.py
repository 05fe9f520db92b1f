"""Orders of channels: how tensors that are put together of parts of others lie so that the parts are few.

A *wire* is a set of tensors whose channels lie in one order. Some wires lie as PyTorch has them; the others may lie in
any order, since weights make and read them. A *joint* is a tensor that consists of channels of others: where those lie
behind each other it takes them in runs, and where they are all of a tensor nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

Order = tuple[int, ...]
"""Which channel lies at each place."""


@dataclass(frozen=True)
class Lying:
    """A dimension whose elements have an order of their own."""

    dim: int
    order: Order


@dataclass(frozen=True)
class Joint:
    """A tensor made of channels of others: for each of its own, the source and the channel there."""

    value: int
    channels: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Run:
    """Channels of a source that lie behind each other, by their places."""

    source: int
    start: int
    stop: int


def runs(joint: Joint, orders: Mapping[int, Order]) -> list[Run]:
    """The runs that a joint consists of, where values, sources and itself, lie in these orders (or as they are)."""
    places = {source: _places(orders[source]) for source, _ in joint.channels if source in orders}
    joined: list[Run] = []
    for channel in orders.get(joint.value, range(len(joint.channels))):
        source, number = joint.channels[channel]
        place = places[source][number] if source in places else number
        if joined and (joined[-1].source, joined[-1].stop) == (source, place):
            joined[-1] = Run(source, joined[-1].start, place + 1)
        else:
            joined.append(Run(source, place, place + 1))
    return joined


def chosen(
    wires: Mapping[int, int], counts: Mapping[int, int], joints: Sequence[Joint], fixed: Collection[int]
) -> dict[int, Order]:
    """An order for each wire that is not fixed and has to do with joints, so that these consist of few runs.

    Those that are read later are chosen first: a wire lies as its readers want it, the first of them most, and one that
    is only put together lies as its parts do.

    Args:
        wires: the wire of each value.
        counts: how many channels each wire has.
        joints: in running order.
        fixed: the wires that lie as they are.
    """
    read: dict[int, list[Joint]] = {}
    for joint in joints:
        for wire in dict.fromkeys(wires[source] for source, _ in joint.channels):
            read.setdefault(wire, []).append(joint)
    last = {wire: i for i, joint in enumerate(joints) for wire in {wires[source] for source, _ in joint.channels}}
    orders: dict[int, Order] = {}
    for wire in sorted(read, key=lambda wire: -last[wire]):
        if wire not in fixed:
            ranks = [_ranks(wire, wires, joint, orders, fixed) for joint in read[wire]]
            orders[wire] = _grouped(range(counts[wire]), ranks)
    for joint in joints:
        wire = wires[joint.value]
        if wire not in fixed and wire not in orders:
            orders[wire] = _as_made(joint, wires, orders)
    return orders


def _ranks(
    wire: int, wires: Mapping[int, int], joint: Joint, orders: Mapping[int, Order], fixed: Collection[int]
) -> dict[int, int]:
    """The channels of a wire that a joint reads, each with its place there; 0 where the joint may lie in any order."""
    target, ranks = wires[joint.value], dict[int, int]()
    known = target in orders or target in fixed
    for place, channel in enumerate(orders.get(target, range(len(joint.channels)))):
        source, number = joint.channels[channel]
        if wires[source] == wire:
            ranks.setdefault(number, place if known else 0)
    return ranks


def _grouped(channels: Iterable[int], wanted: Sequence[Mapping[int, int]]) -> Order:
    """Channels so that those which a reader wants lie together, in its order."""
    return tuple(
        sorted(channels, key=lambda channel: [(channel not in ranks, ranks.get(channel, 0)) for ranks in wanted])
    )


def _as_made(joint: Joint, wires: Mapping[int, int], orders: Mapping[int, Order]) -> Order:
    """The channels of a joint, source by source, as they lie in each."""
    sources = list(dict.fromkeys(source for source, _ in joint.channels))
    places = {s: _places(orders[wires[s]]) for s in sources if wires[s] in orders}

    def lies(channel: int) -> tuple[int, int]:
        source, number = joint.channels[channel]
        return sources.index(source), places[source][number] if source in places else number

    return tuple(sorted(range(len(joint.channels)), key=lies))


def _places(order: Order) -> dict[int, int]:
    return {channel: place for place, channel in enumerate(order)}
