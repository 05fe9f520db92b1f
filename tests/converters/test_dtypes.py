"""Numbers for which TensorFlow has fewer operations than PyTorch: complex ones, those of 16 bits, truth values."""

from __future__ import annotations

import math

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.parity import convert

LAST = (ChannelOrder.TENSORFLOW,)
Z = torch.randn(2, 3, 4, dtype=torch.complex64)


@pytest.mark.parametrize(
    "function",
    [
        lambda z: torch.logaddexp(z, z[:1].conj() * 2),
        lambda z: (torch.logsumexp(z, 1), torch.logsumexp(z, (0, 2), keepdim=True), torch.logsumexp(1e3 + z, -1)),
        lambda z: (F.normalize(z), F.normalize(z, p=1.0, dim=-1), F.normalize(z * 0)),
        F.softsign,
    ],
    ids=["logaddexp", "logsumexp", "normalize", "softsign"],
)
def test_complex_functions(check, function):
    check(function, Z)


@pytest.mark.parametrize("function", [lambda z: torch.logsumexp(z, 1).real, lambda z: torch.logaddexp(z, z).real])
def test_logarithms_of_sums_of_nothing(check, function):
    check(function, torch.full((2, 3), -math.inf, dtype=torch.complex64), orders=LAST)


def test_module_with_complex_weights_opens(check):
    model = check(nn.Sequential(nn.Linear(4, 3, dtype=torch.complex64), nn.Linear(3, 2, dtype=torch.complex64)), Z)
    assert [weight.dtype for weight in model.weights] == ["complex64"] * 4


def test_complex_weights_take_another_checkpoint(tmp_path):
    first, second = (nn.Conv1d(3, 4, 2, dtype=torch.complex64) for _ in range(2))
    nobuco.pytorch_to_keras(first, [Z], verbose=False).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    nobuco.load_state_dict(model, second.state_dict())
    got = nobuco.t_keras2pytorch(model(nobuco.t_pytorch2keras(Z, *LAST)), *LAST)
    with torch.no_grad():
        assert torch.allclose(got, second(Z), atol=1e-5)


def check_rounded(function, *tensors):
    """That a function of numbers of 16 bits gives what PyTorch finds in float32, rounded; give or take a last bit."""
    dtype = tensors[0].dtype
    model = nobuco.pytorch_to_keras(function, list(tensors), outputs_channel_order=LAST[0], verbose=False)
    got = nobuco.t_keras2pytorch(model([nobuco.t_pytorch2keras(x, *LAST) for x in tensors]), *LAST)
    with torch.no_grad():
        expected = function(*(x.float() for x in tensors)).to(dtype)
    assert got.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got, expected, atol=eps / 4, rtol=eps)


HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@HALVES
@pytest.mark.parametrize("n", [1, 2, 3])
def test_transposed_convolution_sums_in_float32(n, dtype):
    x, w = torch.randn(1, 64, *[5] * n), torch.randn(64, 8, *[3] * n)
    check_rounded(getattr(F, f"conv_transpose{n}d"), x.to(dtype), w.to(dtype))


@HALVES
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_scores_are_of_float32(dtype, is_causal):
    # In 16 bits, scores of a few hundred would lose a quarter, and their exponentials as much of themselves.
    tensors = [torch.empty(4, 8, 16, 8).uniform_(-9, 9).to(dtype) for _ in range(3)]
    check_rounded(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=is_causal), *tensors)


@HALVES
def test_multi_head_attention_is_computed_in_float32(dtype):
    x, weights, out = torch.randn(5, 2, 8), torch.randn(24, 8), torch.randn(8, 8)

    def attention(x, weights, out):
        zeros = x.new_zeros(24)
        result, _ = F.multi_head_attention_forward(
            x, x, x, 8, 2, weights, zeros, None, None, False, 0.0, out, zeros[:8], need_weights=False
        )
        return result

    check_rounded(attention, *(t.to(dtype) for t in (x, weights, out)))


def test_multi_head_attention_module_in_float16(check):
    module = nn.MultiheadAttention(16, 2).half()
    nn.init.uniform_(module.in_proj_weight, -1, 1)
    x = torch.empty(16, 8, 16).uniform_(-4, 4).half()
    check(lambda x: module(x, x, x, need_weights=False), x, atol=5e-3, rtol=5e-3)


@HALVES
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_of_a_grid_are_of_float32(dtype, mode):
    x, grid = torch.randn(2, 3, 5, 5), torch.rand(2, 5, 5, 2) * 2.4 - 1.2
    check_rounded(lambda x, grid: F.grid_sample(x, grid, mode, "border", True), x.to(dtype), grid.to(dtype))


@HALVES
def test_incomplete_gamma_functions_in_16_bits(check, dtype):
    a, x = (torch.rand(2, 1, 4) * 5 + 0.1).to(dtype), (torch.rand(3, 1) * 5).to(dtype)
    close = {"atol": torch.finfo(dtype).eps, "rtol": torch.finfo(dtype).eps}
    check(lambda a, x: (torch.special.gammainc(a, x), torch.special.gammaincc(a, x)), a, x, **close)


@HALVES
def test_next_number(check, dtype):
    least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    numbers = [0.0, -0.0, least, -least, 1.0, -1.0, 1.5, torch.finfo(dtype).max, math.inf, -math.inf, math.nan]
    x = torch.tensor(numbers, dtype=dtype)
    check(lambda x, towards: torch.nextafter(x[:, None], towards), x, x, atol=0, rtol=0)


def test_square_of_a_truth_value_is_a_number(check):
    check(torch.square, torch.tensor([[True, False]]))


@pytest.mark.parametrize("accumulate", [False, True])
def test_truth_values_written_by_index(check, accumulate):
    x, values = torch.tensor([True, False, False, True]), torch.tensor([True, False, True])
    if not accumulate:
        values[1] = True  # twice the same place, which has to be given the same
    places = torch.tensor([1, 1, 2])
    check(lambda x, v: x.index_put((places,), v, accumulate=accumulate), x, values)


def test_float64_of_a_dynamic_size_in_tflite():
    x, larger = torch.randn(2, 3), torch.randn(5, 3)

    def filled(x):
        return torch.ones_like(x, dtype=torch.float64), torch.full_like(x, 0.1, dtype=torch.float64)

    model = nobuco.pytorch_to_keras(filled, [x], input_shapes={x: (None, 3)}, verbose=False)
    got = run_tflite(to_tflite(model), [larger.numpy()])
    assert all(torch.equal(torch.as_tensor(ours), theirs) for ours, theirs in zip(got, filled(larger), strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_exponentials_of_matrices_in_16_bits(dtype):
    """Against float32's: PyTorch's own in 16 bits are NaN."""
    x = torch.randn(2, 4, 4).to(dtype)
    model = convert(torch.linalg.matrix_exp, x, full_validation=False)
    got = nobuco.t_keras2pytorch(model(nobuco.t_pytorch2keras(x, ChannelOrder.PYTORCH)), ChannelOrder.PYTORCH)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), torch.linalg.matrix_exp(x.float()), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("name", ["chebyshev_polynomial_t", "hermite_polynomial_he", "legendre_polynomial_p"])
def test_polynomials_of_integers(check, name):
    check(getattr(torch.special, name), torch.tensor([-2, 0, 3]), torch.tensor([0, 2, 4]), orders=LAST)
