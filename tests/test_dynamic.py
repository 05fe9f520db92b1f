"""Models with dynamic axes: converted once, compared with PyTorch at three sizes, two never seen."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from conformance.torchvision_models import randomized, torchvision
from nobuco import ChannelOrder
from nobuco.errors import NobucoWarning
from nobuco.export.tflite_file import tflite_operations, to_tflite
from tests.older import fails_before
from tests.parity import convert
from tests.sizes import check_sizes, converted

IMAGES = (torch.randn(2, 3, 16, 24), torch.randn(1, 3, 32, 16), torch.randn(3, 3, 23, 37))
FREE_IMAGE = ((0, 2, 3),)
LAST = (ChannelOrder.TENSORFLOW,)


def feeds(*tensors):
    return [(t,) for t in tensors]


@pytest.fixture(autouse=True)
def no_warnings():
    """A model whose sizes are all followed gives no word of warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        yield


class Cnn(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 5),
        )  # fmt: skip


def test_cnn():
    check_sizes(Cnn(), *feeds(*IMAGES), free=FREE_IMAGE)


class Pyramid(nn.Module):
    """Each level is brought to the size of the one above it, as in a feature pyramid network."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 4), (4, 8), (8, 8)))
        self.lateral = nn.ModuleList(nn.Conv2d(c, 6, 1) for c in (4, 8, 8))

    def forward(self, x):
        levels = []
        for conv in self.down:
            x = F.relu(conv(x))
            levels.append(x)
        *rest, top = [conv(level) for conv, level in zip(self.lateral, levels)]
        outputs = [top]
        for level in reversed(rest):
            top = level + F.interpolate(top, size=level.shape[-2:], mode="nearest")
            outputs.append(top)
        return F.interpolate(outputs[0], size=outputs[-1].shape[2:], mode="bilinear") + outputs[-1], *outputs


def test_feature_pyramid():
    check_sizes(Pyramid(), *feeds(*IMAGES), free=FREE_IMAGE)


class Vit(nn.Module):
    """Position embeddings are interpolated to the grid of patches, as in DINOv2."""

    def __init__(self, grid=4, dim=12):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, 4)
        self.positions = nn.Parameter(torch.randn(1, grid * grid + 1, dim))
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.block = nn.TransformerEncoderLayer(dim, 2, 24, batch_first=True, norm_first=True)
        self.head = nn.Linear(dim, 5)

    def embedding(self, height, width):
        first, rest = self.positions[:, :1], self.positions[:, 1:]
        side = int(math.sqrt(rest.shape[1]))
        grid = rest.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([first, grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)

    def forward(self, x):
        x = self.patch(x)
        b, c, h, w = x.shape
        tokens = torch.cat([self.token.expand(b, -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = self.block(tokens + self.embedding(h, w))
        grid = x[:, 1:].transpose(1, 2).reshape(b, c, h, w)
        return self.head(x[:, 0]), grid


@pytest.mark.full
def test_vit_with_interpolated_position_embeddings():
    images = (torch.randn(2, 3, 16, 24), torch.randn(1, 3, 24, 32), torch.randn(3, 3, 20, 12))
    check_sizes(Vit(), *feeds(*images), free=FREE_IMAGE)


def test_transformer_encoder_layer():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    sequences = (torch.randn(2, 7, 16), torch.randn(1, 12, 16), torch.randn(3, 5, 16))
    check_sizes(layer, *feeds(*sequences), free=((0, 1),))


class Causal(nn.Module):
    """Attention with a mask made of the sequence's length, sinusoidal positions, heads split by hand."""

    def __init__(self, dim=16, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.embedding = nn.Embedding(11, dim)

    def forward(self, tokens):
        b, t = tokens.shape
        x = self.embedding(tokens)
        places = torch.arange(t, device=tokens.device)[:, None] / 100 ** (torch.arange(0, x.shape[-1], 2) / x.shape[-1])
        x = x + torch.stack([places.sin(), places.cos()], -1).flatten(1)
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = torch.ones(t, t, dtype=torch.bool).tril()
        scores = (q @ k.transpose(-1, -2)).masked_fill(~mask, float("-inf")) / q.size(-1) ** 0.5
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1)


def test_causal_attention():
    tokens = (torch.randint(11, (2, 6)), torch.randint(11, (1, 9)), torch.randint(11, (4, 3)))
    check_sizes(Causal(), *feeds(*tokens), free=((0, 1),))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=["plain", "two ways"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent(kind, options):
    layer = kind(4, 6, batch_first=True, **options)
    sequences = (torch.randn(2, 5, 4), torch.randn(1, 9, 4), torch.randn(3, 3, 4))
    check_sizes(layer, *feeds(*sequences), free=((0, 1),), orders=LAST)


def test_recurrent_with_states_of_the_batch_size():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True)

        def forward(self, x):
            state = x.new_zeros(1, x.size(0), 6)
            return self.lstm(x, (state, state + 1))[0][:, -1]

    check_sizes(Model(), *feeds(torch.randn(2, 5, 4), torch.randn(1, 9, 4), torch.randn(3, 3, 4)), free=((0, 1),))


class WindowAttention(nn.Module):
    """Swin's way: pad to windows, roll, attend within each window, roll back, cut the padding off."""

    def __init__(self, dim=8, window=4):
        super().__init__()
        self.window, self.qkv, self.out = window, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.stem = nn.Conv2d(3, dim, 2, 2)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        n = self.window
        b, h, w, c = x.shape
        padded = F.pad(x, (0, 0, 0, (n - w % n) % n, 0, (n - h % n) % n))
        _, ph, pw, _ = padded.shape
        shifted = torch.roll(padded, (-1, -1), (1, 2))
        windows = shifted.view(b, ph // n, n, pw // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        q, k, v = self.qkv(windows).chunk(3, -1)
        windows = self.out(F.scaled_dot_product_attention(q, k, v))
        back = windows.view(b, ph // n, pw // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, ph, pw, c)
        return torch.roll(back, (1, 1), (1, 2))[:, :h, :w].permute(0, 3, 1, 2)


def test_windows_with_padding():
    images = (torch.randn(2, 3, 12, 20), torch.randn(1, 3, 32, 16), torch.randn(3, 3, 22, 38))
    check_sizes(WindowAttention(), *feeds(*images), free=FREE_IMAGE)


@pytest.mark.full
def test_swin():
    """torchvision's own; where an image is as small as a window it decides not to shift, so these are larger."""
    torchvision()
    from torchvision.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    model = randomized(SwinTransformer([2, 2], 8, [2, 2], [2, 1], [3, 4], num_classes=5, stochastic_depth_prob=0.0))
    images = (torch.randn(2, 3, 32, 36), torch.randn(1, 3, 40, 44), torch.randn(3, 3, 33, 51))
    with pytest.warns(
        NobucoWarning,
        match="swin_transformer.py.*gives torch.roll -[12] here and 0 there.*right where",
    ):
        check_sizes(model, *feeds(*images), free=FREE_IMAGE, orders=LAST)


class DynamicShape(nn.Module):
    """The README's own."""

    def __init__(self, ask=nobuco.shape):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=(1, 1))
        self.ask = ask

    def forward(self, x):
        x = self.conv(x)
        _, _, h, w = self.ask(x)
        return x[:, :, h // 3 :, w // 3 :]


@pytest.mark.parametrize("trace_shape", [None, True, False])
def test_asked_sizes_stay_symbolic(trace_shape):
    check_sizes(DynamicShape(), *feeds(*IMAGES), free=FREE_IMAGE, orders=LAST, trace_shape=trace_shape)


@pytest.mark.parametrize("trace_shape", [None, True])
def test_sizes_stay_symbolic(trace_shape):
    model = DynamicShape(lambda x: x.shape)
    check_sizes(model, *feeds(*IMAGES), free=FREE_IMAGE, orders=LAST, trace_shape=trace_shape)


def test_sizes_are_static_without_trace_shape():
    model = DynamicShape(lambda x: x.shape).eval()
    with pytest.warns(NobucoWarning, match="the converted model keeps"):
        keras_model = converted(model, IMAGES[:1], FREE_IMAGE, trace_shape=False)
    image = IMAGES[1]
    got = nobuco.t_keras2pytorch(keras_model(nobuco.t_pytorch2keras(image, ChannelOrder.TENSORFLOW)))
    torch.testing.assert_close(got, model.conv(image)[:, :, 16 // 3 :, 24 // 3 :], rtol=1e-4, atol=1e-4)


def test_trace_shape_without_dynamic_axes_changes_nothing():
    model = DynamicShape().eval()
    plain = nobuco.pytorch_to_keras(model, [IMAGES[0]], verbose=False)
    asked = nobuco.pytorch_to_keras(model, [IMAGES[0]], trace_shape=True, verbose=False)
    assert asked.output_shape == plain.output_shape == (2, 11, 16, 16)
    assert tflite_operations(to_tflite(asked)) == tflite_operations(to_tflite(plain))


# -- what is not dynamic stays static -------------------------------------------------------------------


def shapes_of(keras_model):
    return [t.shape for layer in keras_model.layers for node in layer._inbound_nodes for t in node.output_tensors]


# What a dynamic batch may cost: the ViT's attention asks for it at each of its reshapes, one of which drops the axis of
# a slice (in a static model it is the linear layer's own).
@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        (Cnn(), 6),
        (Pyramid(), 6),
        pytest.param(Vit(), 16, marks=fails_before("tensorflow", "2.21", "one operation more")),
        (WindowAttention(), 6),
    ],
    ids=["cnn", "pyramid", "vit", "windows"],
)
def test_with_a_dynamic_batch_all_else_is_static(model, allowed):
    image = torch.randn(2, 3, 16, 24)
    dynamic = converted(model.eval(), (image,), ((0,),))
    static = converted(model.eval(), (image,), ((),))
    for shape in shapes_of(dynamic):
        assert None not in shape[1:], shape
    more = tflite_operations(to_tflite(dynamic)).total() - tflite_operations(to_tflite(static)).total()
    assert more <= allowed, f"{more} operations more than the static model has"


@pytest.mark.parametrize(
    "crop",
    [
        lambda x: x.narrow(2, x.shape[2] // 2, 4),
        lambda x: x.narrow(2, x.shape[1] - 1, x.shape[1] + 1),
    ],
    ids=["narrow", "narrow by a static size"],
)
def test_a_crop_of_a_static_length_stays_static(crop):
    image = torch.randn(2, 3, 16, 24)
    keras_model = check_sizes(
        crop, (image,), (torch.randn(1, 3, 20, 24),), (torch.randn(3, 3, 13, 24),), free=((0, 2),), orders=LAST
    )
    assert keras_model.output_shape == (None, 4, 24, 3)


# -- several inputs ----------------------------------------------------------------------------------


def test_inputs_that_share_an_axis():
    def program(x, mask):
        kept = x * mask[..., None]
        return kept.sum(1) / x.shape[1], kept.reshape(-1, x.size(2))[: x.size(0)]

    pairs = [(torch.randn(b, t, 4), torch.rand(b, t)) for b, t in ((2, 5), (1, 9), (4, 3))]
    check_sizes(program, *pairs, free=((0, 1), (0, 1)))


def test_an_example_with_nothing_along_its_dynamic_axis():
    x, empty = torch.rand(2, 3), torch.rand(0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nobuco.NobucoWarning)
        model = convert(lambda x, y: torch.cat([x, y]) * 2, x, empty, input_shapes={x: (2, 3), empty: (None, 3)})
    np.testing.assert_allclose(model([x.numpy(), empty.numpy()]), x * 2)
