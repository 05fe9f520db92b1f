"""Floats made of sizes have Python's 64 bits: where they become sizes again, the last digit decides."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco.export.tflite_file import run_tflite, to_tflite

LENGTHS = (57, 64, 70, 100, 115, 128)

PROGRAMS = {
    "int": lambda x: x[: int(x.shape[0] * 0.29)],
    "floor and ceil": lambda x: x[:1] + math.floor(x.shape[0] * 1.1) + 1000 * math.ceil(x.shape[0] * 1.1),
    "round": lambda x: x[: round(x.shape[0] * 0.35)],
    "floor division": lambda x: x[:1] + x.shape[0] * 0.1 // 0.1,
    "arange": lambda x: (torch.arange(0, x.shape[0] * 0.1, 0.1), torch.arange(0, 1, 1 / x.shape[0])),
    "interpolate": lambda x: F.interpolate(x.T[None], scale_factor=0.29),
    "a tensor of 64 bits": lambda x: x.double() / x.shape[0] ** 0.5 + torch.tensor(1 / x.shape[0], dtype=torch.float64),
    "whole numbers stay float32": lambda x: (x.long() * (x.shape[0] / 2), torch.tensor([x.shape[0] / 4, 1])),
    "the exponent of the next power of two": lambda x: x * math.ceil(math.log2(x.shape[0])),
    "a power, and what it leaves": lambda x: x * pow(x.shape[0], 2, 7) + pow(x.shape[0], 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_python_has_it(name: str) -> None:
    program: Callable[..., Any] = PROGRAMS[name]
    x = torch.randn(8, 2)
    order = nobuco.ChannelOrder.PYTORCH
    model = nobuco.pytorch_to_keras(
        program, [x], input_shapes={x: (None, 2)}, outputs_channel_order=order, verbose=False
    )
    for length in LENGTHS:
        x = torch.randn(length, 2)
        got, expected = model(x.numpy()), program(x)
        got, expected = (each if isinstance(each, (list, tuple)) else [each] for each in (got, expected))
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
            exact = 1e-14 if theirs.dtype == torch.float64 else 1e-5
            np.testing.assert_allclose(ours, theirs, rtol=exact, atol=exact)


@pytest.mark.parametrize(
    ("program", "size"),
    [
        (lambda x: x[: int(x.shape[0] * 0.29)], 100),
        (lambda x: x.new_zeros(math.ceil(x.shape[0] * 1.1)), 50),
        (lambda x: x[: int(x.shape[0] / 3) + round(x.shape[0] * 0.5) + math.isqrt(x.shape[0])], None),
        (lambda x: F.interpolate(x.T[None], scale_factor=0.5), None),
        (lambda x: x[: int(x.mean())], None),
    ],
)
def test_a_file_of_32_bits_tells_where_it_is_another(program: Callable[..., Any], size: int | None) -> None:
    x = torch.randn(8, 2)
    model = nobuco.pytorch_to_keras(program, [x], input_shapes={x: (None, 2)}, verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = to_tflite(model)
    told = [str(one.message) for one in caught if issubclass(one.category, nobuco.NobucoWarning)]
    assert len(told) == (size is not None) and all(f"where a size is {size};" in message for message in told)
    if size is not None:
        x = torch.randn(size, 2)
        assert run_tflite(file, [x.numpy()])[0].shape != program(x).shape == tuple(model(x.numpy()).shape)
