"""What a node accepts: strategies, and the layout signatures that they give a node.

A `Signature` is one way in which a node can run: an order for each tensor that enters, the order of each that
leaves, and what the node moves inside, in bytes. A `LayoutRule` lists the signatures of a node; the planner
picks one per node so that the whole graph moves the least. `ChannelOrderingStrategy` names the rules that
people use; the functions below make the finer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from math import prod

from nobuco.ir import Node, Value
from nobuco.layout.movement import Permute, Step, shortest
from nobuco.layout.order import ChannelOrder, is_free

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW

ITEM_BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "float32": 4,
}


class ChannelOrderingStrategy(Enum):
    """In which channel order a converter wants its inputs and gives its outputs."""

    FORCE_TENSORFLOW_ORDER = "force_tensorflow_order"
    FORCE_PYTORCH_ORDER = "force_pytorch_order"
    MINIMUM_TRANSPOSITIONS = "minimum_transpositions"
    MINIMUM_TRANSPOSITIONS_OR_PYTORCH = "minimum_transpositions_or_pytorch"
    OUTPUT_FORCE_PYTORCH_ORDER = "output_force_pytorch_order"
    MANUAL = "manual"


@dataclass(frozen=True)
class Signature:
    """One way in which a node can run. A tensor of rank below three counts as PYTORCH."""

    inputs: tuple[ChannelOrder, ...]
    outputs: tuple[ChannelOrder, ...]
    cost: int = 0


LayoutRule = Callable[[Node], Sequence[Signature]]
Strategy = ChannelOrderingStrategy | LayoutRule


def signatures(strategy: Strategy, node: Node) -> tuple[Signature, ...]:
    """The ways in which `node` can run under `strategy`; the first is preferred where costs tie.

    `MANUAL` gives none: the order of its outputs is known only once its converter has run.
    """
    if not isinstance(strategy, ChannelOrderingStrategy):
        return tuple(strategy(node))
    return tuple(_BY_STRATEGY[strategy](node))


def has_order(value: Value) -> bool:
    """Whether a tensor's channel order matters: rank three or more."""
    return value.rank >= 3


def nbytes(value: Value) -> int:
    """The size of a traced tensor in bytes."""
    return prod(value.shape) * ITEM_BYTES.get(value.dtype, 8)


def uniform(node: Node, inputs: ChannelOrder, outputs: ChannelOrder, cost: int = 0) -> Signature:
    """The signature in which all tensors that enter, and all that leave, have one order."""
    return Signature(_orders(node.inputs, inputs), _orders(node.results, outputs), cost)


def _orders(tensors: Sequence[Value], order: ChannelOrder) -> tuple[ChannelOrder, ...]:
    return tuple(order if has_order(v) else PYTORCH for v in tensors)


def _same(node: Node, *choices: ChannelOrder) -> list[Signature]:
    return [uniform(node, order, order) for order in choices]


_BY_STRATEGY: dict[ChannelOrderingStrategy, LayoutRule] = {
    ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER: lambda node: _same(node, TENSORFLOW),
    ChannelOrderingStrategy.FORCE_PYTORCH_ORDER: lambda node: _same(node, PYTORCH),
    ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS: lambda node: _same(node, TENSORFLOW, PYTORCH),
    ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS_OR_PYTORCH: lambda node: _same(node, PYTORCH, TENSORFLOW),
    ChannelOrderingStrategy.OUTPUT_FORCE_PYTORCH_ORDER: lambda node: [
        uniform(node, order, PYTORCH) for order in (TENSORFLOW, PYTORCH)
    ],
    ChannelOrderingStrategy.MANUAL: lambda node: [],
}


def broadcasting(node: Node) -> list[Signature]:
    """Rule of elementwise operations whose tensors broadcast, also across ranks.

    Tensors of the output's rank take the common order. One of lower rank enters in PYTORCH order and is
    aligned inside (`converters.support.broadcast`): leading axes added, then laid out like the rest, which
    moves data only where more than one of its dimensions is real.
    """
    rank = max(v.rank for v in node.results)
    inner = sum(nbytes(v) for v in node.inputs if _moves_when_aligned(v, rank))
    last = Signature(
        tuple(TENSORFLOW if v.rank == rank >= 3 else PYTORCH for v in node.inputs),
        _orders(node.results, TENSORFLOW),
        inner,
    )
    return [last, uniform(node, PYTORCH, PYTORCH)] if rank >= 3 else [last]


def _moves_when_aligned(value: Value, rank: int) -> bool:
    padded = (1,) * (rank - value.rank) + value.shape
    return value.rank < rank and not value.kind.is_constant and not is_free(padded)


def followed(order: ChannelOrder, rank: int, sources: Sequence[int | None]) -> ChannelOrder | None:
    """The order that an output has by nature when its dimension i is the input's dimension `sources[i]`.

    None as a source is a new dimension, free to stand anywhere. The input's own order is preferred; the answer
    is None where keeping the axes as they lie gives neither order.
    """
    out_rank = len(sources)
    kept = [dim for dim in order.permutation(rank) if dim in sources]
    for candidate in (order, PYTORCH, TENSORFLOW):
        wanted = [sources[dim] for dim in candidate.permutation(out_rank)]
        if [dim for dim in wanted if dim is not None] == kept:
            return candidate if out_rank >= 3 else PYTORCH
    return None


def keeping(sources: Callable[..., Sequence[int | None]]) -> LayoutRule:
    """Rule of operations that drop, keep or add dimensions of their first tensor (reductions, indexing).

    `sources` has the operation's own signature, tensors as `Value`s, and tells for each dimension of the
    output which dimension of the input it was (None: a new one). The converter finds the order that its output
    has through `followed`, as this rule does.
    """

    def rule(node: Node) -> list[Signature]:
        value, *rest = node.inputs
        kept = sources(*node.args, **node.kwargs)
        ways = []
        for order in (TENSORFLOW, PYTORCH) if has_order(value) else (PYTORCH,):
            leaves_in = followed(order, value.rank, kept)
            if leaves_in is not None:
                ways.append(
                    Signature((order, *_orders(rest, PYTORCH)), _orders(node.results, leaves_in)),
                )
        return ways

    return rule


def moving(steps: Callable[[Sequence[int]], Sequence[Step]], source: Value, result: Value) -> list[Signature]:
    """The signatures of pure data movement: any order in, any out, at the price of what then must move."""
    ways = []
    for before, after in product((TENSORFLOW, PYTORCH), repeat=2):
        if (before is TENSORFLOW and not has_order(source)) or (after is TENSORFLOW and not has_order(result)):
            continue
        moves = shortest(
            before.to_physical(source.shape),
            reordered(steps(source.shape), before, after, source.rank, result.rank),
        )
        ways.append(Signature((before,), (after,), nbytes(source) * sum(move.transposes for move in moves)))
    return ways


def reordered(steps: Sequence[Step], before: ChannelOrder, after: ChannelOrder, rank: int, out_rank: int) -> list[Step]:
    """`steps` on logical dimensions, as steps on a tensor that lies in `before` and is to lie in `after`."""
    return [
        Permute(before.transposition_to(PYTORCH, rank)),
        *steps,
        Permute(PYTORCH.transposition_to(after, out_rank)),
    ]
