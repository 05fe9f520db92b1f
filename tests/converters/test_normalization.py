"""Normalizations, with and without weights and statistics, in every rank."""

from __future__ import annotations

import inspect

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.lite import ops_of

BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def image(n: int, channels: int = 6) -> torch.Tensor:
    return torch.randn(2, channels, *range(5, 5 + n)) * 3 + 1


def randomized(module: nn.Module) -> nn.Module:
    for tensor in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
        nn.init.uniform_(tensor, 0.5, 1.5)
    return module


@pytest.mark.skipif("bias" not in inspect.signature(nn.BatchNorm1d).parameters, reason="this PyTorch has no bias=")
def test_batch_norm_without_bias(check):
    check(randomized(nn.BatchNorm1d(5, bias=False)).eval(), torch.randn(4, 5))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("arguments", [{}, {"affine": False}, {"eps": 0.1, "momentum": None}], ids=str)
def test_batch_norm(check, n, arguments):
    model = check(randomized(BATCH[max(n, 1)](6, **arguments)), image(n))
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_batch_statistics(check, n):
    check(randomized(BATCH[max(n, 1)](6, track_running_stats=False)), image(n))
    check(lambda x: F.batch_norm(x, None, None, training=True, eps=1e-3), image(n))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_batch_norm_function(check, n):
    mean, variance, weight, bias = torch.randn(6), torch.rand(6) + 0.5, torch.randn(6), torch.randn(6)
    check(lambda x: F.batch_norm(x, mean, variance, weight, bias), image(n))
    check(lambda x: F.batch_norm(x, mean, variance, bias=bias), image(n))
    check(lambda x: torch.batch_norm(x, weight, bias, mean, variance, False, 0.1, 1e-5, False), image(n))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_layer_norm(check, n):
    x = image(n)
    check(randomized(nn.LayerNorm(x.shape[-1])), x)
    check(randomized(nn.LayerNorm(x.shape[1:], elementwise_affine=False, eps=0.1)), x)
    check(randomized(nn.LayerNorm(x.shape[1:], bias=False)), x)
    check(randomized(nn.LayerNorm(x.shape[-1])), x[0])
    check(lambda x: F.layer_norm(x, x.shape), x)


def test_layer_norm_of_channels(check):
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 3)
            self.norm = nn.LayerNorm(6)

        def forward(self, x):
            return self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    check(ChannelsLast(), image(2), tflite=True)
    assert "TRANSPOSE" not in ops_of(ChannelsLast(), image(2)[:1])


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm(check, n, groups):
    check(randomized(nn.GroupNorm(groups, 6)), image(n))
    check(lambda x: F.group_norm(x, groups, bias=torch.ones(6), eps=0.1), image(n))
    check(lambda x: torch.group_norm(x, groups), image(n))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("arguments", [{}, {"affine": True}, {"track_running_stats": True}], ids=str)
def test_instance_norm(check, n, arguments):
    check(randomized(INSTANCE[n](6, **arguments)), image(n))
    check(randomized(INSTANCE[n](6, **arguments)), image(n)[0])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_rms_norm(check, n):
    x = image(n)
    check(randomized(nn.RMSNorm(x.shape[-1])), x)
    check(randomized(nn.RMSNorm(x.shape[1:], eps=0.1, elementwise_affine=False)), x)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_local_response_norm(check, n, size):
    check(nn.LocalResponseNorm(size, alpha=0.1, beta=0.7, k=1.5), image(n))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_local_response_norm_of_integers(check, n):
    x = torch.randint(-99, 99, image(n).shape)
    check(lambda x: F.local_response_norm(x, 3, alpha=1e-3), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "module",
    [nn.BatchNorm2d(6), nn.LayerNorm(6), nn.GroupNorm(3, 6), nn.InstanceNorm2d(6), nn.RMSNorm(6)],
    ids=str,
)
def test_dtypes(check, module, dtype):
    tolerance = {torch.float64: 1e-9, torch.float16: 1e-2, torch.bfloat16: 5e-2}[dtype]
    check(randomized(module).to(dtype), image(2).to(dtype), atol=tolerance, rtol=tolerance)


def test_folds_into_convolution():
    block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), randomized(nn.BatchNorm2d(6)), nn.ReLU6())
    assert ops_of(block, image(2)[:1]) == ["CONV_2D"]
    depthwise = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), randomized(nn.BatchNorm2d(6)), nn.ReLU6())
    assert ops_of(depthwise, image(2)[:1]) == ["DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize("module", [nn.LayerNorm(6), nn.GroupNorm(6, 6), nn.InstanceNorm2d(6), nn.RMSNorm(6)], ids=str)
def test_tflite_moves_nothing(module):
    operations = ops_of(module, image(2)[:1])
    assert not {"TRANSPOSE", "RESHAPE"} & set(operations), operations
