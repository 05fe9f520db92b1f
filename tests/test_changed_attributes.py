"""Modules whose attributes are not what they were made with: what PyTorch reads counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.parity import assert_converts

IMAGE, ROW, STEPS = torch.rand(1, 3, 6, 5), torch.rand(2, 4), torch.rand(2, 5, 4)


def _made_otherwise(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (_made_otherwise(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), padding=(0, 0)), IMAGE),
        (_made_otherwise(nn.Conv2d(3, 4, 3), _reversed_padding_repeated_twice=[2, 1, 0, 1]), IMAGE),
        (_made_otherwise(nn.Conv2d(3, 4, 3), weight=nn.Parameter(torch.rand(4, 3, 2, 2))), IMAGE),
        (_made_otherwise(nn.ConvTranspose2d(3, 4, 3), weight=nn.Parameter(torch.rand(3, 4, 2, 5))), IMAGE),
        (_made_otherwise(nn.Linear(4, 3), weight=nn.Parameter(torch.rand(5, 4)), bias=None), ROW),
        (_made_otherwise(nn.Embedding(4, 3), weight=nn.Parameter(torch.rand(6, 5))), torch.tensor([5, 1])),
        (_made_otherwise(nn.PReLU(), weight=nn.Parameter(torch.rand(3))), IMAGE - 0.5),
        (_made_otherwise(nn.RNN(4, 3), nonlinearity="relu"), STEPS),
        (_made_otherwise(nn.RNNCell(4, 3), nonlinearity="relu"), ROW),
        (_made_otherwise(nn.BatchNorm2d(3), running_mean=None, running_var=None), IMAGE),
        (_made_otherwise(nn.MultiheadAttention(4, 2), num_heads=4, head_dim=1), STEPS),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, nn.Module) else "",
)
def test_as_they_are(module, x):
    is_attention = isinstance(module, nn.MultiheadAttention)
    module.eval()
    assert_converts((lambda x: module(x, x, x)[0]) if is_attention else module, x)
