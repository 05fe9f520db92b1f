"""Padding in every mode and rank, with negative amounts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.lite import ops_of


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pad", [(1, 2), (0, 3), (-1, -1), (2, -1), (0, 0)])
def test_constant(check, rank, pad):
    x = torch.randn(*range(3, 3 + rank))
    check(lambda x: F.pad(x, pad), x)
    check(lambda x: F.pad(x, pad * min(rank, 3), value=1.5), x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [True, False])
def test_modes(check, mode, n, batch):
    x = torch.randn(2, 3, *range(4, 4 + n))
    x = x if batch else x[0]
    check(lambda x: F.pad(x, (1, 1) * n, mode=mode), x)
    check(lambda x: F.pad(x, (2, 0, 0, 1, 3, 2)[: 2 * n], mode), x)


@pytest.mark.parametrize("mode", ["replicate", "circular"])
def test_negative(check, mode):
    check(lambda x: F.pad(x, (-1, 2, 1, -2), mode=mode), torch.randn(1, 2, 5, 6))


@pytest.mark.parametrize(
    "module",
    [
        nn.ZeroPad2d((1, 0, 2, 1)),
        nn.ConstantPad1d(2, 0.5),
        nn.ReflectionPad2d(2),
        nn.ReplicationPad2d((1, 2, 0, 3)),
        nn.CircularPad2d(1),
        nn.ConstantPad3d(1, -1.0),
    ],
    ids=str,
)
def test_modules(check, module):
    n = int(type(module).__name__[-2])
    check(module, torch.randn(1, 2, *range(4, 4 + n)), tflite=True)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.float16], ids=str)
def test_dtypes(check, dtype):
    check(lambda x: F.pad(x, (1, 1)), torch.ones(2, 3).to(dtype))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("amounts", [(1, 2, 0, 3), (7, 6, 5, 9), (-1, 2, 3, -2)])
def test_wide_edges(check, mode, amounts):
    check(lambda x: F.pad(x, amounts, mode=mode), torch.randn(2, 3, 10, 8), tflite=True)


def test_constant_pad_nd(check):
    check(lambda x: torch.constant_pad_nd(x, (1, 2, 0, 1), 3), torch.randn(2, 3, 4, 5))


# TFLite's MIRROR_PAD goes element by element.
_EDGES = ["STRIDED_SLICE", "STRIDED_SLICE", "CONCATENATION"] * 2


@pytest.mark.parametrize(("mode", "expected"), [("constant", ["PAD"]), ("reflect", _EDGES), ("replicate", _EDGES)])
def test_tflite_operations(mode, expected):
    assert ops_of(lambda x: F.pad(x, (1, 1, 1, 1), mode=mode), torch.randn(1, 2, 5, 5)) == expected
