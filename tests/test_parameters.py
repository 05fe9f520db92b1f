"""Samples by rule: every parameter at a value that matters, and values that operations treat apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.builtin import find_converter
from nobuco.registry import Sample
from pytest_nobuco.converters.calls import attempt, outputs_of, tensors_of
from pytest_nobuco.converters.parameters import Varied, varied
from pytest_nobuco.converters.samples import source_of
from pytest_nobuco.converters.signatures import bound, parameters_of, signatures_of
from pytest_nobuco.converters.special import special


def samples_of(operation) -> list[Sample]:
    source = source_of(find_converter(operation), [operation])
    return source.draw(source.dtypes[0] if source.dtypes else None)


def varied_of(operation) -> Varied:
    return varied(operation, samples_of(operation), signatures_of(operation, find_converter(operation)))


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        (nn.Conv2d, {"stride", "padding", "dilation", "groups", "bias", "padding_mode"}),
        (nn.ConvTranspose2d, {"stride", "padding", "output_padding", "dilation", "groups", "bias"}),
        (nn.LSTM, {"num_layers", "bias", "batch_first", "bidirectional", "proj_size"}),
        (nn.BatchNorm2d, {"eps", "affine", "track_running_stats"}),
        (F.avg_pool2d, {"stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"}),
        (F.interpolate, {"mode", "align_corners", "antialias", "scale_factor", "recompute_scale_factor"}),
        (F.scaled_dot_product_attention, {"scale", "is_causal", "attn_mask"}),
        (F.pad, {"mode", "value"}),
        (torch.topk, {"k", "dim", "largest", "sorted"}),
        (torch.var, {"dim", "keepdim", "correction", "unbiased"}),
        (torch.bucketize, {"right"}),
        (torch.nan_to_num, {"nan", "posinf", "neginf"}),
    ],
)
def test_parameters_are_varied_where_pytorch_gives_something_else(operation, names):
    signatures = signatures_of(operation, find_converter(operation))
    found = varied_of(operation)
    assert names <= set(found.matter), found.reasons
    assert set(found.matter) | set(found.reasons) == {p.name for p in parameters_of(signatures)}
    defaults = {p.name: p.default for p in parameters_of(signatures)}
    given = [bound(sample, signatures) for sample in (*samples_of(operation), *found.samples)]
    for name in names:
        assert len({str(one.get(name, defaults[name])) for one in given if one is not None}) > 1, name
    assert all(outputs_of(operation, sample, 0) for sample in found.samples)


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_every_mode_of_padding_is_tried(mode):
    assert any(sample.args[0].padding_mode == mode for sample in varied_of(nn.Conv2d).samples)


def test_images_have_odd_and_unequal_sizes_and_a_batch():
    for sample in varied_of(nn.Conv2d).samples:
        *batch, _, height, width = sample.args[1].shape
        assert batch in ([], [2])
        assert height % 2 == width % 2 == 1
        assert height != width


def test_recurrent_layers_are_tried_with_a_batch_and_without():
    samples = [*samples_of(nn.LSTM), *varied_of(nn.LSTM).samples]
    ranks = {tensors_of(sample.args[1:])[0].dim() for sample in samples}
    assert ranks == {2, 3}


def test_what_is_not_varied_says_why():
    reasons = varied_of(nn.LSTM).reasons
    assert reasons["dropout"] == "at rest nothing is dropped"
    assert reasons["device"] == "where it lies"


def test_another_value_of_an_idle_parameter_alone_makes_no_sample():
    found = varied(F.relu, [Sample((torch.randn(2, 3),))], signatures_of(F.relu, find_converter(F.relu)))
    assert found.samples == ()
    assert found.reasons == {"inplace": "another spelling"}


@pytest.mark.parametrize(
    ("operation", "naive"), [(torch.log1p, lambda x: (1 + x).log()), (torch.expm1, lambda x: x.exp() - 1)]
)
def test_small_values_are_brought_to_a_size_at_which_a_lost_digit_shows(operation, naive):
    samples = special(operation, [Sample((torch.rand(3, 4),))])
    small = next(sample for sample in samples if sample.kind == "small")
    right, wrong = (small.program(function, *small.args) for function in (operation, naive))
    assert 0.9 < right.abs().max() < 1.1
    assert (right - wrong).abs().max() > 1e-4


def test_values_have_ties_zeros_negatives_and_what_is_not_finite():
    numbers, not_finite, *_ = (sample.args[0] for sample in special(torch.round, [Sample((torch.randn(4),))]))
    for value in (0.5, -2.5, 0.0, 90.0):
        assert (numbers == value).any()
    assert not_finite.isnan().any()
    assert not_finite.isinf().any()


def test_what_is_not_element_by_element_gets_ties():
    sample, *_ = special(torch.argmax, [Sample((torch.randn(4, 5),), {"dim": 1})])
    values = sample.args[0]
    assert values.unique().numel() < values.numel()
    assert sample.kwargs == {"dim": 1}


def test_what_a_call_writes_besides_is_compared():
    mean, var = torch.zeros(3), torch.ones(3)
    call = attempt(F.batch_norm, Sample((torch.randn(2, 3, 4), mean, var), {"training": True, "momentum": 0.5}))
    assert call.written == (1, 2)
    assert [array.shape for array in call.expected] == [(2, 3, 4), (3,), (3,)]
    assert not mean.any()
    at_rest = attempt(F.batch_norm, Sample((torch.randn(2, 3, 4), mean, var)))
    assert at_rest.written == ()
