"""What a TFLite file keeps of numbers that are none, and of tensors without elements."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nobuco import ChannelOrder

OPTIONS = {"tflite": True, "orders": [ChannelOrder.PYTORCH]}


def test_outputs_without_elements(check):
    check(lambda x: (x * 2, x.sum(1)), torch.zeros(0, 3), **OPTIONS)
    check(lambda x: F.adaptive_avg_pool1d(x, 2), torch.zeros(0, 3, 8), **OPTIONS)


def test_infinite_constants_stay_infinite(check):
    check(lambda x: torch.where(x > 0, torch.inf, -x * torch.inf), torch.randn(3, 4), **OPTIONS)


def test_attention_with_a_mask_of_infinities(check):
    mask = torch.full((4, 4), -torch.inf).triu(1)
    x = torch.randn(2, 4, 6)
    check(lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask), x, **OPTIONS)


def test_padding_of_nothing(check):
    for mode in ("reflect", "replicate", "circular"):
        check(lambda x, mode=mode: F.pad(x, (2, 1), mode), torch.zeros(0, 3, 8), **OPTIONS)


def test_softmax_of_a_scalar(check):
    for softmax in (F.softmax, F.softmin, F.log_softmax):
        check(lambda x, softmax=softmax: softmax(x, 0), torch.tensor(2.0), **OPTIONS)


@pytest.mark.parametrize(
    "length",
    [
        lambda x: x.norm(),
        lambda x: torch.linalg.vector_norm(x, dim=(0, 1), keepdim=True),
        lambda x: x.square().sum().sqrt(),
        lambda x: (x**2).sum(1, keepdim=True).sqrt(),
    ],
)
def test_division_by_the_norm_of_several_axes(check, length):
    """TFLite's L2_NORMALIZATION is along the last axis, and gives zeros for zeros."""
    x = torch.arange(12.0).reshape(3, 4) - 5
    x[2] = 0
    check(lambda x: x / length(x), x, **OPTIONS)
