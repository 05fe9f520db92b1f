"""`tf.nn.depth_to_space` as a PyTorch module."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.addons.torch.space_to_depth import channel_interleave2d
from nobuco.builtin import converter
from nobuco.kinds import takes, whole
from nobuco.layout.strategy import ChannelOrderingStrategy
from nobuco.registry import Sample


class DepthToSpace(nn.Module):
    """Channels, ordered (row, column, channel) as TensorFlow has them, into blocks of pixels.

    Takes (B, C, H, W), gives (B, C / block_size ** 2, H * block_size, W * block_size).
    """

    @takes(block_size=whole(1))
    def __init__(self, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Imitate `tf.nn.depth_to_space`."""
        x = channel_interleave2d(input, self.block_size, reverse=True)
        return F.pixel_shuffle(x, self.block_size)

    def extra_repr(self) -> str:
        """For `print(module)`."""
        return f"block_size={self.block_size}"


@converter(
    DepthToSpace,
    channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER,
    samples=lambda: [Sample((DepthToSpace(2), torch.randn(2, 12, 2, 3)))],
)
def converter_depth_to_space(self: DepthToSpace, input: torch.Tensor) -> Any:
    """One DEPTH_TO_SPACE."""
    return lambda input: tf.nn.depth_to_space(input, self.block_size)
