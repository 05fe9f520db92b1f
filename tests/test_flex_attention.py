"""Higher-order operators whose kernel is traced: `flex_attention`, and others that PyTorch writes in its own calls."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from tests.parity import ORDERS, assert_converts
from tests.sizes import check_sizes

SLOPES = torch.tensor([0.5, 0.25])
TABLE = torch.linspace(-2, 2, 62).reshape(2, 31)


def causal(query):
    length = query.shape[2]
    mask = create_block_mask(lambda b, h, i, j: (i >= j) & (i - j < 4), None, None, length, length, device="cpu")
    return flex_attention(query, query, query, block_mask=mask)


def biased(query):
    return flex_attention(query, query, query, score_mod=lambda score, b, h, i, j: score + SLOPES[h] * (i - j).abs())


def looked_up(query):
    return flex_attention(query, query, query, score_mod=lambda score, b, h, i, j: score + TABLE[h, i - j + 15])


def grouped(query):
    return flex_attention(
        query, query[:, :1], query[:, :1], enable_gqa=True, score_mod=lambda score, *_: torch.tanh(score / 5) * 5
    )


@pytest.mark.parametrize(
    "program", [causal, *(pytest.param(one, marks=pytest.mark.full) for one in (biased, looked_up, grouped))]
)
def test_flex_attention(program):
    sizes = ((1, 2, 11, 8), (3, 2, 5, 8), (2, 2, 16, 8))
    check_sizes(program, *((torch.randn(size),) for size in sizes), free=[(0, 2)], orders=ORDERS[1:])


def test_a_product_into_another_dtype():
    from torch._higher_order_ops.out_dtype import out_dtype

    x = torch.randint(-100, 100, (3, 4), dtype=torch.int8)
    assert_converts(lambda a: out_dtype(torch.ops.aten.mm.default, torch.int32, a, a.t()), x)


def test_a_region_that_is_compiled_once():
    region = torch.compiler.nested_compile_region(lambda x: x.sin() + 1)
    assert_converts(lambda x: region(x) * 2, torch.randn(3, 4))
