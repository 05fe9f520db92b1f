"""Complex numbers and Fourier transforms in a TFLite file without Flex, against PyTorch."""

import numpy as np
import pytest
import torch
from torch import linalg, nn

import nobuco
from nobuco.export import run_tflite
from tests.lite import assert_tflite_matches, real, tflite_of


def test_beside_a_convolution_whose_gradient_is_its_own():
    conv = nn.Conv1d(4, 8, 3, groups=2).eval()
    assert_tflite_matches(lambda x: torch.fft.rfft(conv(x)).abs(), torch.randn(1, 4, 10))


pairs, numbers = torch.view_as_real, torch.view_as_complex


@pytest.mark.parametrize("length", [1, 2, 3, 16, 63, 97, 400, 512, 1031, 1500])
@pytest.mark.parametrize("transform", ["rfft", "fft", "ifft", "irfft"])
def test_transform(transform, length):
    compute = getattr(torch.fft, transform)
    if transform in ("rfft", "fft"):
        assert_tflite_matches(lambda x: pairs(compute(x)), real(2, length))
    elif transform == "ifft":
        assert_tflite_matches(lambda x: pairs(compute(numbers(x))), real(2, length, 2))
    else:
        assert_tflite_matches(lambda x: compute(numbers(x)), real(2, max(length, 2), 2))


def test_a_long_transform_makes_a_small_file():
    assert len(tflite_of(lambda x: torch.fft.fft(x).real, real(1, 6007))) < 500_000


WINDOW = torch.hann_window(64)


PROGRAMS = {
    "of a vector": (lambda x: pairs(torch.fft.rfft(x)), real(60)),
    "cut": (lambda x: torch.fft.rfft(x, n=7).abs(), real(3, 9)),
    "padded": (lambda x: torch.fft.rfft(x, n=20).abs(), real(3, 9)),
    "of odd length": (lambda x: torch.fft.irfft(numbers(x), n=7), real(3, 9, 2)),
    "along the first": (lambda x: torch.fft.fft(x, dim=0).real, real(6, 5)),
    "of all": (lambda x: torch.fft.fftn(x).imag, real(3, 4, 5)),
    "both ways": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 2, s=(12, 20)), real(2, 12, 20)),
    "Hermitian": (lambda x: torch.fft.hfft(numbers(x)), real(3, 9, 2)),
    "orthonormal": (lambda x: torch.fft.rfft(x, norm="ortho").abs(), real(3, 9)),
    "spectrogram": (lambda x: torch.stft(x, 64, 16, window=WINDOW, return_complex=True).abs() ** 2, real(1, 500)),
    "filtered": (
        lambda x: torch.istft(torch.stft(x, 64, 16, window=WINDOW, return_complex=True) * 0.5, 64, 16, window=WINDOW),
        real(1, 512),
    ),
    "rotary": (
        lambda x, c: pairs(numbers(x.reshape(1, 4, 4, 2)) * torch.polar(torch.ones_like(c), c)).flatten(-2),
        real(1, 4, 8),
        real(4, 4),
    ),
    "written": (lambda x: pairs(numbers(x.clone()).index_fill(1, torch.tensor([1]), 2j)), real(3, 5, 2)),
    "joined": (lambda x: pairs(torch.cat([numbers(x), numbers(x).flip(0)], 1)[:, ::2].roll(1, 0)), real(3, 5, 2)),
    "chosen": (lambda x: pairs(torch.where(x[..., 0] > 0, numbers(x), numbers(x) * 1j)), real(3, 5, 2)),
    "equal": (lambda x: numbers(x) == numbers(x.abs()), real(3, 5, 2)),
    "sums": (lambda x: pairs(torch.stack([numbers(x).sum(0), numbers(x).mean(0), numbers(x).prod(0)])), real(3, 5, 2)),
    "running": (lambda x: pairs(numbers(x).cumprod(0) + numbers(x).cumsum(0)), real(3, 5, 2)),
    "adjoint": (lambda x: pairs(numbers(x) @ numbers(x).mH), real(2, 3, 4, 2)),
    "einsum": (
        lambda x, y: pairs(torch.einsum("bij,jk->bik", numbers(x), numbers(y))),
        real(2, 3, 4, 2),
        real(4, 5, 2),
    ),
    "over real": (lambda x, y: pairs(numbers(x) / y), real(3, 5, 2), real(3, 5)),
    "norm": (lambda x: linalg.vector_norm(numbers(x)), real(5, 2)),
    "given": (lambda z: (z * z).real, torch.complex(real(3, 4), real(4, 3).T.contiguous())),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_complex_numbers(name):
    model, *args = PROGRAMS[name]
    assert_tflite_matches(model, *args)


FUNCTIONS = [
    "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "sgn", "reciprocal",
    "square", "log1p", "expm1", "asin", "acos", "atan", "asinh", "acosh", "atanh", "log2", "exp2", "abs",
    "angle",
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_complex_numbers(name):
    def compute(x):
        result = getattr(torch, name)(numbers(x))
        return pairs(result) if result.is_complex() else result

    assert_tflite_matches(compute, real(3, 5, 2))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow"])
def test_arithmetic_of_complex_numbers(name):
    assert_tflite_matches(
        lambda x, y: pairs(getattr(torch, name)(numbers(x), numbers(y))), real(3, 5, 2), real(1, 5, 2)
    )


def test_sizes_of_complex_numbers():
    x = torch.tensor([[0.0, 0.0], [3e30, 4e30], [1e-30, 1e-30], [torch.inf, 1], [torch.nan, 1], [0, -2]])
    assert_tflite_matches(lambda x: numbers(x).abs(), x, tolerance=1e-6)


def test_complex_weights():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.complex(real(4, 6), real(6, 4).T))

        def forward(self, x):
            return torch.fft.irfft(torch.fft.rfft(x) * self.weight[:, :5], n=8)

    assert_tflite_matches(Filter(), real(2, 4, 8))


def test_complex_numbers_of_dynamic_length():
    def model(x):
        return torch.fft.fft(x).abs()

    data = tflite_of(model, real(1, 12), input_shapes=[(None, None)])
    for shape in ((1, 12), (3, 7), (2, 30)):
        (found,) = run_tflite(data, [real(*shape).numpy()])
        np.testing.assert_allclose(found, model(real(*shape)), atol=1e-4)


def test_complex_numbers_in_a_loop_and_a_branch():
    def model(x):
        (z,) = torch.while_loop(lambda z: z.abs().sum() < 100, lambda z: (z * (1.5 + 0.5j),), (numbers(x),))
        return torch.cond(z.real.sum() > 0, lambda z: pairs(z * 2j), lambda z: pairs(z * 1.0), (z,))

    data = tflite_of(model, real(3, 5, 2))
    for x in (real(3, 5, 2), -real(3, 5, 2), 0.01 * real(3, 5, 2)):
        (found,) = run_tflite(data, [x.numpy()])
        np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-3)


def test_complex_outputs_are_told():
    with pytest.raises(nobuco.ExportError, match=r"output_0 is complex64; .*torch\.view_as_real"):
        tflite_of(torch.fft.fft, real(1, 12))
