"""An item of a model runs it on other values than the example's: which, and who is to blame where it is wrong there."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from conformance.torchvision_models import torchvision
from nobuco.trace.unchecked import refusing_unchecked
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.gate import Bound
from pytest_nobuco.models.backend import Form, NobucoBackend
from pytest_nobuco.models.witness import with_other_values

BACKEND = NobucoBackend()
DEFAULT = Bound(None, None, "default of the dtype")


class Remembering(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2) + x


class Picky(nn.Module):
    def forward(self, x):
        torch._assert(bool((x == 2).all()), "two, and nothing else")
        return x + 1


def test_boxes_and_limits_stay_what_they_are():
    boxes = torch.tensor([[[1, 0, 5, 4], [2, 3, 4, 8]]], dtype=torch.float32)
    others, limits, ids = with_other_values((boxes, torch.arange(5.0), torch.tensor([[3, 1, 2]])))
    assert others.tolist() == [[[1.5, 2.25, 3, 6], [0.75, 0, 3.75, 3]]]
    assert limits.tolist() == [0, 0.75, 1.5, 2.25, 3]
    assert ids.tolist() == [[2, 1, 3]]
    assert with_other_values((torch.ones(2, 3, dtype=torch.bool),)) is None


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint64, torch.int8, torch.bool, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("shape", [(), (0, 4), (1, 1, 5), (2, 3)])
def test_tensors_of_each_kind_and_size_have_some_or_none(dtype, shape):
    given = torch.tensor([3, 1, 0, 0, 2, 1])[: math.prod(shape)].reshape(shape).to(dtype)
    others = with_other_values((given,))
    assert others is None or (others[0].dtype, others[0].shape) == (dtype, given.shape)


def test_a_model_that_takes_no_others_has_none():
    assert BACKEND.varied(BACKEND.subject(Picky(), [torch.full((2,), 2.0)], {}, 0)) is None


@pytest.mark.filterwarnings("ignore::nobuco.NobucoWarning")
def test_what_a_model_holds_on_to_is_found_and_named():
    subject = BACKEND.subject(Remembering(), [torch.randn(2, 3)], {}, 0)
    converted = BACKEND.convert(subject, Form("", ""), {})
    np.testing.assert_allclose(BACKEND.run(converted, subject, "keras")[0], subject.expected[0])
    varied = BACKEND.varied(subject)
    assert np.abs(BACKEND.run(converted, varied, "keras")[0] - varied.expected[0]).max() > 0.1
    assert "torch.Tensor.add, with these values" in BACKEND.culprit(converted, varied, DEFAULT, "keras")


class Regions(nn.Module):
    def forward(self, x, regions):
        return torchvision().ops.roi_align(x, regions, (2, 2))


def test_regions_of_images_that_are_not_there_are_refused_before_their_kernel_reads_them():
    x, regions = torch.randn(2, 3, 8, 8), torch.tensor([[0.0, 1, 1, 5, 5], [1, 0, 2, 4, 7]])
    subject = BACKEND.subject(Regions(), [x, regions], {}, 0)
    with pytest.raises(SuiteError, match="roi_align: a region names an image that is not there"):
        BACKEND.resized(subject, [(1, 3, 8, 8), (2, 5)])
    given = {x: (None, 3, None, None), regions: (None, 5)}
    with refusing_unchecked(), pytest.raises(RuntimeError, match="not there"):
        torchvision().ops.roi_align(x, regions * torch.tensor([1e6, 1, 1, 1, 1]), (2, 2))
    with refusing_unchecked(), pytest.raises(RuntimeError, match="take minutes"):
        torchvision().ops.roi_align(x, regions * torch.tensor([1, 1e3, 1e3, 1e3, 1e3]), (2, 2))
    _, report = nobuco.pytorch_to_keras(Regions(), [x, regions], input_shapes=given, verbose=False, return_report=True)
    assert report.ok and report.trials


def test_a_branch_runs_where_regions_are_refused_and_afterwards():
    torchvision()
    x = torch.randn(2, 3)

    def branch(x):
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))

    for context in (refusing_unchecked(), contextlib.nullcontext()):
        for one in (x, -x):
            with context:
                given = branch(one)
            torch.testing.assert_close(given, torch.sin(one) if one.sum() > 0 else torch.cos(one))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total += x.mean(0)
        return x - self.total


@pytest.mark.parametrize("runtime", ["keras", "keras_file", "savedmodel", "tflite"])
def test_each_run_begins_with_the_state_of_the_conversion(runtime):
    subject = BACKEND.subject(Counting(), [torch.randn(2, 3)], {}, 0)
    converted = BACKEND.convert(subject, Form("", ""), {})
    for one in (subject, BACKEND.varied(subject), subject):
        np.testing.assert_allclose(BACKEND.run(converted, one, runtime)[0], one.expected[0], rtol=1e-5, atol=1e-6)
