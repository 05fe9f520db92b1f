"""Linear layers and products against PyTorch."""

from __future__ import annotations

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.errors import ExportError
from tests.lite import ops_of
from tests.older import is_older
from tests.parity import ORDERS

A = torch.randn(2, 3, 4, 5)
B = torch.randn(2, 3, 5, 6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5), (2, 3, 4, 5), (2, 1, 3, 4, 5)])
def test_linear(check, shape, bias):
    x = torch.randn(shape)
    model = check(nn.Sequential(nn.Linear(5, 7, bias=bias)), x, tflite=True)
    if len(shape) > 1:
        assert isinstance(model.get_layer("0"), keras.layers.Dense)
        assert ops_of(nn.Linear(5, 7, bias=bias), x, order="nchw") == ["FULLY_CONNECTED"]


def test_linear_with_a_dynamic_batch_is_one_operation():
    x = torch.randn(2, 3, 5)
    assert ops_of(nn.Linear(5, 7), x, input_shapes={x: (None, None, 5)}, order="nchw") == ["FULLY_CONNECTED"]


def test_linear_function(check):
    weight, bias = torch.randn(7, 5), torch.randn(7)
    check(lambda x: F.linear(x, weight, bias), A, tflite=True)
    check(F.linear, A, weight)
    check(F.linear, A, weight[0])


def test_bilinear(check):
    check(nn.Bilinear(3, 4, 5), torch.randn(2, 6, 3), torch.randn(2, 6, 4))
    check(F.bilinear, torch.randn(2, 3), torch.randn(2, 4), torch.randn(5, 3, 4))
    square = torch.randn(8, 8, 8)
    check(F.bilinear, torch.randn(2, 3, 8), torch.randn(2, 3, 8), square, tflite=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a @ b,
        lambda a, b: torch.matmul(a, other=b),
        lambda a, b: a.matmul(b[0]),
        lambda a, b: a[0, 0] @ b,
        lambda a, b: a @ b[0, 0],
        lambda a, b: a @ b[0, 0, :, 0],
        lambda a, b: a[0, 0, 0] @ b,
        lambda a, b: a[0, 0, 0] @ b[0, 0, :, 0],
        lambda a, b: a @ b.mT.mT,
        lambda a, b: torch.Tensor.__rmatmul__(b, a),
        lambda a, b: torch.mm(a[0, 0], b[0, 0]),
        lambda a, b: torch.bmm(a[0], b[0]),
        lambda a, b: torch.mv(a[0, 0], b[0, 0, :, 0]),
        lambda a, b: torch.dot(a[0, 0, 0], b[0, 0, :, 0]),
        lambda a, b: torch.vdot(a[0, 0, 0], b[0, 0, :, 0]),
        lambda a, b: torch.inner(a, b[0, 0].T),
        lambda a, b: torch.inner(a, torch.tensor(2.0)),
        lambda a, b: torch.outer(a[0, 0, 0], b[0, 0, 0]),
        lambda a, b: torch.ger(a[0, 0, 0], vec2=b[0, 0, 0]),
        lambda a, b: torch.addmm(b[0, 0, 0], a[0, 0], b[0, 0]),
        lambda a, b: torch.addmm(b[0, 0, :4], mat1=a[0, 0], mat2=b[0, 0], beta=0.5, alpha=2),
        lambda a, b: (a[0, 0] @ b[0, 0]).addmm_(a[0, 0], b[0, 0], beta=0),
        lambda a, b: torch.baddbmm(b[0, :, :4], a[0], b[0], alpha=3),
        lambda a, b: torch.addbmm(b[0, 0, :4], a[0], b[0], beta=2),
        lambda a, b: torch.addmv(a[0, 0, :, 0], a[0, 0], b[0, 0, :, 0], alpha=0.5),
        lambda a, b: torch.addr(b[0, 0], a[0, 0, 0], b[0, 0, 0], beta=2),
        lambda a, b: torch.chain_matmul(a[0, 0], b[0, 0], b[0, 0].T),
        lambda a, b: torch.linalg.multi_dot([a[0, 0], b[0, 0], b[0, 0].T]),
        lambda a, b: torch.tensordot(a, b, dims=([3], [2])),
        lambda a, b: torch.tensordot(a, b, ([0, -1], [0, -2])),
        lambda a, b: torch.tensordot(a[0, 0], b[0, 0], 1),
        lambda a, b: torch.kron(a[0, 0], b[0, 0]),
        lambda a, b: torch.kron(a[0], b[0, 0]),
        lambda a, b: torch.cross(a, a * 2 + 1, dim=1),
        lambda a, b: torch.linalg.cross(a, a.flip(1), dim=1),
        lambda a, b: torch.linalg.cross(a.transpose(1, 3), a[:1, :, :1, :1].transpose(1, 3)),
    ],
)
def test_products(check, function):
    check(function, A, B)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64])
def test_other_dtypes(check, dtype):
    check(torch.matmul, torch.randint(0, 5, (2, 3, 4)).to(dtype), torch.randint(0, 5, (2, 4, 3)).to(dtype))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("bhij, bhjd -> bhid", [(2, 3, 4, 5), (2, 3, 5, 6)]),
        ("bij,jk", [(2, 3, 4), (4, 5)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
        ("nkctv,kvw->nctw", [(2, 3, 4, 5, 6), (3, 6, 6)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ii->i", [(4, 4)]),
        ("bii->b", [(2, 4, 4)]),
        ("iijj", [(3, 3, 4, 4)]),
        ("ij->ji", [(3, 4)]),
        ("bchw->bc", [(2, 3, 4, 5)]),
        ("ba,bc,cd->ad", [(2, 3), (2, 4), (4, 5)]),
        ("Bc,cA", [(2, 3), (3, 4)]),
        ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ],
)
def test_einsum(check, equation, shapes):
    check(lambda *tensors: torch.einsum(equation, *tensors), *map(torch.randn, shapes), tflite=True)


def test_a_size_of_one_is_stretched(check):
    """In PyTorch one goes with any size, in products too."""
    check(lambda a, b: torch.tensordot(a, b, 2), torch.randn(2, 1, 2), torch.randn(2, 1, 2))
    check(lambda a, b: torch.einsum("ij,jk->ik", a, b), torch.randn(3, 1), torch.randn(4, 5))
    check(lambda a, b, c: torch.einsum("ij,jk,k->ik", a, b, c), torch.randn(3, 4), torch.randn(1, 5), torch.randn(1))


def test_einsum_other_forms(check):
    check(lambda a, b: torch.einsum("abij,abjk->abik", [a, b]), A, B)
    check(lambda a, b: torch.einsum("...ij, ...jk -> ik", a, b), A, B)
    check(lambda a, b: torch.einsum(a, [0, 1, 2, 3], b, [0, 1, 3, 4], [0, 1, 2, 4]), A, B)
    check(lambda a, b: torch.einsum(a, [..., 2, 3], b, [..., 3, 4]), A, B)


_WRONG_PRODUCT = pytest.mark.xfail(
    not is_older("tensorflow", "2.21"),
    strict=True,
    raises=ExportError,
    reason="TensorFlow's converter makes a wrong product of aij,Ajk->aiAk",
)


@pytest.mark.parametrize(
    "equation",
    [
        "aij, Ajk, kB -> aAB", "aij,Ajk,kB,B->a", "aij,Ajk->aAk", pytest.param("aij,Ajk,kB", marks=_WRONG_PRODUCT)
    ],
)  # fmt: skip
def test_einsum_of_many(check, equation):
    operands = [torch.randn(2, 3, 4), torch.randn(5, 4, 3), torch.randn(3, 2), torch.randn(2)]
    check(lambda *x: torch.einsum(equation, *x), *operands[: equation.count(",") + 1], tflite=True, orders=ORDERS)


@pytest.mark.parametrize("equation", ["aij,aij->", "...ij,...ij->", "...j,...j", "aii,aii->"])
def test_einsum_that_leaves_nothing(check, equation):
    check(lambda x, y: torch.einsum(equation, x, y), torch.randn(2, 3, 3), torch.randn(2, 3, 3), tflite=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a @ b,
        lambda a, b: a @ b.transpose(-1, -2).contiguous().transpose(-1, -2),
        lambda a, b: torch.einsum("bhid,bhdj->bhij", a, b),
    ],
)
def test_products_are_one_operation(function):
    assert ops_of(function, A, B, order="nchw") == ["BATCH_MATMUL"]
