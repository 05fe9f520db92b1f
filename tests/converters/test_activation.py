"""Parity of activations, and the TFLite operations that they become."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco import ChannelOrder
from tests.lite import ops_of

LAST = (ChannelOrder.TENSORFLOW,)

ACTIVATIONS = [
    F.relu,
    F.relu_,
    torch.relu,
    F.relu6,
    F.elu,
    F.elu_,
    F.celu,
    torch.celu_,
    F.selu,
    torch.selu_,
    F.gelu,
    F.silu,
    F.mish,
    F.hardswish,
    F.hardsigmoid,
    F.hardtanh,
    F.hardshrink,
    F.softshrink,
    F.tanhshrink,
    F.softplus,
    F.softsign,
    F.logsigmoid,
    F.leaky_relu,
    F.rrelu,
    F.sigmoid,
    F.tanh,
    torch.sigmoid_,
    torch.Tensor.tanh_,
    torch.special.expit,
    nn.ReLU6(inplace=True),
    nn.SELU(),
    nn.Mish(),
    nn.Hardtanh(-2, 3),
    nn.Softplus(beta=3, threshold=2),
    nn.LeakyReLU(2.5),
    nn.RReLU(),
    nn.CELU(0.3),
    nn.ELU(1.7, inplace=True),
    nn.Threshold(0.2, -3.0),
    nn.Hardshrink(1.1),
    nn.GELU("tanh"),
    nn.GLU(1),
    nn.PReLU(),
    nn.PReLU(4),
    nn.Softmax2d(),
    nn.LogSoftmax(1),
    nn.Softmin(2),
    nn.SiLU(True),
    partial(F.threshold, threshold=0.1, value=20),
    partial(F.hardtanh, min_val=-0.5, max_val=0.25),
    partial(F.softmax, dim=1),
    partial(F.softmax, dim=-1),
    partial(torch.softmax, dim=0),
    partial(torch.log_softmax, dim=-2),
    partial(F.softmin, dim=1),
    lambda x: torch.softmax(x, 1, torch.float64),
    lambda x: x.softmax(-1),
    lambda x: F.glu(x, dim=-2),
]


def _name(operation: object) -> str:
    """A name without an address in it: xdist's workers must agree on it."""
    function = operation.func if isinstance(operation, partial) else operation
    return getattr(function, "__name__", None) or str(function)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=_name)
def test_activation(check, activation):
    check(activation, 3 * torch.randn(2, 4, 6, 8))


def test_softmin_of_bytes(check):
    check(lambda x: F.softmin(x, 1, dtype=torch.float32), torch.tensor([[0, 1, 255], [3, 2, 1]], dtype=torch.uint8))


@pytest.mark.parametrize("dim", [0, 2, -1])
def test_softmax_of_more_dimensions_than_tensorflow_takes(check, dim):
    def several(x):
        return x.softmax(dim), x.log_softmax(dim), F.softmin(x, dim)

    check(several, torch.randn(2, 3, 4, 2, 3, 2, 2), orders=(ChannelOrder.PYTORCH,), tflite=True)


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5), (1, 4, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("activation", [nn.PReLU(4), nn.PReLU(), nn.Hardswish(), nn.Softmax(-1), nn.GLU(1)], ids=_name)
def test_rank(check, activation, shape):
    check(activation, torch.randn(shape))


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 4, 5), (1, 4, 2, 3)], ids=str)
def test_softmax_without_a_dimension(check, shape):
    check(F.softmax, torch.randn(shape))


def test_no_dimensions(check):
    check(nn.PReLU(), torch.tensor([-1.0, 2.0]))
    check(lambda x: F.relu(x) + torch.sigmoid(x), torch.tensor(-0.5))


@pytest.mark.parametrize(
    "activation", [F.softplus, F.logsigmoid, F.mish, F.silu, F.hardswish, F.gelu, F.elu], ids=_name
)
def test_extreme_arguments(check, activation):
    x = torch.tensor([[-1e4, -200.0, -90.0, -30.0, 0.0, 30.0, 90.0, 200.0, 1e4]])
    check(activation, x, tflite=True, orders=LAST)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool], ids=str)
def test_integers(check, dtype):
    x = torch.tensor([[-2, 0, 1, 5]]).to(dtype)
    check(lambda x: (torch.sigmoid(x), torch.tanh(x)), x)
    if dtype is not torch.bool:
        check(lambda x: (F.relu(x), F.hardtanh(x, 0, 3)), x)


def test_prelu_with_weights_of_its_own(check):
    check(F.prelu, torch.randn(2, 4, 3, 3), torch.rand(4))
    check(lambda x, w: x.prelu(w), torch.randn(2, 4, 3), torch.rand(1))


def test_prelu_is_a_keras_layer(check):
    model = check(nn.PReLU(4), torch.randn(2, 4, 3, 3))
    assert any(type(layer).__name__ == "PReLU" for layer in model.layers)


@pytest.mark.parametrize(
    ("activation", "operations"),
    [
        (nn.Hardswish(), ["HARD_SWISH"]),
        (nn.GELU(), ["GELU"]),
        (nn.GELU("tanh"), ["GELU"]),
        (lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)), ["GELU"]),
        (nn.PReLU(4), ["PRELU"]),
        (nn.PReLU(), ["PRELU"]),
        (nn.ReLU6(), ["RELU6"]),
        (nn.Hardtanh(), ["RELU_N1_TO_1"]),
        (nn.Hardtanh(0, 6), ["RELU6"]),
        (nn.LeakyReLU(), ["LEAKY_RELU"]),
        (nn.ELU(), ["ELU"]),
        (nn.Hardsigmoid(), ["ADD", "MUL"]),
        (nn.SiLU(), ["LOGISTIC", "MUL"]),
        (nn.Softmax(1), ["SOFTMAX"]),
        (nn.LogSoftmax(1), ["LOG_SOFTMAX"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_tflite_operations(check, activation, operations):
    x = torch.randn(1, 4, 6, 8)
    check(activation, x, orders=LAST, tflite=True)
    assert ops_of(activation, x) == operations


@pytest.mark.parametrize(
    "dropout",
    [
        nn.Dropout(0.4),
        nn.Dropout2d(),
        nn.AlphaDropout(),
        nn.FeatureAlphaDropout(),
        partial(F.dropout, training=False),
    ],
    ids=_name,
)
def test_dropout_at_rest_is_nothing(check, dropout):
    check(dropout, torch.randn(2, 3, 4, 5))


def test_elu_in_place_has_a_scale_on_either_side(check):
    check(lambda x: torch._C._nn.elu_(x * 1, alpha=0.3, scale=0.7, input_scale=2.0), torch.randn(2, 3, 4))
