"""Random numbers: drawn anew at each call, with PyTorch's shape, dtype and distribution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import torch
from scipy import stats

import nobuco
from nobuco.layers.output import called
from tests.parity import convert

N = 20_000


def converted(function, *args):
    return convert(function, *args, validation_tolerance=float("inf"))


def drawn(function, *args):
    """What a converted program gives, checked to be another thing the next time, of PyTorch's shape and dtype."""
    tf.random.set_seed(0)
    model = converted(function, *args)
    (first,), (second,) = (map(np.asarray, called(model, [x.numpy() for x in args])) for _ in range(2))
    assert not np.array_equal(first, second)
    expected = function(*(x.clone() for x in args))
    assert first.shape == tuple(expected.shape)
    assert first.dtype == nobuco.bridge.to_numpy(expected).dtype
    return first


CONTINUOUS = {
    "rand": (lambda x: x + torch.rand(N), stats.uniform()),
    "rand_like": (torch.rand_like, stats.uniform()),
    "randn": (lambda x: x + torch.randn(N), stats.norm()),
    "randn_like": (torch.randn_like, stats.norm()),
    "uniform_": (lambda x: x.clone().uniform_(-2, 3), stats.uniform(-2, 5)),
    "normal_": (lambda x: x.clone().normal_(1, 2), stats.norm(1, 2)),
    "normal, mean a tensor": (lambda x: torch.normal(x, 2.0), stats.norm(0, 2)),
    "normal, std a tensor": (lambda x: torch.normal(1.0, x + 2), stats.norm(1, 2)),
    "normal, both": (lambda x: torch.normal(x, x + 2), stats.norm(0, 2)),
    "normal, of a size": (lambda x: x + torch.normal(1.0, 2.0, (N,)), stats.norm(1, 2)),
    "exponential_": (lambda x: x.clone().exponential_(2.0), stats.expon(scale=0.5)),
    "cauchy_": (lambda x: x.clone().cauchy_(1.0, 2.0), stats.cauchy(1, 2)),
    "log_normal_": (lambda x: x.clone().log_normal_(1.0, 0.5), stats.lognorm(0.5, scale=np.e)),
    "gamma": (lambda x: torch._standard_gamma(x + 2), stats.gamma(2)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name):
    function, distribution = CONTINUOUS[name]
    got = drawn(function, torch.zeros(N))
    assert stats.kstest(got, distribution.cdf).pvalue > 1e-3


DISCRETE = {
    "randint": (lambda x: x.long() + torch.randint(3, 7, (N,)), {3: 1, 4: 1, 5: 1, 6: 1}),
    "randint_like": (lambda x: torch.randint_like(x, 3), {0: 1, 1: 1, 2: 1}),
    "random_": (lambda x: x.clone().random_(2, 4), {2: 1, 3: 1}),
    "bernoulli": (lambda x: torch.bernoulli(x + 0.3), {0: 0.7, 1: 0.3}),
    "bernoulli_": (lambda x: x.clone().bernoulli_(0.3), {0: 0.7, 1: 0.3}),
    "geometric_": (lambda x: x.clone().geometric_(0.5).clamp(max=4), {1: 4, 2: 2, 3: 1, 4: 1}),
    "poisson": (lambda x: torch.poisson(x + 1).clamp(max=2), {0: 1, 1: 1, 2: np.e - 2}),
    "binomial": (lambda x: torch.binomial(x + 2, x + 0.5), {0: 1, 1: 2, 2: 1}),
    "multinomial": (
        lambda x: torch.multinomial(x[:3] + torch.tensor([1.0, 2.0, 1.0]), N, replacement=True), {0: 1, 1: 2, 2: 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name):
    function, weights = DISCRETE[name]
    values, counts = np.unique(drawn(function, torch.zeros(N)), return_counts=True)
    assert list(values) == list(weights)
    expected = np.array(list(weights.values())) / sum(weights.values()) * N
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_a_draw_without_replacement_has_each_once_and_the_likely_first():
    weights = torch.tensor([[1.0, 0.0, 9.0, 0.0, 5.0]]).repeat(4000, 1)
    got = drawn(lambda x: torch.multinomial(x, 3), weights)
    assert (np.sort(got, 1) == [0, 2, 4]).all()
    assert (got[:, 0] == 2).mean() == pytest.approx(9 / 15, abs=0.03)


def test_a_permutation_has_each_number_once():
    got = drawn(lambda x: x.long() + torch.randperm(50), torch.zeros(50))
    assert sorted(got) == list(range(50))


def test_random_numbers_of_a_dynamic_size():
    x = torch.zeros(3, 4)
    model = nobuco.pytorch_to_keras(
        lambda x: x + torch.randn(x.shape[0], 4),
        args=[x],
        input_shapes={x: (None, 4)},
        validation_tolerance=float("inf"),
        verbose=False,
    )
    got = np.asarray(model(np.zeros((500, 4), np.float32)))
    assert stats.kstest(got.ravel(), stats.norm().cdf).pvalue > 1e-3
