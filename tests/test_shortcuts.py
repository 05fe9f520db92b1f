"""Decisions that only save work: the general side is converted where runs show that it serves for both."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.errors import InputError, NobucoWarning
from tests.sizes import check_sizes, converted

ONES = torch.ones(2, 6, dtype=torch.int64)
LEFT, RIGHT = ONES.clone(), ONES.clone()
LEFT[0, :2], RIGHT[1, 3:] = 0, 0
X = torch.rand(2, 6, 4) + 0.1  # all of it positive, which hides a relu


class Attention(nn.Module):
    """As transformers has it: a mask of ones is left out, and causal attention asked for in its place."""

    def forward(self, x, mask):
        length = mask.shape[1]
        if self.may_skip(mask, length) or (mask[:, :length].all() and mask[:, length:].all()):
            return F.scaled_dot_product_attention(x, x, x, is_causal=True)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        return F.scaled_dot_product_attention(x, x, x, attn_mask=causal & mask[:, None, :].bool())

    def may_skip(self, mask, length):
        return length > 1 and mask.all()


def mean(x, mask):
    if mask.all():
        return x.mean(1)
    kept = mask[..., None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1)


def filled(x, mask):
    if (mask == 0).any():
        x = x.masked_fill((mask == 0)[..., None], -1.0)
    return x * 2


@pytest.mark.parametrize("program", [Attention(), mean, filled], ids=["attention", "mean", "filled"])
def test_a_mask_of_ones_in_the_example_does_not_hide_padding(program):
    longer = torch.cat([torch.ones(3, 5, dtype=torch.int64), torch.zeros(3, 4, dtype=torch.int64)], 1)
    longer[0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(
            program, (X, ONES), (X, RIGHT), (-X, ONES), (torch.randn(3, 9, 4), longer), (X[:1, :5], ONES[:1, :5]),
            free=((0, 1), (0, 1)), atol=1e-5,
        )  # fmt: skip


def test_where_no_axis_is_dynamic():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(mean, (X, ONES), (X, LEFT), (-X, RIGHT), free=((), ()))


def positive_part(x, mask):
    if mask.all():
        return x.relu()
    return x * mask[..., None]


def by_floats(x, mask):
    if x.mean() > 0:
        return x.relu()
    return x * 1.0


def both(x, mask):
    sign = 1.0 if x.mean() > 0 else -1.0
    return positive_part(x, mask) * sign * sign


@pytest.mark.parametrize("program", [positive_part, by_floats, both])
def test_sides_that_only_look_alike_on_the_example_are_told_apart(program):
    with pytest.warns(NobucoWarning, match="explore_branches=True"):
        model = converted(program, (X, ONES), ((), ()), nobuco.ChannelOrder.PYTORCH)
    assert torch.equal(nobuco.t_keras2pytorch(model([(-X).numpy(), ONES.numpy()])), torch.zeros_like(X))


def replaced(x):
    return torch.nan_to_num(x)


def skipped(x):
    return torch.where(x != x, 0.0, x)


def summed(x):
    return torch.nansum(x, 1)


def cut(x):
    return x.masked_fill(torch.isinf(x), 0.0)


@pytest.mark.parametrize("program", [replaced, skipped, summed, cut])
@pytest.mark.parametrize("length", [3, 6], ids=["left out", "done"])
def test_what_is_done_for_nan_alone_is_no_shortcut(program, length):
    def decides(x):
        if x.shape[1] > 4:
            return program(x) * 2
        return (x.sum(1) if program is summed else x) * 2

    x = torch.randn(2, length)
    with pytest.warns(NobucoWarning, match=r"x.shape\[1\] (<=|>) 4"):
        converted(decides, (x,), free=((0, 1),))


def last_token(x, mask):
    """As embedding models pool: of a mask that ends everywhere in ones, it is not known where it begins."""
    if mask[:, -1].sum() == mask.shape[0]:
        return x[:, -1]
    return x[torch.arange(x.shape[0]), mask.sum(1) - 1]


def test_sides_that_differ_for_masks_that_decide_alike():
    with pytest.warns(NobucoWarning, match="explore_branches=True"):
        model = converted(last_token, (X, ONES), ((), ()), nobuco.ChannelOrder.PYTORCH)
    assert torch.equal(nobuco.t_keras2pytorch(model([X.numpy(), LEFT.numpy()])), last_token(X, LEFT))


def looping(x, mask):
    while (mask == 0).any():
        mask = mask + 1
    return x * mask[..., None]


def test_a_loop_that_would_not_end_is_left_as_it_is():
    with pytest.warns(NobucoWarning, match="takes a value that depends on the input"):
        converted(looping, (X, ONES), ((), ()))


def refusing(x, mask):
    if (mask > 1).any():
        raise ValueError("a mask of ones and zeros")
    return x * mask[..., None]


def test_what_the_program_refuses_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(refusing, (X, ONES), (X, LEFT), free=((0, 1), (0, 1)))


class Positions(nn.Module):
    """As DINOv2 has it: positions of as many patches as it was made for are taken as they are."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 5, 4, 4))

    def forward(self, x):
        if x.shape[2] == self.table.shape[2] and x.shape[3] == self.table.shape[3]:
            return x + self.table
        return x + F.interpolate(self.table, size=x.shape[2:], mode="bilinear", align_corners=False)


def windows(x):
    height, width = -(-x.shape[2] // 2) * 2, -(-x.shape[3] // 2) * 2
    if height != x.shape[2] or width != x.shape[3]:
        x = F.interpolate(x, size=(height, width), mode="bilinear")
    return x.unflatten(2, (height // 2, 2)).mean(3)


def cropped(x):
    n = x.shape[2] + 3
    y = F.pad(x, (0, 0, 0, 3))
    if n % 2 == 0:
        return y[:, :, : n // 2 * 2]
    return y[:, :, : n // 2 * 2 + 1]


@pytest.mark.parametrize("program", [Positions(), windows, cropped], ids=["positions", "windows", "cropped"])
def test_a_size_that_needs_no_work_on_the_example(program):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(
            program, (torch.randn(1, 5, 4, 4),), (torch.randn(2, 5, 7, 9),), (torch.randn(3, 5, 2, 3),),
            free=((0, 2, 3),), atol=1e-5,
        )  # fmt: skip


@pytest.mark.parametrize("limit", [9, 5000])  # within reach of a run, and not
def test_sizes_that_the_program_refuses_are_no_warning_and_are_refused(limit):
    def limited(x):
        if x.shape[1] > limit:
            raise ValueError("too long")
        return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model = converted(limited, (torch.rand(2, 6),), ((1,),))
    assert model(torch.rand(2, limit).numpy()).shape == (2, limit)
    with pytest.raises(InputError, match=rf"x.shape\[1\] <= {limit}"):
        model(torch.rand(2, limit + 1).numpy())


def grown(x):
    if x.shape[1] > 5000:
        x = x * 2
    return x + 1


def test_a_side_that_no_run_takes_is_told():
    with pytest.warns(NobucoWarning, match=r"x.shape\[1\] <= 5000"):
        converted(grown, (torch.rand(2, 6),), ((1,),))


def of_sizes_alone(x):
    positions = torch.arange(x.shape[1])
    if (positions.diff() != 1).any():
        return x
    return x * positions


def test_a_truth_value_of_sizes_alone_is_no_value_of_an_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        check_sizes(of_sizes_alone, (torch.rand(2, 6),), (torch.rand(3, 9),), free=((0, 1),))


def test_pytorch_is_what_trials_are_compared_with():
    """Where the mask is all ones, PyTorch takes the short way, and the converted model the long one."""
    _, report = _reported(mean, X, ONES)
    assert report.ok and len(report.trials) == 2


def _reported(program: Any, *args: torch.Tensor) -> Any:
    return nobuco.pytorch_to_keras(program, list(args), return_report=True, verbose=False)
