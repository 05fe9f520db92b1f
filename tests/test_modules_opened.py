"""No module needs a converter of its own: what its `forward` calls converts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.builtin import registered_converters
from nobuco.registry import registry

IMAGE, SEQUENCE, ROWS = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 9), torch.randn(3, 6)
VOLUME, WORDS, STEPS = torch.randn(1, 4, 5, 6, 7), torch.randint(0, 10, (2, 5)), torch.randn(2, 5, 6)

MODULES = {
    "Linear": (lambda: nn.Linear(6, 5), [ROWS]),
    "Bilinear": (lambda: nn.Bilinear(6, 6, 4), [ROWS, ROWS + 1]),
    "Embedding": (lambda: nn.Embedding(10, 6, padding_idx=0), [WORDS]),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(10, 6, mode="sum"), [WORDS]),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, stride=2), [SEQUENCE]),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, padding="same", groups=2), [IMAGE]),
    "Conv2d reflecting": (lambda: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), [IMAGE]),
    "Conv3d": (lambda: nn.Conv3d(4, 2, (1, 3, 3), dilation=(1, 2, 1)), [VOLUME]),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 3, stride=2), [SEQUENCE]),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), [IMAGE]),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), [SEQUENCE]),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), [IMAGE]),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), [IMAGE]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [IMAGE]),
    "LayerNorm": (lambda: nn.LayerNorm([8, 8]), [IMAGE]),
    "RMSNorm": (lambda: nn.RMSNorm(6), [ROWS]),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), [IMAGE]),
    "PReLU": (lambda: nn.PReLU(4), [IMAGE]),
    "GLU": (lambda: nn.GLU(1), [IMAGE]),
    "Softmax2d": (lambda: nn.Softmax2d(), [IMAGE]),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), [IMAGE]),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), [VOLUME]),
    "LPPool2d": (lambda: nn.LPPool2d(2, 3), [IMAGE]),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, 5)), [IMAGE]),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), [IMAGE]),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [IMAGE]),
    "Fold": (lambda: nn.Fold((4, 4), 2), [torch.randn(2, 12, 9)]),
    "Unfold": (lambda: nn.Unfold(3, padding=1), [IMAGE]),
    "LSTM": (lambda: nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True), [STEPS]),
    "GRU": (lambda: nn.GRU(6, 5), [STEPS]),
    "RNN": (lambda: nn.RNN(6, 5, nonlinearity="relu"), [STEPS]),
    "LSTMCell": (lambda: nn.LSTMCell(6, 5), [ROWS]),
    "GRUCell": (lambda: nn.GRUCell(6, 5), [ROWS]),
    "RNNCell": (lambda: nn.RNNCell(6, 5), [ROWS]),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2), [STEPS, STEPS, STEPS]),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), [STEPS]),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(6, 2, 8), [STEPS, STEPS + 1]),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), [ROWS, ROWS + 1]),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), [ROWS, ROWS + 1]),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), [ROWS, torch.tensor([0, 5, 2])]),
    "CTCLoss": (
        lambda: nn.CTCLoss(),
        [torch.randn(7, 2, 5).log_softmax(2), torch.randint(1, 5, (2, 3)), torch.tensor([7, 6]), torch.tensor([3, 2])],
    ),
}


@pytest.fixture
def without_modules(restored_registry):
    """The registry without a converter for any module."""
    for converter in registered_converters():
        for operation in converter.operations:
            if isinstance(operation, type) and issubclass(operation, nn.Module):
                nobuco.unregister_converter(operation)


@pytest.mark.parametrize("name", MODULES)
def test_modules_convert_without_converters_of_their_own(name, check, without_modules):
    make, args = MODULES[name]
    torch.manual_seed(0)
    module = make()
    assert registry.find(type(module)) is None
    check(module, *args, orders=[ChannelOrder.PYTORCH])
