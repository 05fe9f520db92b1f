"""Layout rules of operations that look along a dimension; `nobuco.layout.strategy` has the general ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nobuco.ir import Node, Value
from nobuco.layout.movement import Freed
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import LayoutRule, Signature, followed, has_order, nbytes, uniform

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


def in_one_order(node: Node, taken: Freed | None, given: Freed | None) -> bool:
    """Of a layer with weights for each channel: whether what it gives lies as what it takes."""
    return taken == given


def along_last(dim_of: Callable[..., int]) -> LayoutRule:
    """Rule of operations that TensorFlow does along the last axis only (softmax, sort).

    Any order will do, but where the dimension, which `dim_of` reads from the arguments, is not last, the
    callable transposes to and fro. Pricing that lets the planner pick the order in which it need not.
    """

    def rule(node: Node) -> list[Signature]:
        value = node.inputs[0]
        dim = dim_of(*node.args, **node.kwargs)

        def cost(order: ChannelOrder) -> int:
            return 0 if order.axis(dim, value.rank) == max(value.rank - 1, 0) else 2 * nbytes(value)

        orders = (TENSORFLOW, PYTORCH) if has_order(value) else (PYTORCH,)
        return [uniform(node, order, order, cost(order)) for order in orders]

    return rule


def remaining(rank: int, dims: int | Iterable[int] | None, keepdim: bool = False) -> Sequence[int]:
    """The dimensions that a reduction over `dims` leaves, as `keeping` wants them; None or [] reduces all."""
    if keepdim:
        return range(rank)
    given = [dims] if isinstance(dims, int) else list(dims) if dims is not None else []
    dropped = {dim % rank for dim in given} if given and rank else set(range(rank))
    return [dim for dim in range(rank) if dim not in dropped]


def reducing(input: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Sequence[int]:
    """`sources` of a reduction with the usual arguments."""
    return remaining(input.rank, dim, keepdim)


def is_over_none(dim: Any) -> bool:
    """Whether a list of dimensions names none; most reductions take that for all, a few at its word."""
    return isinstance(dim, (list, tuple)) and not dim


def reducing_at_word(input: Value, dim: Any = None, keepdim: bool = False, **_: Any) -> Sequence[int]:
    """`sources` of a reduction that over no dimension is none."""
    return range(input.rank) if is_over_none(dim) else remaining(input.rank, dim, keepdim)


def reducing_together(dim_of: Callable[..., tuple[int, bool]]) -> LayoutRule:
    """Rule of reductions of several tensors of one rank, whose arguments tell `(dim, keepdim)`."""

    def rule(node: Node) -> list[Signature]:
        rank = max(v.rank for v in node.inputs)
        dim, keepdim = dim_of(*node.args, **node.kwargs)
        kept = remaining(rank, dim, keepdim)
        alike = rank >= 3 and all(v.rank == rank for v in node.inputs)
        found = []
        for order in (TENSORFLOW, PYTORCH) if alike else (PYTORCH,):
            leaves_in = followed(order, rank, kept)
            if leaves_in is not None:
                found.append(uniform(node, order, leaves_in))
        return found

    return rule
