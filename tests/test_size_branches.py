"""Decisions by dynamic sizes under `explore_branches=True`: both sides are in the model, and a size decides."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from tests.sizes import check_sizes, converted

IMAGES = [torch.randn(*sizes, 4) for sizes in ((2, 8), (1, 3), (2, 6), (3, 7), (2, 40))]


class OneOfTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.long, self.short = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.long(x) if x.shape[1] > 5 else self.short(x)


def one_of_many(x):
    if x.shape[0] == 1:
        x = x * 2
    if x.shape[1] <= 4:
        x = x + 1
    elif x.shape[1] <= 9:
        x = x - 1
    return x.sum(1)


def upright(x):
    if x.shape[1] > x.shape[2]:
        x = x.transpose(1, 2)
    return x.sum(1)


def thinned(x):
    if x.shape[1] > 6:
        x = x[:, ::2] * 3
    return torch.relu(x) + x.shape[1]


def written(x):
    x = x * 1
    if x.shape[1] > 6:
        x[:, 0] = 0
    else:
        x[:, -1].mul_(2)
    return x


def a_number(x):
    step = 3 if x.shape[1] > 6 else 1
    return x[:, ::step].mean(1) * step


def with_values(x):
    if x.shape[1] > 6 and x.mean() > 0:
        return x * 2
    return x - 1


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")
@pytest.mark.parametrize(
    "program",
    [
        OneOfTwo(), one_of_many, upright, thinned,
        *(pytest.param(each, marks=pytest.mark.full) for each in (written, a_number, with_values)),
    ],
    ids=lambda program: getattr(program, "__name__", type(program).__name__),
)  # fmt: skip
@pytest.mark.parametrize("first", [0, 1])
def test_both_sides_are_in_the_model(program, first):
    images = [*IMAGES[first:], *IMAGES[:first]]
    options = {"orders": (ChannelOrder.PYTORCH,), "tflite": program is thinned, "explore_branches": True}
    check_sizes(program, *((x,) for x in images), free=[(0, 1)], **options)


def padded(x):
    if x.shape[1] % 2:
        x = torch.cat([x, x[:, :1]], 1)
    return x.view(x.shape[0], -1, 2, 4).sum(2)


def test_a_side_that_the_example_cannot_take_is_told():
    with pytest.warns(nobuco.NobucoWarning, match=r"right where x.shape\[1\] % 2 == 0"):
        converted(padded, (IMAGES[0],), [(0, 1)], explore_branches=True)
