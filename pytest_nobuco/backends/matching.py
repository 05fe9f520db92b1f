"""Which tensor of an artifact is which of PyTorch's, and how it lies: by name, or by shape and order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_nobuco.errors import SuiteError

NCHW, NHWC = "nchw", "nhwc"


@dataclass(frozen=True)
class Slot:
    """An input or output; a size of None is any."""

    name: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = "×".join("?" if size is None else str(size) for size in self.shape) or "()"
        return f"{self.name} {sizes}" if self.name else sizes


@dataclass(frozen=True)
class Place:
    """Where a tensor of the artifact has its counterpart in PyTorch, and the orders in which their shapes agree."""

    index: int
    orders: tuple[str, ...]
    has_channels: bool = True

    @property
    def is_ambiguous(self) -> bool:
        """Whether the shape does not tell the order."""
        return len(self.orders) > 1


def match(theirs: Sequence[Slot], ours: Sequence[Slot], what: str) -> list[Place]:
    """For each tensor of the artifact, its place in PyTorch.

    By name where all names are known; in order where the shapes allow that, with a common stem by number
    (`args_0`, `args_1`); otherwise by shape. A file may lack inputs that the model makes no use of.

    Raises:
        SuiteError: they do not fit each other.
    """
    for order in _orders(theirs, ours, what):
        places = [place_of(their, index, ours[index]) for their, index in zip(theirs, order)]
        if all(place.orders for place in places):
            return places
    names = [", ".join(map(str, slots)) or "none" for slots in (theirs, ours)]
    raise SuiteError(f"the {what}s of the file ({names[0]}) are not those of the model ({names[1]})")


def _orders(theirs: Sequence[Slot], ours: Sequence[Slot], what: str) -> Iterator[list[int]]:
    """In which orders the artifact's tensors may be PyTorch's, the likeliest first."""
    is_whole = len(theirs) == len(ours)
    if not is_whole and (what != "input" or len(theirs) > len(ours)):
        return
    in_order = [_by_number(theirs), list(range(len(ours)))] if is_whole else []
    yield from (order for order in (_by_name(theirs, ours), *in_order, _by_shape(theirs, ours)) if order is not None)


def place_of(their: Slot, index: int, our: Slot) -> Place:
    """A tensor of the artifact in this place of PyTorch's."""
    return Place(index, orders_of(their.shape, our.shape), len(our.shape) >= 3)


def orders_of(shape: Sequence[int | None], pytorch: Sequence[int | None]) -> tuple[str, ...]:
    """In which channel orders a tensor of this shape holds one of PyTorch's; `nchw` alone where there are no others."""
    orders = [NCHW] if _fits(shape, pytorch) else []
    if len(pytorch) >= 3 and _fits(shape, channels_last(pytorch)):
        orders.append(NHWC)
    return tuple(orders)


def channels_last(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """PyTorch's shape with the channels behind the other axes."""
    return (shape[0], *shape[2:], shape[1])


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(a == b or a is None or b is None for a, b in zip(shape, wanted))


def _by_name(theirs: Sequence[Slot], ours: Sequence[Slot]) -> list[int] | None:
    names = [_plain(slot.name) for slot in ours]
    wanted = [_plain(slot.name) for slot in theirs]
    if len(set(names)) < len(names) or len(set(wanted)) < len(wanted) or not set(wanted) <= set(names):
        return None
    return [names.index(name) for name in wanted]


def _plain(name: str) -> str:
    """A name without what TFLite's exporters put around it."""
    return re.sub(r":\d+$", "", name.removeprefix("serving_default_"))


def _by_number(theirs: Sequence[Slot]) -> list[int] | None:
    """The order that numbers behind one stem say; the first may have none (`Identity`, `Identity_1`)."""
    parts = [re.fullmatch(r"(.*?)[_:.]?(\d*)", re.sub(r":0$", "", slot.name)) for slot in theirs]
    stems = [(part[1], int(part[2] or 0)) for part in parts if part]
    if len({stem for stem, _ in stems}) != 1 or len(set(stems)) < len(theirs):
        return None
    ranked = sorted(number for _, number in stems)
    return [ranked.index(number) for _, number in stems]


def _by_shape(theirs: Sequence[Slot], ours: Sequence[Slot]) -> list[int] | None:
    """Each to the first that is left and has its shape in some order; those that fit fewest first."""
    fitting = [[i for i, our in enumerate(ours) if orders_of(their.shape, our.shape)] for their in theirs]
    taken: dict[int, int] = {}
    for place in sorted(range(len(theirs)), key=lambda place: len(fitting[place])):
        free = [index for index in fitting[place] if index not in taken.values()]
        if not free:
            return None
        taken[place] = free[0]
    return [taken[place] for place in range(len(theirs))]
