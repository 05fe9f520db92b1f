"""The calls that conformance makes of PyTorch's samples: which are random, which sizes they are tried at."""

from __future__ import annotations

import itertools

import pytest
import torch

import nobuco
from nobuco.registry import Sample
from pytest_nobuco.converters import samples
from pytest_nobuco.converters.calls import attempt
from pytest_nobuco.converters.resize import grown, resized


def test_matrices_grown_in_blocks_keep_their_factors():
    a = torch.randn(4, 4)
    a = a @ a.T + torch.eye(4)
    assert torch.linalg.cholesky_ex(grown(a, [0, 1])).info > 0
    larger = grown(a, [0, 1], blocks=True)
    assert torch.linalg.cholesky_ex(larger).info == 0
    assert torch.equal(larger[:4, :4], a)
    assert not larger[4:, :4].any()
    assert not larger[:4, 4:].any()


def test_blocks_are_of_what_grows_both_ways():
    x = torch.rand(2, 3, 4) + 1
    assert grown(x, [0, 1], blocks=True).all()
    assert grown(x, [0, 1, 2], blocks=True).shape == (4, 6, 8)
    assert grown(torch.rand(3) + 1, [0], blocks=True).all()


def test_a_call_is_tried_at_sizes_that_pytorch_takes():
    call = attempt(torch.linalg.inv, Sample((torch.randn(2, 3, 3) + 2 * torch.eye(3),)))
    found = resized(call, blocks=True)
    assert found.free == {(0, 0), (0, 1), (0, 2)}
    assert found.other.expected[0].shape == (4, 6, 6)


@pytest.mark.parametrize(("noise", "random"), [(0.0, False), (1e-8, False), (1e-3, True)])
def test_another_rounding_is_no_randomness(noise, random):
    count = itertools.count(1)

    @nobuco.traceable
    def noisy(x):
        return x + noise * next(count)

    assert attempt(noisy, Sample((torch.tensor([1.0, -4.0, 0.0]),))).random is random


def test_doubles_are_left_out_unless_there_is_nothing_else(monkeypatch):
    single, double = Sample((torch.zeros(2),)), Sample((torch.zeros(2).double(),))
    calls = {"both": [double, single], "wide": [double]}
    monkeypatch.setattr(samples, "_recorded", lambda seed: calls)
    assert samples._recorded_of(("both",), 0) == [single]
    assert samples._recorded_of(("wide",), 0) == [double]
