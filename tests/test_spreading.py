"""BROADCAST_TO in a file becomes TILE in place, where that is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from tests.older import fails_before
from tests.parity import convert

X = torch.randn(1, 4, 6, 8)
SPREADS = fails_before("tensorflow", "2.21", "its TFLite converter multiplies by ones in the place of TILE")
PROGRAMS = {
    "grouped keys of attention": lambda x: x[:, :, None].expand(1, 4, 3, 6, 8).reshape(1, 12, 6, 8) * 1,
    "joined": lambda x: torch.cat([x, x[:, :1].expand(1, 4, 6, 8), x[:, 2:3].expand(1, 4, 6, 8)], 1),
    "truth": lambda x: (x[..., :1] > 0).expand(1, 4, 6, 8).contiguous(),
    "int32": lambda x: (x[..., :1] * 10).int().expand(1, 4, 6, 8).contiguous(),
    "int64": lambda x: (x[:, :1] * 10).long().expand(1, 4, 6, 8).contiguous(),
    "more axes": lambda x: x[0, 0, 0].expand(2, 3, 8).contiguous(),
    "not finite": lambda x: torch.cat([x, (x[:, :1] / 0.0 - torch.inf).expand(1, 4, 6, 8)], 1),
}


KEPT = {"joined", "int32", "more axes", "not finite"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SPREADS if name in KEPT else ()) for name in PROGRAMS])
def test_tiles(name: str) -> None:
    data = to_tflite(convert(PROGRAMS[name], X))
    operations = tflite_operations(data)
    assert operations["TILE"] >= 1
    assert "BROADCAST_TO" not in operations
    np.testing.assert_array_equal(run_tflite(data, [X])[0], PROGRAMS[name](X).numpy())


@SPREADS
def test_one_shape_that_two_reach_from_different_ones() -> None:
    """TILE would need two constants where the file has one: such a file stays as it is."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1].expand(1, 4, 6, 8), x[..., :1].expand(1, 4, 6, 8)], 1)

    data = to_tflite(convert(program, X))
    assert tflite_operations(data)["BROADCAST_TO"] == 2
    np.testing.assert_array_equal(run_tflite(data, [X])[0], program(X).numpy())


def test_a_model_that_gives_the_shape_itself() -> None:
    def program(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([x[:, :1].expand(1, 4, 6, 8), x], 1), torch.tensor([1, 4, 6, 8], dtype=torch.int32)

    got = run_tflite(to_tflite(convert(program, X)), [X])
    for ours, theirs in zip(got, program(X), strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_a_size_that_only_the_running_model_knows() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1].expand_as(x), x], 1)

    model = convert(program, X, input_shapes={0: (None, 4, 6, 8)})
    x = torch.randn(3, 4, 6, 8)
    np.testing.assert_array_equal(run_tflite(to_tflite(model), [x])[0], program(x).numpy())
