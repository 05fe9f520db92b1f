"""Orthogonal polynomials at any degree: also where a recurrence of that many steps would not end."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import nobuco
from nobuco.export.running import run_tflite
from nobuco.export.tflite_file import to_tflite

FAMILIES = [name for name in dir(torch.special) if "polynomial" in name]
PLACES = (0.0, 0.3, -0.7, 1.0, -1.0, 0.999, 1.5, -2.5, 20.0, -90.0, math.inf, -math.inf, math.nan)
DEGREES = (-1.0, -0.5, 0.0, 0.7, 1.0, 2.0, 3.9, 6.0, 7.0, 8.0, 9.0, 33.0, 128.0, 129.0, 200.0)
# PyTorch itself takes a degree that int64 has no place for as a negative one.
BEYOND = (1e19, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_degree(name):
    polynomial = getattr(torch.special, name)
    pairs = torch.tensor(list(itertools.product(PLACES, DEGREES + BEYOND)))
    example = torch.tensor([[0.3, 2.0]]).expand_as(pairs).clone()
    model = nobuco.pytorch_to_keras(lambda pair: polynomial(pair[:, 0], pair[:, 1]), [example], verbose=False)
    expected = polynomial(pairs[:, 0], pairs[:, 1]).numpy()
    (in_tflite,) = run_tflite(to_tflite(model), [pairs.numpy()])
    for got in (np.asarray(model(pairs.numpy())), in_tflite):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-5)
