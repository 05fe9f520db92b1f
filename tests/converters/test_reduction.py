"""Parity of reductions, norms, sorting and running sums, in every form of their arguments."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from nobuco import ChannelOrder
from tests.lite import ops_of
from tests.older import fails_before
from tests.sizes import check_dynamic

LAST = (ChannelOrder.TENSORFLOW,)
DIMS = [None, (), 0, 1, -1, (2, 3), (-2, -1), [1], (0, 2), (0, 1, 2, 3)]
MANY = ["sum", "mean", "amax", "amin", "var", "std", "any", "all", "nansum", "nanmean"]
ONE = ["prod", "argmax", "argmin"]


def image() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5)


def _name(value: object) -> str:
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("dim", DIMS, ids=str)
def test_over_dims(check, name, dim):
    if dim is None and name.startswith("am"):
        dim = ()
    x = image() > 0.9 if name in ("any", "all") else image()
    reduce, method = getattr(torch, name), getattr(torch.Tensor, name)
    check(lambda x: (reduce(x, dim=dim), method(x, dim, keepdim=True)), x)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_over_one_dim(check, name, dim):
    check(lambda x: (getattr(torch, name)(x, dim), getattr(x, name)(dim=dim, keepdim=True)), image())


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4), (1, 3, 2, 4, 2)], ids=str)
def test_ranks(check, shape):
    def several(x):
        return (
            x.sum(0),
            x.mean(-1),
            x.amax(-1, True),
            x.argmax(-1),
            x.max(0),
            x.std(),
            x.norm(dim=-1),
            x.cumsum(0),
        )

    check(several, torch.randn(shape))


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_in_three_forms(check, name):
    reduce = getattr(torch, name)
    check(lambda x: (reduce(x), reduce(x, 1), getattr(x, name)(dim=-1, keepdim=True)), image())
    check(lambda x, y: (reduce(x, y), getattr(x, name)(other=y)), image(), torch.randn(4, 1))
    check(lambda x: (reduce(x, 2).values, reduce(x, 2)[1]), image())


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "amax"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8], ids=str)
def test_extremes_of_integers(check, name, dtype):
    x = torch.randint(0, 5, (3, 4)).to(dtype)
    check(partial(getattr(torch, name), dim=1), x, tflite=dtype is not torch.uint8, orders=LAST)


def test_extremes_of_truth(check):
    x = torch.rand(3, 4) > 0.5
    check(lambda x: (x.amax(1), x.amin(0), x.max(), x.min()), x)


def test_numpy_spellings(check):
    check(lambda x: (x.sum(axis=1, keepdims=True), torch.mean(x, axis=(2, 3)), x.argmax(axis=1)), image())


def test_position_among_all_counts_in_pytorch_order(check):
    check(lambda x: (x.argmax(), torch.argmin(x, keepdim=True)), image())


def test_aminmax(check):
    check(lambda x: (*torch.aminmax(x), *x.aminmax(dim=1, keepdim=True)), image())


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32], ids=str)
def test_integers_are_summed_as_int64(check, name, dtype):
    check(lambda x: getattr(torch, name)(x, 1), torch.randint(0, 3, (3, 4)).to(dtype))


def test_dtype(check):
    x = torch.randint(-3, 3, (2, 3, 4))
    check(
        lambda x: (
            x.sum(dtype=torch.float32),
            torch.mean(x, 1, dtype=torch.float32),
            x.prod(1, dtype=torch.float64),
            x.cumsum(0, dtype=torch.float32),
            torch.sum(x, dim=(0, 1), dtype=torch.int32),
        ),
        x,
    )
    check(
        lambda x: (x.norm(dim=1, dtype=torch.float64), torch.linalg.vector_norm(x, dtype=torch.float64)),
        x.float(),
    )


def test_truth_of_bytes_is_bytes(check):
    check(lambda x: (x.any(1), x.all(0), x.any()), torch.tensor([[0, 1], [2, 3]]).to(torch.uint8))
    check(lambda x: (x.any(1), x.all(), x.all(dim=0, keepdim=True)), image())


MOMENTS = [
    lambda x, f: f(x),
    lambda x, f: f(x, False),
    lambda x, f: f(x, 1),
    lambda x, f: f(x, 1, False, True),
    lambda x, f: f(x, dim=(2, 3), unbiased=False),
    lambda x, f: f(x, dim=[1], correction=2, keepdim=True),
    lambda x, f: f(x, correction=0),
    lambda x, f: f(x, (0, -1), keepdim=True),
    lambda x, f: f(x, dim=None, correction=0.5),
]


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
@pytest.mark.parametrize("form", MOMENTS, ids=range(len(MOMENTS)))
def test_moments(check, name, form):
    check(lambda x: form(x, getattr(torch, name)), image())


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_moments_without_freedom(check):
    check(lambda x: (x.var(0), x.std(0)), torch.randn(1, 3))


def test_numbers_that_are_none(check):
    x = image()
    x[0, 0] = math.nan
    check(
        lambda x: (x.nansum(), x.nansum(1), torch.nanmean(x, (2, 3), True), x.count_nonzero(1), x.nanmean()),
        x,
    )
    check(lambda x: (torch.count_nonzero(x), x.count_nonzero((0, 2))), torch.randint(0, 2, (2, 3, 4)))


@pytest.mark.parametrize("dim", [1, -1, (2, 3), [0, 1]], ids=str)
def test_logsumexp(check, dim):
    check(
        lambda x: (torch.logsumexp(x, dim), x.logsumexp(dim, True), torch.special.logsumexp(x, dim=dim)),
        image(),
    )


@pytest.mark.parametrize("p", [2, 1, 0, 3, 0.5, -1, math.inf, -math.inf, "fro"])
def test_norms(check, p):
    check(lambda x: (x.norm(p), x.norm(p, 1), torch.norm(x, p=p, dim=(2, 3), keepdim=True)), image())
    if p != "fro":
        norm = torch.linalg.vector_norm
        check(lambda x: (norm(x, p), norm(x, p, dim=-1), norm(x, ord=p, dim=(1, 2), keepdim=True)), image())


def test_linalg_norms(check):
    norm, matrix = torch.linalg.norm, torch.linalg.matrix_norm
    check(lambda x: (norm(x), norm(x, dim=1), norm(x, 1, dim=-1), norm(x, "fro", (2, 3)), matrix(x)), image())
    check(
        lambda x: (
            norm(x, 1, (1, 3)),
            matrix(x, math.inf),
            matrix(x, -1, (1, 2), True),
            norm(x, -math.inf, (-2, -1)),
        ),
        image(),
    )


@fails_before("torch", "2.13", "it refuses some of them itself", raises=IndexError)
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_norms_of_matrices_without_elements(check, shape):
    check(lambda x: tuple(torch.linalg.norm(x, ord) for ord in (1, math.inf, "nuc", 2, "fro")), torch.zeros(shape))


@pytest.mark.parametrize("p", [2, 1, 3.5])
@pytest.mark.parametrize("dim", [1, -1, (1, 2)], ids=str)
def test_normalize(check, p, dim):
    check(lambda x: F.normalize(x, p, dim), image())


def test_normalize_of_zeros(check):
    check(lambda x: F.normalize(x, dim=-1, eps=1e-3), torch.tensor([[0.0, 0.0], [1e-5, 0.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("a", "b", "dim"),
    [
        ((2, 3, 4, 5),) * 2 + (1,),
        ((2, 3, 4),) * 2 + (-1,),
        ((5, 3), (1, 3), 1),
        ((2, 3, 4, 5), (4, 5), -1),
        ((2, 3, 4), (1, 1, 4), 1),
        ((7,), (7,), 0),
    ],
)
def test_similarity(check, a, b, dim):
    check(lambda a, b: F.cosine_similarity(a, b, dim=dim), torch.randn(a), torch.randn(b))


def test_distances(check):
    check(lambda a, b: F.pairwise_distance(a, b), torch.randn(4, 6), torch.randn(4, 6))
    check(
        lambda a, b: F.pairwise_distance(a, b, 1.0, keepdim=True),
        torch.randn(2, 3, 4, 6),
        torch.randn(2, 3, 4, 6),
    )
    check(
        lambda a, b: (torch.cdist(a, b), torch.cdist(a, b, 1.0), torch.dist(a, a + 1), torch.dist(a, a.int())),
        torch.randn(2, 5, 3),
        torch.randn(2, 4, 3),
    )


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss], ids=_name)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(check, loss, reduction):
    check(partial(loss, reduction=reduction), image(), image())


SORTS = [
    lambda x: x.sort(),
    lambda x: torch.sort(x, 1),
    lambda x: x.sort(dim=0, descending=True),
    lambda x: torch.sort(x, stable=True, dim=2, descending=True),
    lambda x: x.argsort(1, True),
    lambda x: torch.argsort(x),
    lambda x: torch.msort(x),
    lambda x: x.topk(2),
    lambda x: torch.topk(x, k=2, dim=1, largest=False),
    lambda x: x.kthvalue(2),
    lambda x: torch.kthvalue(x, 3, 1, True),
    lambda x: x.median(),
    lambda x: x.median(1),
    lambda x: torch.median(x, dim=-1, keepdim=True),
]


@pytest.mark.parametrize("function", SORTS, ids=range(len(SORTS)))
def test_sorting(check, function):
    check(function, image())
    check(function, torch.randperm(60).reshape(3, 4, 5))


def test_equals_keep_their_order(check):
    x = torch.tensor([[2, 1, 2, 1, 0, 2]])
    check(lambda x: (*x.sort(stable=True), *x.sort(stable=True, descending=True)), x)
    check(lambda x: (*x.sort(stable=True), *x.float().sort(stable=True, descending=True)), x > 1)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running(check, name, dim):
    check(lambda x: (getattr(torch, name)(x, dim), getattr(x, name)(dim=dim)), torch.randn(3, 4, 7), tflite=True)


def test_running_extremes_of_equals(check):
    check(lambda x: (torch.cummax(x, 0), torch.cummin(x, 0)), torch.tensor([2, 1, 1, 3, 3, 2, 1]))


def test_running_sum_of_complex_exponentials(check):
    z = 4 * torch.randn(3, 6, dtype=torch.complex64)
    check(lambda z: (torch.logcumsumexp(z, 1), z.logcumsumexp(0)), z)
    check(lambda z: torch.logcumsumexp(z, 0), torch.full((3,), -torch.inf, dtype=torch.complex64))


def test_differences(check):
    ends = torch.rand(3, 2, 7), torch.rand(3, 1, 7)
    check(
        lambda x: (x.diff(), x.diff(n=2, dim=1), torch.diff(x, dim=0), x.diff(n=9)), torch.randn(3, 4, 7), tflite=True
    )
    check(lambda x, a, b: torch.diff(x, dim=1, prepend=a, append=b), torch.randn(3, 4, 7), *ends)
    check(lambda x, a: torch.diff(x, n=0, dim=1, prepend=a), torch.randn(3, 4, 7), ends[0])
    check(lambda x, a: torch.diff(x, dim=1, append=a), torch.randn(3, 4, 7), torch.ones(3, 1, 7, dtype=torch.int32))
    check(lambda x: ((x > 0).diff(), x.long().diff()), 9 * torch.randn(3, 4))


def test_running_in_place(check):
    check(lambda x: x.cumsum_(1), image())


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: x.mean([2, 3]), ["MEAN"]),
        (lambda x: x.mean((-2, -1), keepdim=True), ["MEAN"]),
        (lambda x: x.sum(2), ["SUM"]),
        (
            lambda x: x.amax(1, True),
            ["NOT_EQUAL", "REDUCE_ANY", "REDUCE_MAX", "SELECT_V2"],
        ),  # NaN, too, which REDUCE_MAX passes over
        (lambda x: x.argmax(2), ["NOT_EQUAL", "MINIMUM", "SELECT_V2", "ARG_MAX"]),  # NaN is the largest in PyTorch
        (lambda x: F.normalize(x, dim=1), ["L2_NORMALIZATION"]),
        (lambda x: x.var((2, 3), unbiased=False), ["MEAN", "SQUARED_DIFFERENCE", "MEAN"]),
        (lambda x: x.topk(2, 1).values, ["NOT_EQUAL", "MINIMUM", "SELECT_V2", "TOPK_V2", "GATHER"]),
        (lambda x: x.cumsum(1), ["CUMSUM"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_tflite_operations(check, function, operations):
    check(function, image(), orders=LAST, tflite=True)
    assert ops_of(function, image()) == operations


@pytest.mark.parametrize("dims", [(2,), (0, 1, 5, 6), None], ids=str)
def test_of_more_dimensions_than_xnnpack_reduces(check, dims):
    def several(x):
        found = x.sum(dims), x.mean(dims, True), (x > 0).any(dims)
        return *found, x.amax(dims or (), True), x.amin(dims or ())

    check(several, torch.randn(2, 3, 4, 2, 3, 2, 2), orders=(ChannelOrder.PYTORCH,), tflite=True)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_means_of_no_complex_numbers(check):
    def several(x):
        return torch.mean(x), *torch.var_mean(x, False), x.mean(0)

    check(several, torch.zeros(0, 3, dtype=torch.complex64), orders=(ChannelOrder.PYTORCH,))


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min", "max of all"])
def test_where_nan_is(check, name):
    """It is the extreme, and the first of several; infinity before it is not."""
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([[1.0, nan, nan, 9.0], [inf, nan, -inf, 0.0], [-inf, 2.0, inf, inf], [3.0, -inf, 1.0, nan]])
    programs = {
        "argmax": lambda x: (x.argmax(1), x.argmax(0)),
        "argmin": lambda x: (x.argmin(1), x.argmin(0)),
        "max": lambda x: x.max(1)[1],
        "min": lambda x: x.min(0)[1],
        "max of all": lambda x: x.argmax(),
    }
    check(programs[name], x)


def test_a_response_is_normalised_over_dynamic_channels():
    check_dynamic(torch.nn.LocalResponseNorm(1, alpha=0.1), torch.rand(2, 2, 4), torch.rand(3, 5, 4), free=(0, 1))
