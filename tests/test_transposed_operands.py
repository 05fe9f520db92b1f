"""Operands that TFLite's converter exchanges: a constant less, or divided by, what has been transposed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco import ChannelOrder
from tests.sizes import check_sizes

OPTIONS = {"tflite": True, "orders": [ChannelOrder.PYTORCH]}
X = torch.tensor([[0.5, -2.0, 3.0], [1.5, 4.0, -0.25]])


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole, self.one = nn.Parameter(torch.rand(3, 2)), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.whole - x.t(), self.one / x.t(), self.whole * 2 - x.t()


@pytest.mark.parametrize(
    "program",
    [
        lambda x: (1 - x.t(), 2 / x.t(), torch.rsub(x.t(), 3, alpha=2)),
        lambda x: (1 - (-x.t()), -x.t() + 1, x.t().reciprocal(), 2 - (1 - x.t())),
        lambda x: (1 - x.t().sigmoid(), 1 - F.gelu(x.t()), 1 - F.hardswish(x.t()), 1 - x.t().relu()),
        lambda x: (1 - torch.einsum("ij,kj->ki", x, x * 2), 1 - F.normalize(x) @ F.normalize(x).t()),
        lambda x: (
            1 - x.t()[None].squeeze(0),
            1 - x.t().reshape(1, 3, 2).reshape(3, 2),
            2 / x.t()[:, None].flatten(0, 1),
        ),
        lambda x: (2 - x.t()[None].expand(2, 3, 2), 1 - x.t().repeat(2, 1), 1 - torch.stack([x.t(), x.t()])[0]),
        lambda x: torch.cond(x.sum() > 0, lambda x: 1 - x.t(), lambda x: 2 / x.t(), (x,)),
        Weights(),
    ],
    ids=["numbers", "negatives", "behind_activations", "products", "shapes", "copies", "branch", "weights"],
)
def test_a_constant_in_front_of_a_transposition(check, program):
    check(program, X, **OPTIONS)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int16])
def test_of_integers(check, dtype):
    x = (X * 4).to(dtype)
    check(lambda x: (5 - x.t(), 1 + -x.t(), x.argsort(dim=0, stable=True), x.sort(0)[1]), x, **OPTIONS)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 1, 3, 2), (3, 2, 1, 0), (1, 0, 2, 3)])
def test_of_four_dimensions(check, order):
    check(lambda x: (1 - x.permute(order), 1 / x.permute(order)), torch.rand(1, 2, 3, 4) + 1, **OPTIONS)


def test_of_six_dimensions(check):
    check(lambda x: 3 - 1 / x.permute(0, 1, 5, 4, 3, 2), torch.rand(1, 2, 3, 2, 2, 2) + 1, **OPTIONS)


def test_of_dynamic_sizes():
    check_sizes(
        lambda x: (1 - x.transpose(1, 2).sigmoid(), 1 / x.transpose(1, 2)),
        (torch.rand(1, 2, 3) + 1,),
        (torch.rand(3, 5, 1) + 1,),
        free=[(0, 1, 2)],
        orders=[ChannelOrder.PYTORCH],
    )
