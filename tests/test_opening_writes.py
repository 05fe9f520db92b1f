"""What a call writes inside itself, when it is opened: the values after the write are those that count."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nobuco import ChannelOrder

ONE_ORDER = {"orders": [ChannelOrder.PYTORCH]}


def test_losses_that_clamp_in_place(check):
    x, y = torch.randn(5), torch.randn(5)
    sign = torch.tensor([1.0, -1, 1, -1, -1])
    check(lambda x, y, sign: F.margin_ranking_loss(x, y, sign, margin=0.1), x, y, sign, **ONE_ORDER)
    check(lambda x, sign: F.hinge_embedding_loss(x, sign), x, sign, **ONE_ORDER)
    check(lambda x, y: F.poisson_nll_loss(x, y, full=True), x, y.abs() * 4, **ONE_ORDER)


@torch.library.custom_op("nobuco_tests::smoothed", mutates_args=())
def smoothed(x: torch.Tensor) -> torch.Tensor:
    """Writes to a part of what it made, and reads the whole."""
    made = x * 2
    made[1:] += made[:-1].clone()
    made.T[0].sub_(1)
    return made.cumsum(0)


def test_an_operation_of_ones_own_that_writes_to_what_it_made(check):
    check(lambda x: smoothed(x) + 1, torch.randn(4, 3), **ONE_ORDER)
