"""Corners of types and shapes: numbers out of range, the bits of another type, tensors of no dimensions."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.environment.versions import release
from nobuco.layers.output import called
from tests.parity import convert

PYTORCH = nobuco.ChannelOrder.PYTORCH
X = torch.tensor([[0.5, -1.25, 3.0, 8.5], [-2.0, 0.0, 1.5, -7.0]])
BYTES = torch.tensor([0, 1, 2, 3, 200], dtype=torch.uint8)
SCALAR = torch.tensor(1.5)
WIDE = torch.tensor([-8.0, 8.0, 0.0, float("inf"), float("nan"), 7.5])


def assert_same(program, *args):
    expected = program(*(t.clone() for t in args))
    model = convert(program, *[t.clone() for t in args])
    (got,) = called(model, [t.numpy() for t in args])
    assert keras.backend.standardize_dtype(got.dtype) == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6)


OUT_OF_RANGE = {
    "clamp": lambda x: x.clamp(-2, 3),
    "clamp_min": lambda x: x.clamp_min(-2),
    "add": lambda x: x + 300,
    "mul": lambda x: x * -1,
    "gt": lambda x: x > -1,
    "lt": lambda x: x < 300,
    "eq": lambda x: x == 256,
    "where": lambda x: torch.where(x > 1, x, -1),
    "a tensor of no dimensions": lambda x: torch.maximum(x, torch.tensor(-1)),
}


@pytest.mark.parametrize("program", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE.keys())
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_numbers_that_a_type_does_not_hold(program, dtype):
    assert_same(program, BYTES.to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("equation", ["ij,kj->ik", "ij,ij->i", "ij->j"])
def test_einsum_of_integers(dtype, equation):
    x = (torch.arange(6).reshape(2, 3) * 20).to(dtype)
    assert_same(lambda x: torch.einsum(equation, *[x] * (equation.count(",") + 1)), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
@pytest.mark.parametrize("function", [torch.gcd, torch.lcm, lambda x, y: F.softsign(x)], ids=["gcd", "lcm", "softsign"])
def test_functions_of_integers(function, dtype):
    x = torch.tensor([12, 100, 127, 0, -6]).to(dtype)
    assert_same(function, x, torch.tensor([8, 75, 1, 3, -4]).to(dtype))


@pytest.mark.parametrize(
    "function", [torch.sqrt, torch.cumsum, torch.logical_not], ids=lambda function: function.__name__
)
def test_what_is_written_out_has_the_dtype_of_what_it_is_written_to(function):
    def program(x):
        out = torch.zeros(x.shape, dtype=torch.float64)
        function(x, *[0] * (function is torch.cumsum), out=out)
        return out

    assert_same(program, X)


@pytest.mark.parametrize("size", [(2, 4), (1, 4), (4,), ()], ids=str)
def test_sums_to_a_size_widen_as_sums_do(size):
    assert_same(lambda x: x.sum_to_size(size), (10 * X).to(torch.int8))
    assert_same(lambda x: x.sum_to_size(()), torch.tensor(3, dtype=torch.int8))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_powers_of_the_least_integer(dtype):
    exponents = torch.tensor([torch.iinfo(dtype).min, -1, -2, 3, torch.iinfo(dtype).min], dtype=dtype)
    assert_same(torch.pow, torch.tensor([-1, -1, 2, -3, 5], dtype=dtype), exponents)


def test_nothing_is_written_to_a_view_of_nothing():
    def program(x):
        y = torch.ones(3, 0)
        y.t().copy_(x.t())
        return y

    assert_same(program, torch.zeros(3, 0))


@pytest.mark.parametrize("name", ["sum", "nansum", "prod"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float64])
@pytest.mark.parametrize("dim", [0, None])
def test_reductions_in_a_type(name, dtype, dim):
    if (name, dtype) == ("nansum", torch.bool):
        pytest.skip("PyTorch has none of truth values")
    options = {"dtype": dtype} if dim is None else {"dtype": dtype, "dim": dim}
    if name == "nansum" and not dtype.is_floating_point and release(torch.__version__) < (2, 10):
        with pytest.raises(NotImplementedError):
            torch.nansum(X, **options)
        return  # PyTorch 2.9 has it of floating-point numbers alone
    assert_same(lambda x: getattr(torch, name)(x, **options), X.abs())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8, torch.float64, torch.int64])
def test_bits_of_another_type(dtype):
    assert_same(lambda x: x.view(dtype), X)
    assert_same(lambda x: x.view(dtype=dtype).view(torch.float32) + 1, X)


def test_writing_bits_of_another_type():
    def program(x):
        y = x * 1
        y.view(torch.int32).add_(1)
        return y

    assert_same(program, X)


@pytest.mark.parametrize("divisor", [float("inf"), -float("inf"), 0.0, 2.5])
def test_floor_division(divisor):
    assert_same(lambda x: x // divisor, WIDE)
    assert_same(lambda x, y: x // y, WIDE, torch.full_like(WIDE, divisor))


def written(x):
    y = x * 1
    y[y > 0] = 5.0
    return y


NO_DIMENSIONS = {
    "mask": lambda x: x[x > 0],
    "mask of nothing": lambda x: x[x < 0],
    "mask written": written,
    "flip": lambda x: x.flip(0),
    "flip of the last": lambda x: torch.flip(x, [-1]),
    "None": lambda x: x[None],
    "...": lambda x: x[...],
    "movedim": lambda x: x.movedim(0, -1),
    "where": lambda x: torch.where(x != 0)[0],
    "nonzero as tuple": lambda x: x.nonzero(as_tuple=True)[0],
}


@pytest.mark.parametrize("program", NO_DIMENSIONS.values(), ids=NO_DIMENSIONS.keys())
def test_no_dimensions(program):
    assert_same(program, SCALAR)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("name", ["median", "mean", "sum", "argsort", "cumsum", "softmax", "nonzero"])
def test_no_elements(name, shape):
    options = {"dim": 0} if name in ("cumsum", "softmax", "argsort") else {}
    assert_same(lambda x: getattr(torch, name)(x, **options), torch.zeros(shape))


def test_a_truth_value_as_index():
    assert_same(lambda x, m: x[m], X, torch.tensor(True))


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3).eval()

    def forward(self, x):
        return self.norm(input=self.conv(input=x))


KEYWORDS = {
    "attention": (
        lambda q: F.scaled_dot_product_attention(query=q, value=q * 2, key=q + 1), torch.rand(1, 2, 3, 4)
    ),
    "the weight first": (lambda x: F.linear(weight=torch.ones(3, 4), input=x), X),
    "NumPy's names": (lambda x: torch.sum(a=torch.sub(x1=x, x2=x * 2), axis=0, keepdims=True), X),
    "in place": (lambda x: torch.clamp_(min=0.5, input=x * 1), X),
    "modules": (Named().eval().requires_grad_(False), torch.rand(1, 2, 5, 5)),
}  # fmt: skip


@pytest.mark.parametrize(("program", "x"), KEYWORDS.values(), ids=KEYWORDS.keys())
def test_keywords(program, x):
    expected = program(x.clone())
    model = convert(program, x)
    np.testing.assert_allclose(model(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x.clamp(0.1, 0.7),
        lambda x: F.layer_norm(x, x.shape[-1:], eps=0.3),
        lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.7),
        lambda x: F.lp_pool1d(x, 3.1, 2),
        lambda x: torch.float_power(x.float(), 0.7),
    ],
    ids=["clamp", "layer norm", "attention", "pooling", "power"],
)
def test_numbers_beside_tensors_in_double_precision(program):
    x = torch.rand(2, 3, 4, dtype=torch.float64) + 0.5
    found = nobuco.t_keras2pytorch(convert(program, x)(x.numpy()), PYTORCH)
    torch.testing.assert_close(found, program(x), rtol=1e-13, atol=1e-13)


def test_zeta_at_its_poles_and_beyond_64_bits(check):
    exponents = [math.inf, 1e38, 1e20, 1e5, 300.0, 3.0, 1.5, 1.0, 0.5, math.nan]
    numbers = [math.inf, 1e20, 100.0, 2.0, 1.0, 0.5, 1e-20, 0.0, -0.5, -1.0, -math.inf, math.nan]
    check(torch.special.zeta, torch.tensor(exponents)[:, None], torch.tensor(numbers), tflite=True)
