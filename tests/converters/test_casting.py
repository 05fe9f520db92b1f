"""Parity of changes of dtype and of calls that change nothing."""

from __future__ import annotations

import pytest
import torch

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_to_dtype(check, dtype):
    x = torch.tensor([[[0.0, 1.0, 2.75], [3.25, 100.0, 7.5]]])
    check(lambda x: (x.to(dtype), x.type(dtype), x.to(dtype=dtype, copy=True), x.to("cpu", dtype)), x)


@pytest.mark.parametrize(
    "name", ["float", "double", "half", "bfloat16", "int", "long", "short", "char", "byte", "bool"]
)
def test_methods(check, name):
    check(lambda x: (getattr(x, name)(), getattr(x > 1, name)()), torch.tensor([[0.0, 1.0, 2.75, 100.0]]))


def test_truncates_towards_zero(check):
    check(lambda x: (x.int(), x.to(torch.int64), x.bool()), torch.tensor([-1.9, -0.5, 0.0, 0.5, 1.9]))


def test_to_the_dtype_of_another(check):
    x, y = torch.randn(2, 3, 4), torch.ones(2, 3, 4, 5, dtype=torch.int32)
    check(lambda x, y: (x.to(y), x.type_as(y), y.to(x), y.type_as(x[0, 0, 0])), x, y)
    check(lambda x, y: (x.type_as(y), y.to(x)), torch.randn(2, 3).half(), torch.randn(2, 3))


def test_legacy_types(check):
    check(
        lambda x: (x.type(torch.LongTensor), x.type("torch.HalfTensor"), x.type(torch.FloatTensor)),
        torch.randn(2, 3),
    )


def test_calls_that_change_nothing(check):
    def still(x):
        y = x.clone().contiguous().detach().cpu().to("cpu").requires_grad_(False)
        return (
            y.to(memory_format=torch.contiguous_format).data,
            x.real,
            torch.real(x),
            +x,
            x.conj(),
            x.to(torch.float32),
        )

    check(still, torch.randn(2, 3, 4, 5))


def test_what_follows_still_sees_the_channel_order(check):
    check(lambda x: x.half().float().mean((2, 3)) + x.int().float().sum(1)[:, 0, :3], torch.randn(2, 3, 4, 5))
