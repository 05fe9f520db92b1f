"""Factors of matrices, and what is found by them: at any size, in TFLite where it has the operations."""

from __future__ import annotations

import pytest
import tensorflow as tf
import torch

from nobuco import ChannelOrder
from tests.parity import check_parity
from tests.sizes import check_sizes

aten = torch.ops.aten
PYTORCH = (ChannelOrder.PYTORCH,)
SHAPES = [((4, 4), (6, 6)), ((3, 5), (6, 4)), ((5, 3), (2, 6)), ((2, 4, 3), (3, 5, 5))]
TURNED = torch.tensor([[0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [4.0, 1.0, 0.0]])


def same(function, *args, **options):
    """Convert once and compare; these look at tensors in PyTorch's order only."""
    return check_parity(function, *args, orders=PYTORCH, **options)


def anywhere(function, traced, *others, **options):
    """Convert with all axes free, and compare at all sizes given."""
    free = [range(x.dim()) for x in traced]
    return check_sizes(function, traced, *others, free=free, orders=PYTORCH, **options)


def square(*shape):
    """Matrices far from singular."""
    return torch.randn(shape) + 3 * torch.eye(shape[-1])


@pytest.mark.parametrize(("shape", "other"), SHAPES)
@pytest.mark.parametrize("function", [torch.linalg.lu_factor_ex, torch.linalg.lu, torch.geqrf])
def test_factors_at_other_sizes(function, shape, other):
    anywhere(lambda x: function(x), (torch.randn(shape),), (torch.randn(other),))


@pytest.mark.parametrize(("shape", "other"), SHAPES)
def test_packed_factors_at_other_sizes(shape, other):
    feeds = [torch.linalg.lu_factor(torch.randn(size)) for size in (shape, other)]
    anywhere(lambda lu, pivots: torch.lu_unpack(lu, pivots), *feeds)


@pytest.mark.parametrize(
    ("left", "transpose"), [(True, False), pytest.param(True, True, marks=pytest.mark.full), (False, False)]
)
def test_reflections_at_other_sizes(left, transpose):
    def feed(*shape):
        vectors, taus = torch.geqrf(torch.randn(shape))
        return vectors, taus, torch.randn(*shape[:-2], shape[-2], shape[-2])

    def reflected(vectors, taus, x):
        return torch.linalg.householder_product(vectors, taus), torch.ormqr(vectors, taus, x, left, transpose)

    same(reflected, *feed(5, 3), tflite=True)
    anywhere(reflected, feed(5, 3), feed(6, 4))
    anywhere(reflected, feed(2, 4, 4), feed(3, 2, 2))


@pytest.mark.full
def test_determinants():
    for x in (TURNED, TURNED.T, torch.stack([TURNED, 2 * torch.eye(3)]), torch.zeros(2, 2)):
        same(lambda x: (torch.linalg.det(x), torch.linalg.slogdet(x), torch.logdet(x @ x.mT)), x, tflite=True)
    x = torch.randn(2, 3, 3, dtype=torch.complex64)
    same(lambda x: (torch.linalg.det(x), torch.linalg.slogdet(x)), x)
    anywhere(lambda x: (x.det(), x.slogdet()), (square(2, 4, 4),), (square(3, 5, 5),))


@pytest.mark.parametrize("x", [TURNED, TURNED.T], ids=["by rows", "by columns"])
def test_the_factors_of_a_determinant_serve_its_gradient(x):
    same(lambda x: aten._linalg_det.default(x), x)
    same(lambda x: aten._linalg_slogdet.default(x), x)
    same(lambda x: torch.func.grad(torch.linalg.det)(x), x)


def test_solutions_at_other_sizes():
    anywhere(torch.linalg.solve, (square(3, 3), torch.randn(3)), (square(4, 4), torch.randn(4)), tflite=False)
    vectors = [(square(n, 4, 4), torch.randn(n, 4)) for n in (2, 3)]
    anywhere(torch.linalg.solve, *vectors, tflite=False)
    right = [(square(n, n), torch.randn(2, n)) for n in (3, 5)]
    anywhere(lambda a, b: torch.linalg.solve(a, b, left=False), *right, tflite=False)
    packed = [(*torch.linalg.lu_factor(square(n, n)), torch.randn(n, 2)) for n in (3, 5)]
    anywhere(lambda lu, pivots, b: torch.linalg.lu_solve(lu, pivots, b), *packed, tflite=False)
    anywhere(lambda x: torch.linalg.pinv(x), (torch.randn(5, 3),), (torch.randn(4, 6),), tflite=False)


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss", None])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 6, 3)])
def test_least_squares(driver, shape):
    for dtype in (torch.float32, torch.complex64):
        a, b = torch.randn(shape, dtype=dtype), torch.randn(*shape[:-1], 2, dtype=dtype)
        same(lambda a, b: tuple(torch.linalg.lstsq(a, b, driver=driver)), a, b)


def test_least_squares_of_any_number_of_points():
    def fitted(a, b):
        return torch.linalg.lstsq(a, b, driver="gels")[:2]

    feeds = [(torch.randn(n, 3), torch.randn(n, 2)) for n in (6, 9)]
    model = check_sizes(fitted, *feeds, free=[[0], [0]], orders=PYTORCH, tflite=False)
    for run in (model, tf.function(model)):  # PyTorch gives no residuals there
        with pytest.raises(Exception, match="more rows than columns"):
            run([tf.zeros([2, 3]), tf.zeros([2, 2])])


def test_exponentials_of_small_matrices_beside_large_ones():
    """A small one that were squared as often as the large one would lose four digits."""
    x = torch.stack([torch.randn(4, 4), -20_000 * torch.eye(4)])
    same(torch.linalg.matrix_exp, x, tflite=True, atol=1e-5, rtol=1e-5)
    anywhere(torch.linalg.matrix_exp, (x,), (torch.randn(3, 5, 5),))


def test_an_exponential_of_what_is_no_number_ends():
    x = torch.randn(3, 4, 4)
    x[1, 0, 0], x[2, 0, 0] = torch.inf, torch.nan
    same(torch.linalg.matrix_exp, x, tflite=True, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["forward", "backward", "ortho"])
def test_fourier_transforms_at_other_sizes(norm):
    feeds = [(torch.randn(shape, dtype=torch.complex64),) for shape in ((2, 4, 6), (3, 6, 10))]
    anywhere(lambda x: torch.fft.fft2(x, norm=norm), *feeds, tflite=False)


def test_unique_columns_of_any_number():
    feeds = [(torch.randint(3, shape),) for shape in ((2, 7), (3, 12))]
    anywhere(lambda x: torch.unique(x, dim=1, return_inverse=True, return_counts=True), *feeds)


@pytest.mark.parametrize("parameters", [torch.float16, torch.float32])
def test_statistics_of_a_batch_have_the_dtype_of_the_parameters(parameters):
    x, weight, bias = torch.randn(4, 3, 5).half(), *torch.rand(2, 3).to(parameters)
    same(lambda x, w, b: aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5), x, weight, bias, atol=2e-3)
