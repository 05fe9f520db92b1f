"""Dynamic sizes given to what takes numbers only: the model keeps the example's, and tells where it is right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco import ChannelOrder, InputError
from tests.parity import told

PYTORCH = ChannelOrder.PYTORCH
KERNEL = torch.rand(1, 2, 3)


def converted(program, x, **options):
    (model, report), warned = told(program, x, input_shapes={x: (1, 2, None)}, return_report=True, **options)
    return model, report, warned


def assert_same(model, program, x):
    with torch.no_grad():
        wanted = program(x)
    got = torch.as_tensor(model(x.numpy()).numpy())
    assert got.dtype == wanted.dtype
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


# What to call, the region, and a length within it.
KEPT = {
    "padding": (lambda x: F.conv1d(x, KERNEL, padding=x.shape[2] // 4), "x.shape[2] // 4 == 3", 15),
    "stride": (lambda x: F.conv1d(x, KERNEL, stride=x.shape[2] // 4), "x.shape[2] // 4 == 3", 13),
    "dilation": (lambda x: F.conv1d(x, KERNEL, dilation=x.shape[2] // 4), "x.shape[2] // 4 == 3", 14),
    "window": (lambda x: F.lp_pool1d(x, 2, x.shape[2] // 4), "x.shape[2] // 4 == 3", 15),
    "degree": (lambda x: x.norm(p=x.shape[2] // 4, dim=2), "x.shape[2] // 4 == 3", 15),
    "slope": (lambda x: F.leaky_relu(x, 1 / x.shape[2]), "1 / x.shape[2] == 0.08333333333333333", 12),
    "decimals": (lambda x: x.round(decimals=x.shape[2] // 4), "x.shape[2] // 4 == 3", 14),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_number_is_kept_and_told(case):
    program, region, within = KEPT[case]
    model, report, said = converted(program, torch.randn(1, 2, 12))
    assert report.ok
    assert [condition.region for condition in report.conditions] == [region]
    assert len(said) == 1
    assert "test_kept_sizes.py" in said[0]
    assert region in said[0]
    assert_same(model, program, torch.randn(1, 2, within))
    with pytest.raises(InputError, match="right where"):
        model(torch.randn(1, 2, 40).numpy())


# What takes sizes as tensors, or needs none of them, in the end.
FREE = {
    "classes": lambda x: F.one_hot(torch.arange(3), x.shape[2]) * x[0, 0, 0].long(),
    "a shape that is not looked at": lambda x: F.layer_norm(x, (x.shape[2],)),
    "a size among integers": lambda x: torch.where(x > 0, x.shape[2], 0),
    "differences": lambda x: x.diff(n=2) + x.shape[2],
}


@pytest.mark.parametrize("case", FREE)
def test_where_nothing_is_kept_nothing_is_said(case):
    model, report, said = converted(FREE[case], torch.randn(1, 2, 12))
    assert report.ok
    assert not said
    for length in (5, 12, 31):
        assert_same(model, FREE[case], torch.randn(1, 2, length))


def test_what_fails_with_numbers_too_fails_as_it_did():
    @nobuco.traceable
    def scaled(x, n):
        return x * n

    @nobuco.converter(scaled)
    def convert(x, n):
        return lambda x, n: [][n]

    with pytest.raises(nobuco.ConverterError, match="scaled"):
        converted(lambda x: scaled(x, x.shape[2]), torch.randn(1, 2, 12))


def test_without_trials_what_may_be_right_is_told_and_not_refused():
    program = FREE["a shape that is not looked at"]
    model, report, said = converted(program, torch.randn(1, 2, 12), full_validation=False)
    assert [condition.is_exact for condition in report.conditions] == [False]
    assert len(said) == 1
    assert_same(model, program, torch.randn(1, 2, 31))


def either(x):
    return torch.cond(x.sum() > 0, lambda x: F.elu(x, x.shape[2]), lambda x: x * 2, (x,))


def explored(x):
    return F.elu(x, x.shape[2]) if x.sum() > 0 else x * 2


@pytest.mark.parametrize(("program", "options"), [(either, {}), (explored, {"explore_branches": True})])
def test_a_number_that_a_branch_keeps_is_told(program, options):
    x = torch.linspace(-1, 2, 24).reshape(1, 2, 12)
    model, report, said = converted(program, x, **options)
    assert report.ok
    assert [condition.region for condition in report.conditions] == ["x.shape[2] == 12"]
    assert len(said) == 1
    for within in (x, -x):
        assert_same(model, program, within)
    with pytest.raises(InputError, match="right where"):
        model(torch.rand(1, 2, 40).numpy())
