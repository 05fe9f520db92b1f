"""Unique elements, runs and modes; searches and histograms; order among NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from nobuco import NobucoWarning
from tests.parity import check_parity

NAN = float("nan")
INF = float("inf")


@pytest.fixture
def same():
    """Convert once and compare; these look at tensors in PyTorch's order only."""
    from nobuco import ChannelOrder

    def compare(function, *args, **options):
        return check_parity(function, *args, orders=(ChannelOrder.PYTORCH,), **options)

    return compare


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_unique(same, dtype):
    x = torch.tensor([[3, 1, 0], [1, 3, 3]]).to(dtype)
    same(lambda x: torch.unique(x, return_inverse=True, return_counts=True), x)
    same(lambda x: torch.unique(x, return_inverse=True, return_counts=True, dim=1), x)
    same(lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True), x)
    same(lambda x: torch.unique_consecutive(x, dim=0), x[[0, 0, 1]])
    for dim in (0, -1):
        same(lambda x, dim=dim: torch.ops.aten.unique_consecutive(x, dim=dim), x.flatten())


def test_unique_of_nothing_and_of_one(same):
    same(lambda x: torch.unique(x, return_inverse=True, return_counts=True), torch.tensor(3.0))
    same(lambda x: torch.unique(x, return_counts=True), torch.zeros(0))


def test_unique_rows_in_tflite(same):
    same(lambda x: torch.unique(x, dim=0, return_counts=True), torch.tensor([[2, 1], [1, 2], [2, 1]]), tflite=True)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_mode(same, dim, keepdim):
    same(lambda x: torch.mode(x, dim, keepdim), torch.tensor([[3, 1, 3, 1], [2, 2, 5, 1], [2, 1, 3, 0]]))


@pytest.mark.parametrize("right", [False, True])
def test_places_among_sorted_numbers(same, right):
    edges, values = torch.tensor([1.0, 3.0, 3.0, 7.0]), torch.tensor([[0.0, 1.0, 3.0], [5.0, 9.0, NAN]])
    same(lambda e, v: torch.searchsorted(e, v, right=right), edges, values)
    same(lambda e, v: torch.bucketize(v, e, right=right, out_int32=True), edges, values)
    rows = torch.stack([edges, edges + 2])
    same(lambda e, v: torch.searchsorted(e, v, side="right" if right else "left"), rows, values, tflite=True)


def test_histograms(same):
    x = torch.tensor([0.0, 1.0, 1.5, 4.0, 4.0, -2.0])
    same(lambda x: torch.histc(x, 4, 0, 4), x)
    same(lambda x: torch.histc(x, 5), x, tflite=True)
    same(lambda x: torch.histogram(x, 4, range=(0.0, 4.0), density=True), x)
    same(lambda x, e: torch.histogram(x, e), x, torch.tensor([-1.0, 0.0, 2.0, 4.0]))
    same(lambda x: torch.histogramdd(x, [2, 3], weight=torch.arange(4.0)), torch.randn(4, 2))


def test_counts(same):
    x = torch.tensor([3, 1, 1, 0])
    same(lambda x: torch.bincount(x, minlength=6), x)
    same(lambda x, w: torch.bincount(x, w), x, torch.rand(4))
    same(lambda x: torch.bincount(x), x[:0])


WITH_NAN = torch.tensor([[2.0, NAN, 1.0, INF], [NAN, 0.0, -INF, NAN], [0.0, -0.0, 5.0, -5.0]])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_nan_is_sorted_behind_all(same, descending, dtype):
    same(lambda x: torch.sort(x, dim=1, descending=descending, stable=True), WITH_NAN.to(dtype))


def test_nan_is_sorted_behind_all_in_tflite(same):
    same(lambda x: torch.sort(x, dim=0, stable=True), WITH_NAN, tflite=True)


@pytest.mark.parametrize("pick", [torch.median, torch.nanmedian])
def test_median_among_nan(same, pick):
    same(lambda x: pick(x, dim=1), WITH_NAN)
    same(lambda x: (pick(x), x.isnan()), WITH_NAN)
    same(lambda x: (pick(x), x.isnan()), WITH_NAN[2])


def test_nan_is_the_extreme_one(same):
    same(lambda x: x.argmax(1), torch.tensor([[1.0, NAN, 3.0]]))


@pytest.mark.parametrize("count", [1, 3])
def test_nan_is_among_the_first(same, count):
    same(lambda x: torch.topk(x, count, 1), WITH_NAN[:2], tflite=True)
    same(lambda x: torch.topk(x, count, 0), torch.tensor([1.0, INF, NAN, 2.0, -INF, NAN, 3.0])[:5], tflite=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_shifts_beyond_all_bits(same, dtype):
    bits = torch.iinfo(dtype).bits
    x, by = torch.tensor([1, 100, -3]).to(dtype), torch.tensor([1, bits, bits + 1]).to(dtype)
    same(lambda x, by: (x << by, x >> by), x, by)


def test_parts_are_written_and_reduced(same):
    x = torch.arange(12.0).reshape(3, 4)
    same(lambda x, s: torch.diagonal_scatter(x, s, 1), x, torch.randn(3))
    same(lambda x, s: torch.as_strided_scatter(x, s, (2, 2), (1, 5), 1), x, torch.randn(2, 2))
    same(lambda x, s: torch.index_reduce(x, 0, torch.tensor([2, 0, 2]), s, "amax"), x, torch.randn(3, 4) * 9)
    same(lambda x: torch.nonzero_static(x > 7, size=5), x)
    for reduce in ("mean", "max", "amax", "min", "amin"):
        same(lambda x, reduce=reduce: torch.segment_reduce(x, reduce, lengths=torch.tensor([2, 0, 1]), axis=0), x)


def test_any_matrix_has_factors(same):
    singular = torch.tensor([[0.0, 2.0], [0.0, 4.0], [0.0, 1.0]])
    for x in (singular, singular.T.contiguous(), torch.randn(2, 3, 3)):
        same(lambda x: torch.linalg.lu_factor_ex(x), x, tflite=True)
        same(lambda x: torch.geqrf(x), x)
    same(lambda x: torch.linalg.pinv(x), torch.randn(4, 3))


def test_what_lapack_checks_opens(same):
    a, b = torch.randn(3, 3), torch.randn(3, 2)
    same(lambda a, b: (torch.linalg.solve(a, b), torch.linalg.inv(a), torch.linalg.cholesky(a @ a.T)), a, b)


def in_place(x):
    y = x * 1
    y.polygamma_(1)
    return y


def test_zeta_and_polygamma_of_negative_numbers(same):
    x = torch.tensor([-3.5, -1.25, 0.25, 8.0, NAN])
    same(lambda x: (in_place(x), torch.polygamma(3, x), torch.special.zeta(torch.tensor(4.0), x)), x)
    np.testing.assert_allclose(torch.special.zeta(torch.tensor(2.0), torch.tensor(1.0)), np.pi**2 / 6, rtol=1e-6)


SPECIAL = ["i0", "i0e", "i1", "i1e", "modified_bessel_k0", "modified_bessel_k1"]
SPECIAL += ["scaled_modified_bessel_k0", "scaled_modified_bessel_k1"]


@pytest.mark.parametrize("name", SPECIAL)
def test_modified_bessel_functions(same, name):
    x = torch.tensor([0.0, 1e-3, 0.5, 1.9, 2.1, 3.7, 3.8, 20.0, 80.0, 1e4, NAN, -3.0])
    x = x[:-3] if name in ("i0", "i1") else x
    same(getattr(torch.special, name), x, tflite="k" not in name, rtol=2e-6, atol=1e-30)
    same(getattr(torch.special, name), x.double(), rtol=1e-12)


@pytest.mark.parametrize("name", ["bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1"])
def test_bessel_functions_of_the_second_kind_at_zero(same, name):
    same(getattr(torch.special, name), torch.tensor([0.0, -0.0, -1.0, 2.0, NAN]))


@pytest.mark.parametrize("reduce", ["mean", "prod", "amax"])
def test_an_index_that_comes_twice_leaves_the_old_value_out_once(same, reduce):
    x, index, src = torch.randn(4), torch.tensor([1, 1, 3]), torch.randn(3)
    same(lambda x, s: x.scatter_reduce(0, index, s, reduce, include_self=False), x, src, tflite=True)


def test_a_split_at_places_in_a_tensor(same):
    same(lambda x, places: torch.tensor_split(x, places), torch.randn(5, 2), torch.tensor([1, 3]))


def test_a_split_into_as_many_parts_as_a_tensor_says_is_one_into_as_many_as_traced(same):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        same(lambda x: torch.tensor_split(x, torch.tensor(3), 1), torch.randn(2, 5))
    with pytest.warns(NobucoWarning, match="tensor_split takes a value that depends on the input into Python"):
        same(lambda x, parts: x.tensor_split(parts, dim=1), torch.randn(2, 5), torch.tensor(3))


def test_dtypes_that_tensorflow_lacks(same):
    x = torch.tensor([3, 250, 7], dtype=torch.uint8)
    same(lambda x: (torch.fmod(x, 4), x**3, torch.pow(x, x), x.index_add(0, torch.tensor([1]), x[:1])), x)
    z = torch.randn(2, 3, dtype=torch.complex64)
    same(lambda z: (torch.std(z, dim=1), torch.var(z, correction=0), *torch.std_mean(z, dim=0)), z)
