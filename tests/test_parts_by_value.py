"""Writes to parts that a tensor names, `y[n] += 1`: to another part where the tensor has another value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import nobuco
from nobuco.export.tflite_file import run_tflite, to_tflite


def _added(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    y[n] += x[n]


def _through_a_name(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    part = y[n % 3]
    part += 1


def _a_column(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    y[:, n].mul_(3)


def _a_part_of_it(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    y[n][1:].add_(2)


def _one_after_the_other(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    y[n].copy_(x[2])
    y.select(1, 0)[n] += 5


def _from_behind(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    torch.relu_(y[-n])


def _narrowed(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    torch.narrow(y, 0, n, 2).add_(1)


def _turned(y: torch.Tensor, x: torch.Tensor, n: torch.Tensor) -> None:
    y.t()[n.int()].add_(2)


@pytest.mark.parametrize(
    "write", [_narrowed, _turned, _added, _through_a_name, _a_column, _a_part_of_it, _one_after_the_other, _from_behind]
)
def test_another_value_names_another_part(write: Callable[..., None]) -> None:
    def program(x: Any, n: Any) -> Any:
        y = x * 1
        write(y, x, n)
        return y

    model = nobuco.pytorch_to_keras(program, [torch.ones(4, 3), torch.tensor(1)], verbose=False)
    file, x = to_tflite(model), torch.randn(4, 3)
    for value in (0, 1, 2):
        n = torch.tensor(value)
        feeds = [x.numpy(), n.numpy()]
        for got in (model(feeds), run_tflite(file, feeds)[0]):
            np.testing.assert_array_equal(got, program(x, n))
