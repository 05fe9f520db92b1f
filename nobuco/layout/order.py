"""Channel order: how a tensor's dimensions lie in memory, and the permutation algebra that follows from it.

PyTorch names dimensions (batch, channel, *spatial); that naming is the *logical* order and never changes. A
tensor in TENSORFLOW order stores them *physically* as (batch, *spatial, channel). Tensors of rank below three
have no order: both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

from nobuco.errors import InputError
from nobuco.kinds import Kind, shown, takes

T = TypeVar("T")


class ChannelOrder(Enum):
    """The two layouts of a tensor of rank three or more."""

    PYTORCH = "pytorch"
    TENSORFLOW = "tensorflow"
    CHANNEL_FIRST = "pytorch"
    CHANNEL_LAST = "tensorflow"

    @classmethod
    def _missing_(cls, value: object) -> ChannelOrder | None:
        return _SPELLINGS.get(value.lower()) if isinstance(value, str) else None

    def permutation(self, rank: int) -> tuple[int, ...]:
        """The logical dimension that each physical axis holds: (0, 2, 3, 1) for TENSORFLOW at rank 4."""
        if self is ChannelOrder.PYTORCH or rank < 3:
            return tuple(range(rank))
        return (0, *range(2, rank), 1)

    def axis(self, dim: int, rank: int) -> int:
        """The physical axis of a logical dimension (which may be negative)."""
        return self.permutation(rank).index(dim % rank) if rank else 0

    def to_physical(self, per_dim: Sequence[T]) -> list[T]:
        """Reorder a sequence with one entry per dimension from logical to physical order."""
        return [per_dim[dim] for dim in self.permutation(len(per_dim))]

    def to_logical(self, per_axis: Sequence[T]) -> list[T]:
        """Reorder a sequence with one entry per axis from physical to logical order."""
        return [per_axis[self.axis(dim, len(per_axis))] for dim in range(len(per_axis))]

    def transposition_to(self, other: ChannelOrder, rank: int) -> tuple[int, ...]:
        """The `perm` that takes a tensor from this order to `other`, as `tf.transpose` wants it."""
        return tuple(self.axis(dim, rank) for dim in other.permutation(rank))


# What other frameworks call the two, in any case.
_SPELLINGS = {
    **dict.fromkeys(("nchw", "ncw", "ncl", "ncdhw", "channels_first", "channel_first"), ChannelOrder.PYTORCH),
    **dict.fromkeys(("nhwc", "nwc", "nlc", "ndhwc", "channels_last", "channel_last"), ChannelOrder.TENSORFLOW),
    **{order.value: order for order in ChannelOrder},
}
ORDER = Kind("nobuco.ChannelOrder.TENSORFLOW ('nhwc') or .PYTORCH ('nchw')", lambda value: as_order(value) is not None)


def as_order(value: Any) -> ChannelOrder | None:
    """The order that a value means: itself, or the one of that name (`"nhwc"`, `"channels_last"`); None for none."""
    if not isinstance(value, (str, ChannelOrder)):
        return None
    try:
        return ChannelOrder(value)
    except ValueError:
        return None


def is_free(shape: Sequence[int]) -> bool:
    """Whether changing the order of a tensor of this logical shape moves no data (a reshape will do)."""
    return len(shape) < 3 or shape[1] == 1 or all(size == 1 for size in shape[2:])


def get_channel_order(tensor: Any) -> ChannelOrder:
    """The channel order of a TensorFlow tensor inside a converter; PYTORCH where none was set."""
    return getattr(tensor, "_nobuco_channel_order", ChannelOrder.PYTORCH)


@takes(channel_order=ORDER)
def set_channel_order(tensor: Any, channel_order: ChannelOrder | str) -> Any:
    """Annotate a TensorFlow tensor with its channel order and return it (for `MANUAL` converters).

    Raises:
        InputError: `tensor` is none, or `channel_order` is no order.
    """
    try:
        tensor._nobuco_channel_order = ChannelOrder(channel_order)
    except (AttributeError, TypeError):
        raise InputError(f"tensor is {shown(tensor)}; give a TensorFlow tensor") from None
    return tensor
