"""Convolutions: every argument, as module and as function, in one to three dimensions."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from tests.lite import ops_of
from tests.parity import ORDERS
from tests.sizes import check_sizes

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def image(n: int, channels: int = 4, size: int = 9) -> torch.Tensor:
    return torch.randn(2, channels, *range(size, size + n))


ARGUMENTS = [
    {"kernel_size": 1},
    {"kernel_size": 3, "bias": False},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 2, "padding": "same", "dilation": 3},
    {"kernel_size": 3, "padding": "valid", "stride": 3},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 2},
    {"kernel_size": 3, "groups": 2, "padding": 1},
    {"kernel_size": 3, "groups": 2, "stride": 2, "dilation": 2, "padding": 2},
    {"kernel_size": 3, "groups": 4, "padding": 1, "stride": 2},
    {"kernel_size": 3, "groups": 4, "dilation": 2},
    {"kernel_size": 3, "groups": 4, "dilation": 2, "stride": 2, "bias": False},
]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_conv_module(check, n, arguments):
    check(CONV[n](4, 8, **arguments), image(n))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"kernel_size": (5, 3), "padding": (1, 2), "stride": (2, 1)},
        {"kernel_size": (2, 4), "padding": "same", "dilation": (3, 1)},
        {"kernel_size": 3, "stride": (2, 1), "groups": 4},
        {"kernel_size": 3, "dilation": (2, 1), "groups": 4, "padding": (2, 1)},
    ],
    ids=str,
)
def test_conv_unequal(check, arguments):
    check(nn.Conv2d(4, 8, **arguments), image(2), tflite=True)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_padding_modes(check, n, mode):
    check(CONV[n](4, 5, 5, padding=2, padding_mode=mode), image(n))


def test_padding_mode_same(check):
    check(nn.Conv2d(4, 5, 4, padding="same", padding_mode="reflect"), image(2))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_unbatched(check, n, groups):
    check(CONV[n](4, 6, 3, padding=1, groups=groups), image(n)[0])
    check(TRANSPOSED[n](4, 6, 3, stride=2, groups=groups), image(n)[0])
    check(lambda x: F.conv1d(x, torch.ones(3, 4, 2)), torch.randn(4, 9)) if n == 1 else None


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"padding": 1, "stride": 2},
        {"padding": "same"},
        {"groups": 2, "dilation": 2},
        {"groups": 4, "stride": 2, "padding": 1},
    ],
    ids=str,
)
def test_conv_function(check, n, arguments):
    op = getattr(F, f"conv{n}d")
    w, b = torch.randn(8, 4 // arguments.get("groups", 1), *[3] * n), torch.randn(8)
    check(lambda x: op(x, w, bias=b, **arguments), image(n))
    check(lambda x, w: op(x, w, None, **arguments), image(n), w)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": 1, "stride": 3, "bias": False},
        {"kernel_size": 2, "stride": 3, "output_padding": 2},
        {"kernel_size": 3, "dilation": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 3, "dilation": 2, "stride": 2},
        {"kernel_size": 3, "groups": 2, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 4, "groups": 4, "stride": 2, "padding": 1, "bias": False},
        {"kernel_size": 2, "groups": 2, "stride": 3},
    ],
    ids=str,
)
def test_transposed(check, n, arguments):
    module = TRANSPOSED[n](4, 8, **arguments)
    check(module, image(n, size=5))
    options = {k: v for k, v in arguments.items() if k not in ("kernel_size", "bias")}
    op = getattr(F, f"conv_transpose{n}d")
    check(lambda x: op(x, module.weight, module.bias, **options), image(n, size=5))


def test_transposed_output_size(check):
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1)

        def forward(self, x):
            return self.up(x, output_size=(10, 11))

    check(Module(), torch.randn(1, 4, 5, 6))


class Upwards(nn.Module):
    """What a U-Net does: half the size, rounded up, and back to the size that it was."""

    def __init__(self, groups: int = 1, of_all: bool = False):
        super().__init__()
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, groups=groups)
        self.of_all = of_all

    def forward(self, x):
        return x + self.up(self.down(x), output_size=x.size() if self.of_all else x.shape[2:])


@pytest.mark.parametrize("module", [Upwards(), Upwards(groups=2, of_all=True)], ids=["plain", "groups, all sizes"])
def test_transposed_output_size_of_a_dynamic_size(module):
    images = [torch.randn(2, 4, *size) for size in ((7, 10), (8, 8), (5, 6), (1, 3))]
    check_sizes(module.eval(), *((x,) for x in images), free=[(0, 2, 3)])


def test_module_called_twice(check):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, stride=1, groups=2)

        def forward(self, x):
            return self.conv(self.conv(x))

    model = check(Twice(), image(2))
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(check, dtype):
    tolerance = {torch.float64: 1e-9, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
    check(nn.Conv2d(4, 8, 3, padding=1).to(dtype), image(2).to(dtype), atol=tolerance, rtol=tolerance)


def test_parametrised_weight(check):
    check(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 8, 3)), image(2))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(4, 8, 3, padding=1), ["CONV_2D"]),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2), ["PAD", "CONV_2D"]),
        (nn.Conv2d(4, 8, 3, dilation=2, padding=2), ["CONV_2D"]),
        (nn.Conv2d(4, 8, 3, dilation=2, stride=2), ["CONV_2D"]),
        (nn.Conv2d(4, 8, 3, groups=2, padding=1), ["CONV_2D"]),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), ["DEPTHWISE_CONV_2D"]),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding=2), ["DEPTHWISE_CONV_2D"]),
        (nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1), ["TRANSPOSE_CONV"]),
        (
            nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1),
            ["TRANSPOSE_CONV", "STRIDED_SLICE"],
        ),
    ],
    ids=str,
)
def test_tflite_operations(module, expected):
    assert ops_of(module, image(2)[:1]) == expected


def test_tflite_conv1d_has_no_transposition():
    assert ops_of(nn.Conv1d(4, 8, 3, padding=1), image(1)[:1]) == ["RESHAPE", "CONV_2D", "RESHAPE"]


@pytest.mark.parametrize("module", [nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(4, 8, 3, groups=4, stride=(2, 1))])
def test_grouped_trains(module):
    x = image(2)
    model = nobuco.pytorch_to_keras(module, args=[x], verbose=False)
    module(x).square().sum().backward()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(nobuco.t_pytorch2keras(x, ChannelOrder.TENSORFLOW))))
    kernel, _ = tape.gradient(loss, model.trainable_variables)
    expected = module.weight.grad.numpy().transpose(2, 3, 1, 0)
    assert abs(kernel.numpy() - expected).max() < 1e-2
    module.zero_grad()


def test_layers_bear_the_name_of_the_module():
    class Upscale(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=1)
            self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)

        def forward(self, x):
            return self.up(self.conv(x))

    model = nobuco.pytorch_to_keras(Upscale(), args=[image(2)], verbose=False)
    assert type(model.get_layer("conv")) is keras.layers.Conv2D
    assert isinstance(model.get_layer("up"), keras.layers.Conv2DTranspose)


DYNAMIC = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1),
    nn.Conv2d(4, 8, 3, groups=2, dilation=2, stride=2),
    nn.Conv2d(4, 4, 3, groups=4, dilation=2, padding=2),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
]


@pytest.mark.parametrize("module", DYNAMIC, ids=str)
def test_dynamic_sizes(module):
    x, larger = image(2), torch.randn(3, 4, 12, 17)
    model = nobuco.pytorch_to_keras(module, args=[x], input_shapes={x: (None, 4, None, None)}, verbose=False)
    got = model(nobuco.t_pytorch2keras(larger, ChannelOrder.TENSORFLOW))
    with torch.no_grad():
        assert torch.allclose(nobuco.t_keras2pytorch(got, ChannelOrder.TENSORFLOW), module(larger), atol=1e-5)


def test_saved_model_loads(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, stride=2, dilation=2, padding=2),
        nn.ConvTranspose2d(8, 4, 3, stride=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    )
    model = nobuco.pytorch_to_keras(module, args=[image(2)], verbose=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = nobuco.t_pytorch2keras(image(2), ChannelOrder.TENSORFLOW)
    assert abs(loaded(x).numpy() - model(x).numpy()).max() == 0


def whole(*shape: int, most: int = 9) -> torch.Tensor:
    return torch.randint(-most, most, shape)


def complex_numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64)


@pytest.mark.parametrize("made", [whole, complex_numbers])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_integers_and_complex_numbers(check, n, made):
    conv, transposed = getattr(F, f"conv{n}d"), getattr(F, f"conv_transpose{n}d")
    x, w, b = made(2, 4, *range(5, 5 + n)), made(8, 2, *[3] * n), made(8)
    check(lambda x, w, b: conv(x, w, b, groups=2, padding="same", dilation=2), x, w, b)
    check(lambda x, w: conv(x, w, None, groups=2, stride=2, padding=1), x, w)
    check(lambda x, w, b: transposed(x, w, b, stride=2, padding=1, output_padding=1), x, made(4, 8, *[3] * n), b)
    check(lambda x, w, b: transposed(x, w, b, groups=2, dilation=2), x, made(4, 4, *[3] * n), b)


def test_integers_wrap_around(check):
    x, w = whole(2, 4, 6, 5, most=2**62), whole(8, 4, 3, 3, most=2**62)
    model = nobuco.pytorch_to_keras(F.conv2d, [x, w], verbose=False)
    got = model([nobuco.t_pytorch2keras(t, ChannelOrder.TENSORFLOW) for t in (x, w)])
    assert torch.equal(nobuco.t_keras2pytorch(got, ChannelOrder.TENSORFLOW), F.conv2d(x, w))


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular", dtype=torch.complex64),
        nn.Conv2d(4, 6, 3, groups=2, stride=2, dtype=torch.complex64),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, dtype=torch.complex64),
    ],
    ids=str,
)
def test_complex_modules(check, tmp_path, module):
    x = complex_numbers(2, 4, *[7] * (module.weight.dim() - 2))
    model = check(module, x, orders=ORDERS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = nobuco.t_pytorch2keras(x, ChannelOrder.PYTORCH)
    assert abs(loaded(x).numpy() - model(x).numpy()).max() == 0
