"""The calls that conformance makes of PyTorch's samples: which are random, which sizes they are tried at."""

from __future__ import annotations

import itertools

import pytest
import torch

import nobuco
from nobuco.builtin import find_converter
from nobuco.registry import Sample
from pytest_nobuco.converters import samples
from pytest_nobuco.converters.apart import APART
from pytest_nobuco.converters.calls import RefusedError, attempt, choose
from pytest_nobuco.converters.conversions import together
from pytest_nobuco.converters.resize import grown, resized
from pytest_nobuco.converters.signatures import signatures_of
from pytest_nobuco.converters.special import of_quadrants, special
from pytest_nobuco.converters.traits import covering, traits_of


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
    assert [other.expected[0].shape for other in found.others] == [(4, 6, 6), (4, 3, 3), (2, 6, 6)]


def test_axes_grow_without_each_other():
    call = attempt(torch.matmul, Sample((torch.randn(2, 3), torch.randn(3, 5))))
    shapes = [[tuple(x.shape) for x in one.tensors] for one in resized(call).others]
    assert shapes == [[(4, 6), (6, 10)], [(4, 3), (3, 5)], [(2, 6), (6, 5)], [(2, 3), (3, 10)]]
    mixed = resized(call, large=True)
    sizes = [[tuple(x.shape) for x in one.tensors] for one in (mixed.call, *mixed.others)]
    assert sizes == [[(4, 3), (3, 10)], [(2, 6), (6, 5)], [(2, 3), (3, 5)], [(4, 6), (6, 10)]]
    assert len(resized(call, alone=False).others) == 1


@pytest.mark.parametrize(("noise", "random"), [(0.0, False), (1e-8, False), (1e-3, True)])
def test_another_rounding_is_no_randomness(noise, random):
    count = itertools.count(1)

    @nobuco.traceable
    def noisy(x):
        return x + noise * next(count)

    assert attempt(noisy, Sample((torch.tensor([1.0, -4.0, 0.0]),))).random is random


def test_what_is_random_and_the_same_twice_is_not_taken_for_certain():
    far = torch.arange(4.0) * 100  # far enough for the largest to stay the largest nearly always
    with pytest.raises(RefusedError, match="two runs give the same"):
        attempt(torch.nn.functional.gumbel_softmax, Sample((far,), {"hard": True}))
    assert not attempt(torch.nn.functional.dropout, Sample((far,), {"training": False})).random
    assert attempt(torch.nn.functional.gumbel_softmax, Sample((far / 100,))).random


def test_few_axes_are_free_at_once():
    calls = [attempt(torch.exp, Sample((torch.rand(2, 3, 4, 5),))) for _ in range(5)]
    subjects = [resized(call) for call in calls]
    assert [len(some) for some in together(subjects)] == [2, 2, 1]
    assert [len(some) for some in together(calls)] == [5]


def test_each_of_few_samples_is_called():
    few = [Sample((torch.rand(2, 3), dim)) for dim in (0, 1, -1)]
    called = choose([torch.cumsum, torch.Tensor.cumsum], few)
    assert [call.sample.args[1] for call in called] == [0, 1, -1]


def test_doubles_are_left_out_unless_there_is_nothing_else(monkeypatch):
    single, double = Sample((torch.zeros(2),)), Sample((torch.zeros(2).double(),))
    calls = {"both": [double, single], "wide": [double]}
    monkeypatch.setattr(samples, "_recorded", lambda: calls)
    assert samples._recorded_of(("both",)) == [single]
    assert samples._recorded_of(("wide",)) == [double]


def test_samples_are_added_until_each_trait_stands_in_one():
    x = torch.randn(3, 4)
    every = [Sample((x, n)) for n in (1, 1, -9, 2, 1, 30)]
    signatures = signatures_of(torch.roll, find_converter(torch.roll))
    found = covering(every, every[:1], signatures, lambda sample: sample)
    assert sorted(sample.args[1] for sample in found) == [-9, 2, 30]
    refused = covering(every, every[:1], signatures, lambda sample: None if sample.args[1] == 30 else sample)
    assert sorted(sample.args[1] for sample in refused) == [-9, 2]


@pytest.mark.parametrize(
    ("args", "trait"),
    [
        (("aij,Ajk",), "capitals"), (("ii->i",), "a letter twice"), (((slice(None, None, 2), None),), "[None]"),
        ((torch.tensor([1.0, float("nan")]),), "holds what is no number"),
        ((torch.tensor([1, 1]),), "holds equal ones"), ((torch.zeros(2, 2), torch.ones(1, 2)), "smaller"),
        ((torch.zeros(2, 5), 3), "has a rest"), ((-0.5,), "negative"),
    ],
)  # fmt: skip
def test_traits(args, trait):
    assert trait in {kind for _, kind in traits_of(Sample(args), ())}


@pytest.mark.parametrize(
    ("kind", "lies"),
    [("far", lambda x: x.min() > 50), ("tiny", lambda x: 0 < x.abs().max() < 0.01), ("large", lambda x: x.std() > 50)],
)
def test_numbers_of_another_size(kind, lies):
    others = set(APART) - {kind}
    (made,) = special(torch.var, [Sample((torch.randn(4, 5),))], left_out=others)
    assert lies(made.args[0])
    assert special(torch.flip, [Sample((torch.randn(4, 5), (0,)))], left_out=others) == []  # as far and as large


def test_special_values_of_what_works_on_more_than_an_element():
    x = torch.randn(4, 5)
    kinds = {
        sample.kind: sample.args
        for sample in special(torch.logcumsumexp, [Sample((x, 1))], left_out=("far", "tiny", "large"))
    }
    assert set(kinds) == {"tied", "zeros", "infinite", "masked", "NaN"}
    assert kinds["infinite"][0].isinf().sum() == 2
    assert (kinds["masked"][0] == -torch.inf).sum() == kinds["masked"][0].isinf().sum() == 1
    assert (kinds["zeros"][0] == 0).all(1).any()
    (complex_,) = of_quadrants(torch.sqrt, [Sample((torch.ones(3, dtype=torch.complex64),))])
    assert (complex_.args[0].real < 0).any() and (complex_.args[0].imag < 0).any()
    (made,) = special(torch.take, [Sample((torch.randn(5), torch.tensor([0, 3, 4])))])
    assert made.args[1].tolist() == [0, -2, -1]
    assert special(torch.gather, [Sample((x, 0, torch.tensor([[0, 3]])))], left_out=("zeros",)) == []  # takes none
