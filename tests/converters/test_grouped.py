"""Products of matrices by groups against PyTorch."""

from __future__ import annotations

import pytest
import torch

import nobuco

pytestmark = pytest.mark.skipif(not hasattr(torch, "_grouped_mm"), reason="this PyTorch has no products by groups")


def ends(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def multiplied(a, b, offs):
    return torch._grouped_mm(a, b, offs=offs)


@pytest.mark.parametrize("offs", [ends(4, 4, 12), ends(0, 5, 12), ends(12, 12, 12)], ids=str)
def test_rows_by_group(check, offs):
    """An expert may have no token, or all."""
    check(multiplied, torch.randn(12, 8), torch.randn(3, 8, 16), offs, tflite=True)


def test_rows_fewer_than_groups(check):
    check(multiplied, torch.randn(3, 8), torch.randn(6, 8, 16), ends(0, 1, 1, 2, 2, 3), tflite=True)


def test_columns_by_group(check):
    check(multiplied, torch.randn(2, 5, 8), torch.randn(8, 12), ends(4, 12), tflite=True)


def test_sums_by_group(check):
    check(multiplied, torch.randn(8, 12), torch.randn(12, 4), ends(4, 12), tflite=True)


def test_batch(check):
    check(lambda a, b: torch._grouped_mm(a, b), torch.randn(2, 4, 8), torch.randn(2, 8, 4), tflite=True)


def test_other_groups_than_those_of_the_example():
    a, b, offs = torch.randn(12, 8), torch.randn(3, 8, 16), ends(4, 4, 12)
    model = nobuco.pytorch_to_keras(
        multiplied, [a, b, offs], verbose=False, inputs_channel_order=nobuco.ChannelOrder.PYTORCH
    )
    other = ends(1, 9, 12)
    expected = torch._grouped_mm(a, b, offs=other)
    torch.testing.assert_close(torch.from_numpy(model([a, b, other]).numpy()), expected)


@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="this PyTorch does not have the public name")
def test_by_its_public_name(check):
    check(lambda a, b, offs: torch.nn.functional.grouped_mm(a, b, offs=offs),
          torch.randn(12, 8), torch.randn(3, 8, 16), ends(4, 6, 12))  # fmt: skip
