"""Views against PyTorch: every spelling, on ranks one to five."""

from __future__ import annotations

import pytest
import torch
from torch import nn

X = torch.randn(2, 6, 4, 5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.view(2, 3, 2, -1),
        lambda x: x.view((2, 24, 5)),
        lambda x: x.view(torch.Size([12, 20])),
        lambda x: x.view(-1),
        lambda x: x.view(size=(6, -1)),
        lambda x: x.reshape(2, -1, 20),
        lambda x: torch.reshape(x, shape=(-1, 5)),
        lambda x: torch.reshape(x, (2, 6, 2, 2, 5)),
        lambda x: x.view_as(torch.zeros(4, 6, 10)),
        lambda x: x.reshape_as(torch.zeros(240)),
        lambda x: x.flatten(),
        lambda x: x.flatten(1),
        lambda x: x.flatten(start_dim=2, end_dim=-1),
        lambda x: torch.flatten(x, -3, -2),
        lambda x: x.unflatten(1, (3, -1)),
        lambda x: x.unflatten(dim=-2, sizes=(2, 2)),
        lambda x: torch.unflatten(x, 1, (2, 3)),
        lambda x: x.ravel(),
        lambda x: x[:, :1].squeeze(1),
        lambda x: x[:1, :1].squeeze(),
        lambda x: x[:1, :, :1].squeeze((0, 2)),
        lambda x: torch.squeeze(x, dim=-1),
        lambda x: torch.squeeze(x[..., :1], dim=(-1, 1)),
        lambda x: x[:, :, :1].clone().squeeze_(-2),
        lambda x: x.unsqueeze(0),
        lambda x: torch.unsqueeze(x, dim=-1),
        lambda x: x.clone().unsqueeze_(2),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.permute((3, 1, 0, -2)),
        lambda x: torch.permute(x, dims=(0, 3, 1, 2)),
        lambda x: x.transpose(1, -1),
        lambda x: torch.transpose(x, dim0=0, dim1=1),
        lambda x: x.clone().transpose_(2, 3),
        lambda x: x.swapaxes(axis0=1, axis1=2),
        lambda x: torch.swapdims(x, -1, 0),
        lambda x: x.movedim(1, -1),
        lambda x: torch.movedim(x, (0, 1), (-1, -2)),
        lambda x: x.moveaxis(source=-1, destination=1),
        lambda x: x[0, 0].t(),
        lambda x: x[0, 0, 0].t(),
        lambda x: torch.t(x[0, 0]),
        lambda x: x[0, 0].T,
        lambda x: x.mT,
        lambda x: x[0, 0].H,
        lambda x: x.mH,
        lambda x: x.adjoint(),
        lambda x: x.transpose(1, 2).reshape(2, 4, 30).transpose(1, 2),
    ],
)
def test_views(check, function):
    check(function, X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.arange(240.0).view_as(x),
        lambda x: torch.zeros_like(x).view_as(x.flatten()),
        lambda x: torch.arange(240.0).reshape_as(x).transpose(1, 2) + x.transpose(1, 2),
    ],
)
def test_a_constant_in_the_shape_of_a_tensor(check, function):
    check(function, X)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 2, 3)])
@pytest.mark.parametrize(
    "function",
    [lambda x: x.unsqueeze(1), lambda x: x.flatten(), lambda x: x.transpose(0, -1), lambda x: x.squeeze()],
)
def test_ranks(check, function, shape):
    check(function, torch.randn(shape))


def test_scalar(check):
    check(lambda x: (x.view(1, 1), x.flatten(), x.unsqueeze(-1), x.squeeze(0)), torch.tensor(3.0))


@pytest.mark.parametrize("module", [nn.Flatten(), nn.Flatten(0, -2), nn.Unflatten(1, (2, 3)), nn.Unflatten(-1, (5, 1))])
def test_modules(check, module):
    check(module, X)


def test_complex_adjoint_conjugates(check):
    check(lambda x: x.mH, torch.randn(2, 3, 4, dtype=torch.complex64))


def test_channels_last_for_a_linear_layer_costs_nothing(check):
    """What a ConvNeXt does: permute, work on the last dimension, permute back."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            return self.conv(self.linear(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    from nobuco import ChannelOrder
    from nobuco.export.tflite_file import to_tflite
    from tests.lite import tflite_ops

    model = check(Block(), X, orders=[ChannelOrder.TENSORFLOW])
    assert sorted(tflite_ops(to_tflite(model))) == ["CONV_2D", "CONV_2D", "FULLY_CONNECTED"]


def test_permuting_many_dimensions_in_tflite(check):
    perm = (0, 3, 1, 4, 2, 7, 5, 6)
    check(lambda x: x.permute(perm).reshape(6, -1), torch.randn(2, 3, 1, 2, 3, 2, 2, 4), tflite=True)
