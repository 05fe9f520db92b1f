"""Numbers rounded to the steps of a quantised tensor, and models that are prepared for quantisation."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

import nobuco
from nobuco.errors import ConverterError
from tests.sizes import check_sizes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.ao import quantization

ORDER = (nobuco.ChannelOrder.PYTORCH,)
NAN, INF = float("nan"), float("inf")
NUMBERS = torch.tensor([NAN, INF, -INF, 1e30, -1e30, 1e19, 1e18, 0.5, 1.5, 2.5, -0.05, 100.0, -0.0, 3.0])
SCALE, ZERO = torch.tensor([0.1, 1.0]), torch.tensor([3, -2], dtype=torch.int32)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3])
@pytest.mark.parametrize("zero", [0, 3])
def test_one_scale(check, scale, zero):
    check(lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero, -8, 7), NUMBERS, tflite=True)
    steps, place = torch.tensor([scale]), torch.tensor([zero], dtype=torch.int32)
    check(lambda x: torch.fake_quantize_per_tensor_affine(x, steps, place, -128, 127), NUMBERS, tflite=True)


@pytest.mark.parametrize("zero", [ZERO, torch.tensor([0.3, -2.0])], ids=["whole", "floats"])
def test_a_scale_for_each_channel(check, zero):
    numbers = torch.stack([NUMBERS, NUMBERS])[None]
    check(lambda x: torch.fake_quantize_per_channel_affine(x, SCALE, zero, 1, -8, 7), numbers, tflite=True)
    check(lambda x: torch.fake_quantize_per_channel_affine(x, SCALE, zero, 0, -2, 15), numbers[0].half())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quantise, self.restore = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(self.quantise(x))))
        return self.restore(self.head(x.mean((2, 3))))


@pytest.fixture
def prepared():
    """A network prepared for quantisation that has seen some images, and observes no more."""
    model = Net().train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.prepare_qat(model, inplace=True)
    for _ in range(3):
        model(torch.randn(2, 3, 8, 8))
    return model.eval().apply(quantization.disable_observer)


def test_a_network_prepared_for_quantisation(prepared):
    # An element that lies between two steps may go to either.
    check_sizes(prepared, (torch.randn(1, 3, 8, 8),), (torch.randn(3, 3, 8, 8),), free=[[0]], orders=ORDER, atol=0.05)


def test_a_network_that_does_not_round(prepared):
    model = copy.deepcopy(prepared).apply(quantization.disable_fake_quant)
    check_sizes(model, (torch.randn(1, 3, 8, 8),), (torch.randn(3, 3, 8, 8),), free=[[0]], orders=ORDER)


def test_an_observer_that_is_on_is_refused(prepared):
    with pytest.raises(ConverterError, match="disable_observer"):
        nobuco.pytorch_to_keras(prepared.apply(quantization.enable_observer), [torch.randn(1, 3, 8, 8)], verbose=False)
