"""Models in float16 and bfloat16 as TFLite files, which compute them in float32; and what is said of float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from tests.parity import convert

PYTORCH = nobuco.ChannelOrder.PYTORCH
SHORT = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
IMAGE, SEQUENCE = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 8)


class Counting(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.register_buffer("total", torch.zeros(3, dtype=dtype))

    def forward(self, x):
        self.total += x
        return self.total * 2


def assert_matches(program, *args):
    """The file gives what PyTorch gives, to some units in the last place of the dtype."""
    data = to_tflite(convert(program, *args))
    (got,) = run_tflite(data, [nobuco.t_pytorch2keras(x, PYTORCH) for x in args])
    with torch.no_grad():
        expected = program(*args)
    assert str(expected.dtype) == f"torch.{got.dtype}"
    short = expected if expected.is_floating_point() else args[0]
    eps = torch.finfo(short.dtype if short.dtype.itemsize == 2 else args[0].dtype).eps
    wanted = expected.double().numpy()
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=8 * eps, atol=8 * eps * np.abs(wanted).max())
    return data


@SHORT
@pytest.mark.parametrize(
    ("network", "example"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.AvgPool2d(2), nn.Flatten()), IMAGE),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), SEQUENCE),
        (nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.Softmax(-1)), SEQUENCE),
    ],
    ids=["image", "attention", "sequence"],
)
def test_networks(network, example, dtype):
    assert_matches(network.to(dtype).eval(), example.to(dtype))


@SHORT
def test_a_loop(dtype):
    gru = nn.GRU(8, 4, batch_first=True).to(dtype).eval()
    assert_matches(lambda x: gru(x)[0], torch.randn(1, 70, 8).to(dtype))


@SHORT
@pytest.mark.parametrize(
    "compute",
    [
        lambda x: torch.erf(x) + torch.log1p(x.abs()),
        lambda x: x.view(torch.int16),
        lambda x: x.argmax(1),
        lambda x: torch.where(x > 0.5, x, 1.0).cumsum(1),
        lambda x: F.pad(x, (1, 2)).amax(-1),
        lambda x: torch.full_like(x, 0.1),
    ],
    ids=["functions", "bits", "places", "comparison", "padding", "constant"],
)
def test_operations(compute, dtype):
    assert_matches(compute, IMAGE.to(dtype))


@SHORT
def test_a_cast_rounds(dtype):
    program = lambda x: x.to(dtype).float() - x  # noqa: E731
    (got,) = run_tflite(to_tflite(convert(program, SEQUENCE)), [SEQUENCE.numpy()])
    np.testing.assert_array_equal(got, program(SEQUENCE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_write_of_another_dtype(check, dtype):
    def program(x, y):
        x = x.clone()
        x[0], x[1:, ::2] = y[1], y[0, 0]
        return x

    check(program, torch.randn(2, 3).half(), torch.randn(2, 3).to(dtype))


def test_weights_of_16_bits_are_stored_so():
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)).eval()
    sizes = [len(to_tflite(convert(network.to(dtype), IMAGE.to(dtype)))) for dtype in (torch.float16, torch.float32)]
    assert sizes[0] < 0.6 * sizes[1]
    data = assert_matches(network.half(), IMAGE.half())
    assert tflite_operations(data)["CONV_2D"] == 2


@SHORT
def test_what_is_expanded(dtype):
    assert_matches(lambda x: x[:, :1].expand(5, 3), SEQUENCE[0].to(dtype))


@SHORT
def test_a_product_of_no_terms(dtype):
    assert_matches(lambda x: x[:, :0] @ x[:0] + x, SEQUENCE[0].to(dtype))


def test_a_state_of_16_bits_is_refused_with_a_way_out():
    model = convert(Counting(torch.float16), torch.ones(3).half())
    with pytest.raises(nobuco.ExportError, match=r"keeps no state of 16 bits: .* states='arguments'"):
        to_tflite(model)
    data = to_tflite(model, states="arguments")
    got = run_tflite(data, [np.ones(3, "float16"), np.full(3, 4, "float16")])
    assert sorted(float(array[0]) for array in got) == [5, 10]


@pytest.mark.parametrize(
    ("program", "way"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double(), r"\(in .*\b0\b.*\); .*convert `model.float\(\)`"),
        (lambda x: torch.fft.fft(x).abs(), r"FFT.*compute in complex64"),
    ],
    ids=["network", "transform"],
)
def test_floats_of_64_bits_are_refused_with_a_way_out(program, way):
    with pytest.raises(nobuco.ExportError, match=way) as raised:
        to_tflite(convert(program, IMAGE.double()))
    assert len(str(raised.value)) < 400 and raised.value.operations


def test_what_tflite_lacks_is_told_with_its_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 4)

        def forward(self, x):
            return torch.poisson(self.body(x).abs())

    lacks = r"TFLite does not have RandomPoissonV2 \(in random_poisson\); allow_flex=True"
    with pytest.raises(nobuco.ExportError, match=lacks):
        to_tflite(convert(Net(), SEQUENCE))
