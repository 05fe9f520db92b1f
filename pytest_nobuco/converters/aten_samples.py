"""Samples of ATen overloads whose arguments are others than those of the operations that OpInfo has.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nobuco.ops.names import Tensor, aten, torch
from nobuco.registry import Sample
from pytest_nobuco.converters.drawing import Make


def _image(*shape: int) -> Tensor:
    return torch.randn(shape or (2, 3, 4, 5))


def _upsampled(rank: int, *options: Any) -> Make:
    """Twice to a size, once by factors; `options` stand between the two."""

    def make() -> Sequence[Sample]:
        x, factors = _image(2, 3, *(4, 5, 3)[:rank]), [2.0, 1.5, 2.0][:rank]
        return [
            Sample((x, [7, 8, 6][:rank], *options, None)),
            Sample((x, [3, 10, 2][:rank], *options, None)),
            Sample((x, None, *options, factors)),
        ]

    return make


def _ctc() -> Sequence[Sample]:
    """With the lengths as tensors, and as lists."""
    x, labels = torch.randn(9, 2, 5).log_softmax(2), torch.randint(1, 5, (2, 3))
    tensors, lists = (torch.tensor([9, 7]), torch.tensor([3, 2])), ([9, 7], [3, 2])
    return [
        Sample((x, labels, *lengths, *options))
        for lengths in (tensors, lists)
        for options in ((), (0, 0), (0, 2, True))
    ]


def _antialiased() -> Sequence[Sample]:
    return [Sample((_image(2, 3, 9, 8), [4, 5], align)) for align in (False, True)]


def _normalized() -> Sequence[Sample]:
    x, weight, bias, mean, var = _image(), *(torch.rand(3) + 0.5 for _ in range(4))
    return [Sample((x, weight, bias, mean, var, 0.1, 1e-5)), Sample((x, None, None, mean, var, 0.1, 1e-3))]


def _huber() -> Sequence[Sample]:
    return [Sample((3 * _image(), _image(), reduction, 0.7)) for reduction in (0, 1, 2)]


def _einsum() -> Sequence[Sample]:
    return [Sample(("bij,bjk->bik", [_image(2, 3, 4), _image(2, 4, 5)])), Sample(("ij->ji", [_image(3, 4)]))]


def _unique() -> Sequence[Sample]:
    x = torch.tensor([[1, 2, 1], [3, 0, 3], [1, 2, 1]])
    return [Sample((x, dim, True, True, True)) for dim in (0, 1)]


def _eigh() -> Sequence[Sample]:
    """The signs of eigenvectors are anybody's choice, the matrix that they make up is not."""

    def program(op: Any, a: Tensor, *side: str) -> Any:
        values, vectors = op(a, *side)
        return values, (vectors * values.unsqueeze(-2)) @ vectors.mT

    a = _image(2, 4, 4)
    samples = [Sample((a + a.mT,), program=program), Sample((a[0] @ a[0].mT,), program=program)]
    return [*samples, *(Sample((a, side), program=program) for side in ("L", "U"))]


def _eig() -> Sequence[Sample]:
    """So are the order of eigenvalues and the factors of eigenvectors."""

    def program(op: Any, a: Tensor) -> Any:
        values, vectors = op(a)
        return values.abs().sort().values, ((vectors * values.unsqueeze(-2)) @ torch.linalg.inv(vectors)).real

    return [Sample((_image(2, 4, 4),), program=program), Sample((_image(5, 5),), program=program)]


def _eigvals() -> Sequence[Sample]:
    return [Sample((_image(*shape),), program=lambda op, a: op(a).abs().sort().values) for shape in ((2, 4, 4), (5, 5))]


def _solved() -> Sequence[Sample]:
    """As many right sides as unknowns, so that they may stand on either side."""
    a, b = _image(2, 3, 3) + 3 * torch.eye(3), _image(2, 3, 3)
    beside = [Sample((a, b), {"left": left}) for left in (True, False)]
    return [*beside, Sample((a, b[..., :2])), Sample((a, b[0, :2])), Sample((a[0], b[0, 0]))]


def _strided() -> Sequence[Sample]:
    """What it holds is whatever the memory held, so only its size tells."""

    def program(op: Any, x: Tensor) -> Any:
        height, width = x.shape
        return x + torch.zeros_like(op((height, width), (width, 1)))

    return [Sample((_image(4, 5),), program=program), Sample((_image(3, 2),), program=program)]


SAMPLES: Mapping[Any, Make] = MappingProxyType(
    {
        aten.ctc_loss.Tensor: _ctc,
        aten.upsample_nearest1d.vec: _upsampled(1),
        aten._upsample_nearest_exact1d.vec: _upsampled(1),
        aten.upsample_linear1d.vec: _upsampled(1, False),
        aten.upsample_bilinear2d.vec: _upsampled(2, False),
        aten.upsample_bicubic2d.vec: _upsampled(2, False),
        aten.upsample_trilinear3d.vec: _upsampled(3, True),
        aten._upsample_bilinear2d_aa.default: _antialiased,
        aten._native_batch_norm_legit_no_training.default: _normalized,
        aten.huber_loss.default: _huber,
        aten.einsum.default: _einsum,
        aten.polygamma.default: lambda: [Sample((n, torch.rand(2, 3) + 0.5)) for n in (0, 1, 3)],
        aten.to.dtype_layout: lambda: [
            Sample((_image(),), {"dtype": torch.int32}),
            Sample((_image(),), {"copy": True}),
        ],
        aten.resize.default: lambda: [Sample((_image(), [2, 30])), Sample((_image(), [3, 4]))],
        aten.unique_dim.default: _unique,
        aten._linalg_eigh.default: _eigh,
        aten._linalg_solve_ex.default: _solved,
        aten.linalg_eig.default: _eig,
        aten.linalg_eigvals.default: _eigvals,
        aten._linalg_eigvals.default: _eigvals,
        aten.empty_strided.default: _strided,
    }
)
