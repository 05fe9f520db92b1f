"""Functions that somebody has put in the place of PyTorch's: what they make of a call is converted."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.parity import assert_converts

IMAGE, ROW = torch.rand(1, 3, 6, 5), torch.rand(2, 4)


def _doubling(function):
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs) * 2)


@pytest.mark.parametrize(
    ("place", "name", "module", "x"),
    [
        (nn.Linear, "forward", nn.Linear(4, 3), ROW),
        (nn.Conv2d, "_conv_forward", nn.Conv2d(3, 4, 3), IMAGE),
        (F, "linear", nn.Linear(4, 3), ROW),
        (F, "conv2d", nn.Conv2d(3, 4, 3), IMAGE),
        (F, "batch_norm", nn.BatchNorm2d(3), IMAGE),
        (F, "relu", nn.ReLU(), ROW - 0.5),
        (F, "gelu", nn.GELU(), ROW - 0.5),
        (torch, "relu", lambda x: torch.relu(x), ROW - 0.5),
        (torch.Tensor, "relu", lambda x: x.relu(), ROW - 0.5),
        (torch.Tensor, "norm", lambda x: x.norm(), ROW - 0.5),
        (torch.Tensor, "__add__", lambda x: x + 1, ROW - 0.5),
    ],
)
def test_one_that_calls_it(monkeypatch, place, name, module, x):
    monkeypatch.setattr(place, name, _doubling(getattr(place, name)))
    assert_converts(module, x)


def test_one_that_does_not(monkeypatch):
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x)
    assert_converts(nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), ROW)
