"""A number added to a transposed convolution: TFLite's converter takes it for a bias of one element."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco import ChannelOrder
from tests.sizes import check_sizes

KERNEL = torch.randn(3, 2, 2, 2)


def made(x: torch.Tensor) -> torch.Tensor:
    return F.conv_transpose2d(x, KERNEL, stride=2)


@pytest.mark.parametrize("free", [(), (2, 3)], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    "program",
    [
        lambda x: made(x) + 1,
        lambda x: 1 - made(x) * 2,
        lambda x: made(x).flatten(2).transpose(1, 2) - torch.tensor([3.0]),
        lambda x: F.conv_transpose1d(x[..., 0], KERNEL[..., 0], stride=2) + 1,
        nn.Sequential(nn.ConvTranspose2d(3, 4, 3, bias=False), nn.Hardswish()),
    ],
)
def test_is_added_to_each_channel(program: Callable[[torch.Tensor], torch.Tensor], free: tuple[int, ...]) -> None:
    others = [(torch.randn(1, 3, 5, 9),)] if free else []
    check_sizes(program, (torch.randn(1, 3, 8, 6),), *others, free=[free], orders=(ChannelOrder.TENSORFLOW,))
