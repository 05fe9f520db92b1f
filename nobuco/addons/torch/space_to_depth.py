"""`tf.nn.space_to_depth` as a PyTorch module."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.builtin import converter
from nobuco.kinds import takes, whole
from nobuco.layout.strategy import ChannelOrderingStrategy
from nobuco.registry import Sample


class SpaceToDepth(nn.Module):
    """Blocks of pixels into channels, ordered (row, column, channel) as TensorFlow has them.

    Takes (B, C, H, W), gives (B, C * block_size ** 2, H / block_size, W / block_size).
    """

    @takes(block_size=whole(1))
    def __init__(self, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Imitate `tf.nn.space_to_depth`."""
        x = F.pixel_unshuffle(input, self.block_size)
        return channel_interleave2d(x, self.block_size, reverse=False)

    def extra_repr(self) -> str:
        """For `print(module)`."""
        return f"block_size={self.block_size}"


def channel_interleave2d(x: torch.Tensor, block_size: int, reverse: bool) -> torch.Tensor:
    """Swap (channel, place in the block) to (place, channel) in the channels of `x`, or back."""
    b, c, h, w = x.shape
    n_blocks = block_size**2

    blocks = (n_blocks, c // n_blocks) if reverse else (c // n_blocks, n_blocks)
    return x.view(b, *blocks, h, w).transpose(1, 2).reshape(b, c, h, w)


@converter(
    SpaceToDepth,
    channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER,
    samples=lambda: [Sample((SpaceToDepth(2), torch.randn(2, 3, 4, 6)))],
)
def converter_space_to_depth(self: SpaceToDepth, input: torch.Tensor) -> Any:
    """One SPACE_TO_DEPTH."""
    return lambda input: tf.nn.space_to_depth(input, self.block_size)
