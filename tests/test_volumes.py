"""Convolutions of volumes in files: images to XNNPACK, PyTorch's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from tests.parity import check_parity, convert

LAYERS = {
    "r3d": lambda: nn.Conv3d(4, 6, 3, padding=1),
    "spatial": lambda: nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)),
    "temporal": lambda: nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)),
    "temporal, in steps": lambda: nn.Conv3d(4, 6, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0), dilation=(2, 1, 1)),
    "patches": lambda: nn.Conv3d(4, 6, (2, 4, 4), stride=(2, 4, 4)),
    "in steps": lambda: nn.Conv3d(4, 6, 3, stride=2, padding=1, bias=False),
    "dilated": lambda: nn.Conv3d(4, 6, (3, 2, 3), dilation=(2, 1, 2)),
    "same": lambda: nn.Conv3d(4, 6, (2, 3, 4), padding="same"),
    "one": lambda: nn.Conv3d(4, 6, 1, stride=(1, 2, 1)),
    "upwards": lambda: nn.ConvTranspose3d(4, 6, 2, stride=2),
    "upwards, unequal": lambda: nn.ConvTranspose3d(4, 6, (1, 3, 2), stride=(1, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_no_convolution_of_volumes_is_left(name: str) -> None:
    model = check_parity(LAYERS[name](), torch.randn(2, 4, 7, 8, 9), orders=[ChannelOrder.TENSORFLOW], tflite=True)
    operations = tflite_operations(to_tflite(model))
    assert not operations.keys() & {"CONV_3D", "CONV_3D_TRANSPOSE"}


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_a_dynamic_axis(axis: int) -> None:
    layer = nn.Conv3d(3, 5, 3, stride=(1, 2, 1), padding=1)
    sizes: list[Any] = [2, 3, 6, 8, 7]
    shape, larger = (tuple(n if i == axis else size for i, size in enumerate(sizes)) for n in (None, 11))
    model = convert(layer, torch.randn(2, 3, 6, 8, 7), input_shapes={0: shape}, order="nhwc")
    x = torch.randn(larger)
    got = run_tflite(to_tflite(model), [nobuco.t_pytorch2keras(x, ChannelOrder.TENSORFLOW)])[0]
    with torch.no_grad():
        np.testing.assert_allclose(nobuco.t_keras2pytorch(got, ChannelOrder.TENSORFLOW), layer(x), rtol=1e-4, atol=1e-5)


def test_volumes_in_eight_bits() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 4, 3, stride=2))
    samples = [torch.randn(1, 3, 6, 10, 10) for _ in range(8)]
    model = convert(layer, *samples[:1], order="nhwc")
    feeds = [nobuco.t_pytorch2keras(x, ChannelOrder.TENSORFLOW).numpy() for x in samples]
    data = to_tflite(model, precision="int8", representative=feeds)
    with torch.no_grad():
        expected = layer(samples[0]).numpy()
    error = nobuco.t_keras2pytorch(run_tflite(data, feeds[:1])[0], ChannelOrder.TENSORFLOW).numpy() - expected
    assert 10 * np.log10(np.square(expected).mean() / np.square(error).mean()) > 30
