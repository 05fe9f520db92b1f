"""Channel order on whole programs: how many transpositions the report and the TFLite file hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, tflite_operations, to_tflite
from tests.older import fails_before
from tests.parity import convert

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


def transpositions(model, *args, inputs=TENSORFLOW, outputs=TENSORFLOW):
    """How many the report counts and the TFLite file holds; what the file computes is compared with PyTorch."""
    keras_model, report = nobuco.pytorch_to_keras(
        model.eval() if isinstance(model, nn.Module) else model,
        list(args), inputs_channel_order=inputs, outputs_channel_order=outputs, verbose=False, return_report=True,
    )  # fmt: skip
    assert report.ok, report.first_bad()
    data = to_tflite(keras_model)
    with torch.no_grad():
        expected = model(*args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    got = run_tflite(data, [nobuco.t_pytorch2keras(x, inputs).numpy() for x in args])
    if outputs is not None:
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(nobuco.t_keras2pytorch(ours, outputs), theirs, rtol=1e-4, atol=1e-4)
    assert tflite_operations(data)["TRANSPOSE"] == report.transpositions
    return report.transpositions


class GruAndConvolutions(nn.Module):
    """The README's network: a GRU, and two convolutions that read it."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(32, 16, batch_first=True)
        self.conv1 = nn.Conv1d(12, 40, 3, padding=1)
        self.conv2 = nn.Conv1d(12, 60, 1)

    def forward(self, x):
        x, _ = self.gru(x)
        return self.conv1(x), self.conv2(x)


class ConvolutionsAndGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(6, 12, 3, padding=1)
        self.conv2 = nn.Conv1d(12, 10, 3, padding=1)
        self.gru = nn.GRU(10, 8, batch_first=True)

    def forward(self, x):
        y = self.conv2(F.relu(self.conv1(x)))
        return self.gru(y.transpose(1, 2))[0]


X3, X4, X5 = torch.rand(1, 4, 10), torch.rand(1, 3, 8, 6), torch.rand(1, 3, 4, 6, 5)
BY_RANK = [(nn.Conv1d, X3, 4), (nn.Conv2d, X4, 3), (nn.Conv3d, X5, 3)]
RANKS = pytest.mark.parametrize(("conv", "x", "channels"), BY_RANK, ids=["rank3", "rank4", "rank5"])


@pytest.mark.parametrize("outputs", [TENSORFLOW, None])
def test_the_readmes_network_needs_one(outputs):
    assert transpositions(GruAndConvolutions(), torch.rand(1, 12, 32), inputs=PYTORCH, outputs=outputs) == 1


def test_a_recurrent_layer_reads_channels_last_as_it_is():
    assert transpositions(ConvolutionsAndGru(), torch.rand(1, 6, 16), outputs=PYTORCH) == 0


def test_a_recurrent_layer_behind_channels_first_needs_one():
    assert transpositions(ConvolutionsAndGru(), torch.rand(1, 6, 16), inputs=PYTORCH, outputs=PYTORCH) == 1


@RANKS
class TestRanks:
    def test_channels_last_throughout(self, conv, x, channels):
        module = nn.Sequential(conv(channels, 5, 3, padding=1), nn.ReLU(), conv(5, 2, 1), nn.Sigmoid())
        assert transpositions(module, x) == 0

    def test_one_at_each_end(self, conv, x, channels):
        module = nn.Sequential(conv(channels, 5, 3, padding=1), nn.ReLU(), conv(5, 2, 1), nn.Sigmoid())
        assert transpositions(module, x, inputs=PYTORCH, outputs=PYTORCH) == 2

    def test_none_where_no_channels_move(self, conv, x, channels):
        """One channel: changing the order is a reshape."""
        module = nn.Sequential(conv(1, 5, 3, padding=1), nn.ReLU(), conv(5, 1, 1))
        assert transpositions(module, x[:, :1], inputs=PYTORCH, outputs=PYTORCH) == 0

    def test_broadcasting_across_ranks(self, conv, x, channels):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                spatial = x.dim() - 2
                self.conv = conv(channels, 5, 3, padding=1)
                self.per_channel = nn.Parameter(torch.rand(5, *[1] * spatial))
                self.per_column = nn.Parameter(torch.rand(x.shape[-1]))
                self.full = nn.Parameter(torch.rand(5, *x.shape[2:]))

            def forward(self, x):
                y = self.conv(x)
                return (y * self.per_channel + self.per_column) / (1 + self.full) - y.mean(1, keepdim=True)

        assert transpositions(Net(), x) == 0

    def test_a_permutation_to_channels_last_is_absorbed(self, conv, x, channels):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv(channels, 5, 1)
                self.norm = nn.LayerNorm(5)
                self.back = conv(5, 2, 1)

            def forward(self, x):
                y = self.norm(self.conv(x).movedim(1, -1))
                return self.back(F.gelu(y).movedim(-1, 1))

        assert transpositions(Net(), x) == 0

    def test_concatenation_splitting_and_pooling(self, conv, x, channels):
        def net(x):
            a, b = torch.cat([x, x * 2], dim=1).chunk(2, dim=1)
            return F.pad(a, (1, 1)).flip(-1).softmax(1)[..., 1:-1] + b.cumsum(1)

        assert transpositions(net, x) == 0

    def test_reductions_without_keepdim(self, conv, x, channels):
        module = conv(channels, 5, 1)

        def net(x):
            y = module(x)
            return y.mean(tuple(range(2, y.dim()))), y.amax(1)

        assert transpositions(net, x, outputs=None) == 0


def test_one_transposition_for_all_who_read_it():
    linear = nn.Linear(6, 6)

    def net(x):
        y = F.relu(F.max_pool2d(x, 3, 1, 1))
        return linear(y) + linear(y * 2), y.reshape(4, 36), y.flatten(1)

    assert transpositions(net, X4, outputs=PYTORCH) == 1


def test_one_transposition_of_an_input_for_all_who_read_it():
    def net(x):
        return x.reshape(4, 36) * 2, x.flatten(1), torch.sigmoid(x).reshape(12, 12)

    assert transpositions(net, X4, outputs=PYTORCH) == 1


def test_real_transposes_count():
    assert transpositions(lambda x: x.mT.relu(), X4, inputs=PYTORCH, outputs=PYTORCH) == 1


@fails_before("tensorflow", "2.21", "its TFLite converter keeps a transpose beside a product")
def test_a_product_takes_a_transposed_matrix_as_it_lies():
    model = convert(lambda x: x @ x.mT, X4)
    assert dict(tflite_operations(to_tflite(model))) == {"BATCH_MATMUL": 1}


def test_transposes_that_meet_vanish():
    def net(x):
        y = x.permute(0, 2, 3, 1).reshape(1, 48, 3).transpose(1, 2).reshape(1, 3, 8, 6)
        return F.max_pool2d(y.permute(0, 3, 1, 2).permute(0, 2, 3, 1), 2)

    assert transpositions(net, X4) == 0


def test_global_pooling_into_a_linear_layer():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert transpositions(module, X4) == 0


def test_outputs_lie_where_it_is_cheapest():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert transpositions(module, X4, outputs=None) == 0
    assert transpositions(nn.Linear(6, 2), X4, inputs=PYTORCH, outputs=None) == 0


def test_squeeze_and_excitation_stays_in_place():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8)

        def forward(self, x):
            y = self.conv(x)
            gate = torch.sigmoid(self.gate(y.mean((2, 3))))
            return y * gate[:, :, None, None] + y * gate.view(1, 8, 1, 1) + y * gate.unsqueeze(-1).unsqueeze(-1)

    assert transpositions(Block(), X4) == 0


def test_tokens_of_a_vision_transformer_and_back():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.norm = nn.Conv2d(3, 8, 2, stride=2), nn.LayerNorm(8)
            self.mix, self.out = nn.Linear(8, 8), nn.Conv2d(8, 3, 1)

        def forward(self, x):
            y = self.patch(x)
            b, c, h, w = y.shape
            tokens = self.mix(self.norm(y.flatten(2).transpose(1, 2)))
            return self.out(tokens.transpose(1, 2).reshape(b, c, h, w))

    assert transpositions(Tokens(), X4) == 0


class FlattenedHeads(nn.Module):
    """Convolution, flattening, and one or two linear layers; `shown` also returns what was flattened."""

    def __init__(self, shown=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.a, self.b = nn.Linear(5 * 6 * 4, 4), nn.Linear(5 * 6 * 4, 2)
        self.shown = shown

    def forward(self, x):
        flat = self.conv(x).flatten(1)
        return (self.a(flat), flat * 2) if self.shown else (self.a(flat), self.b(input=flat))


@pytest.mark.parametrize(("inputs", "count"), [(TENSORFLOW, 0), (PYTORCH, 1)])
def test_linear_layers_take_a_flattened_tensor_as_it_lies(inputs, count):
    assert transpositions(FlattenedHeads(), torch.randn(2, 3, 8, 6), inputs=inputs) == count


def test_a_flattened_tensor_that_others_read_is_turned():
    assert transpositions(FlattenedHeads(shown=True), torch.randn(2, 3, 8, 6)) == 1


def test_a_linear_layer_behind_a_flattening_and_elsewhere():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(24, 24)

        def forward(self, x):
            return self.linear(self.linear(x.view(x.size(0), -1)))

    x = torch.randn(2, 4, 3, 2)
    assert transpositions(Twice(), x) == 0
    keras_model = nobuco.pytorch_to_keras(Twice(), [x], input_shapes={x: (None, 4, 3, 2)}, verbose=False)
    assert keras_model(nobuco.t_pytorch2keras(torch.randn(5, 4, 3, 2), TENSORFLOW)).shape == (5, 24)
