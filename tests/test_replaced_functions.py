"""Functions that somebody has put in the place of PyTorch's: what they make of a call is converted."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
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


NAMES = ["size", "dim", "item", "numpy", "empty", "dropout", "normal_", "new_zeros", "zeros_like", "as_strided", "set_",
         "tensor_split", "__bool__", "__len__", "is_complex", "cond", "data_ptr"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_one_of_the_users_with_a_name_of_pytorchs(name):
    def function(x, y=1):
        return x * 2 + y

    function.__name__ = name
    marked = nobuco.traceable(function)
    assert_converts(lambda x: marked(x, x + 1) + marked(x), ROW)


@pytest.mark.parametrize("name", ["size", "item", "empty", "new_zeros", "normal"])
def test_an_operator_of_the_users_with_a_name_of_pytorchs(name):
    @torch.library.custom_op(f"nobuco_names::{name}", mutates_args=())
    def operator(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + 1

    assert_converts(lambda x: operator(x) - getattr(torch.ops.nobuco_names, name)(x * x), ROW)
