"""Channel order as a type, the algebra of data movement, strategies, and the planner."""

from nobuco.layout.order import ChannelOrder, get_channel_order, is_free, set_channel_order
from nobuco.layout.strategy import ChannelOrderingStrategy, Signature, broadcasting, followed, keeping

__all__ = [
    "ChannelOrder",
    "ChannelOrderingStrategy",
    "Signature",
    "broadcasting",
    "followed",
    "get_channel_order",
    "is_free",
    "keeping",
    "set_channel_order",
]
