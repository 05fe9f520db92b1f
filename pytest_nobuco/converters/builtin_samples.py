"""Samples of built-in converters beyond what PyTorch's OpInfo has.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nobuco.functions import force_pytorch_order, force_tensorflow_order
from nobuco.ops.names import F, Tensor, torch
from nobuco.registry import Sample
from pytest_nobuco.converters.drawing import Make, image


def _dropout() -> Sequence[Sample]:
    return [Sample((image(2, 8, 6, 5), rate, trains)) for rate, trains in ((0.5, False), (0.3, True), (0.0, True))]


def _batch_norm() -> Sequence[Sample]:
    x, mean, var = image(), torch.randn(3), torch.rand(3) + 0.5
    weight, bias = torch.randn(3), torch.randn(3)
    return [
        Sample((x, weight, bias, mean, var, False, 0.1, 1e-5, False)),
        Sample((x, None, None, mean, var, False, 0.1, 1e-3, False)),
        Sample((x, weight, bias, None, None, True, 0.1, 1e-5, False)),
    ]


def _instance_norm_of_statistics() -> Sequence[Sample]:
    """Kept as they are, and counted on."""
    mean, var, weight = torch.randn(3), torch.rand(3) + 0.5, torch.randn(3)
    return [Sample((image(), mean, var, weight, None, counts, 0.3)) for counts in (True, False)]


def _instance_norm() -> Sequence[Sample]:
    weight, bias = torch.randn(3), torch.randn(3)
    return [
        Sample((image(), weight, bias, None, None, True, 0.1, 1e-5, False)),
        Sample((image(2, 3, 6), None, None, None, None, True, 0.1, 1e-3, False)),
        Sample((image(), weight, bias, torch.randn(3), torch.rand(3) + 0.5, False, 0.1, 1e-5, False)),
    ]


def _group_norm() -> Sequence[Sample]:
    return [Sample((image(2, 6, 4, 5), 3, torch.randn(6), torch.randn(6))), Sample((image(2, 6, 4), 2))]


def _converted_types() -> Sequence[Sample]:
    dtypes = (torch.float16, torch.float64, torch.int32, torch.bool)
    return [Sample((image(), dtype)) for dtype in dtypes]


def _type_as() -> Sequence[Sample]:
    return [Sample((image(), torch.zeros((), dtype=dtype))) for dtype in (torch.float16, torch.int64, torch.bool)]


def _copy() -> Sequence[Sample]:
    return [
        Sample((image(), image())),
        Sample((image(), image(5))),
        Sample((image(), torch.randint(0, 9, (2, 3, 4, 5)))),
        Sample((image(), torch.tensor(3.5))),
    ]


def _getitem() -> Sequence[Sample]:
    mask = torch.tensor([True, False, True])
    keys = (
        (..., None, slice(1, None, 2)),
        (slice(-4, None, 3), True),
        (slice(None), torch.tensor([2, 0, -1]), slice(None), torch.tensor([0, 1, -2])),
        (torch.tensor([[1], [0]]), slice(None), torch.tensor([3, 0])),
        (slice(None), mask, slice(1, 3)),
        (0, mask, ..., torch.tensor([1, 4])),
        torch.tensor([-1, 0, 1, -2]),
        (slice(None), [0, 2], None, -1),
        (-1, slice(2, 9), ..., slice(None, -1)),
        (slice(3, 1),),
    )
    return [Sample((image(), key)) for key in keys]


def _setitem() -> Sequence[Sample]:
    return [
        Sample((image(), 0, 1.5)),
        Sample((image(), (slice(None), 1), image(2, 4, 5))),
        Sample((image(), (..., slice(1, 4, 2)), image(2, 3, 4, 2))),
        Sample((image(), (slice(None), slice(None), -1), 0.0)),
        Sample((image(), (slice(None), torch.tensor([0, 2])), image(2, 2, 4, 5))),
        Sample((image(4, 5), torch.rand(4, 5) > 0.5, 2.0)),
        Sample((image(4, 5), torch.arange(20).reshape(4, 5) % 3 == 0, image(7))),
        Sample((image(), (slice(None), torch.tensor([True, False, True])), image(2, 1, 5))),
        Sample((image(), (torch.tensor([-1, 0]), slice(None), torch.tensor([[1], [-2]])), image(3))),
        Sample((image(), (..., None, slice(None, None, 3)), torch.arange(4).reshape(4, 1, 1))),
        Sample((image(), (1, slice(-2, None)), torch.randint(0, 9, (2, 4, 5)))),
    ]


def _shifted() -> Sequence[Sample]:
    values, by = torch.randint(0, 9, (2, 3, 4)), torch.randint(0, 5, (2, 3, 4))
    return [Sample((by, values)), Sample((by, 40)), Sample((by.to(torch.int32), 40))]


def _floor_divided() -> Sequence[Sample]:
    x = torch.rand(2, 3, 4) + 0.5
    return [Sample((x, 7.0)), Sample((x, 10 * torch.randn(2, 3, 4))), Sample((torch.randint(1, 9, (2, 3, 4)), 20))]


def _float_power() -> Sequence[Sample]:
    x = torch.rand(2, 3, 4, dtype=torch.float64) + 0.5
    return [Sample((x, 1.5)), Sample((x, torch.randn(2, 3, 4))), Sample((x, torch.tensor(2)))]


def _chain_matmul() -> Sequence[Sample]:
    return [
        Sample((image(3, 4), image(4, 5), image(5, 2))),
        Sample((image(3, 4), image(4, 5))),
    ]


def _einsum() -> Sequence[Sample]:
    return [
        Sample(("ij,jk->ik", image(3, 4), image(4, 5))),
        Sample(("bhqd,bhkd->bhqk", image(), image(2, 3, 6, 5))),
        Sample(("...c,oc->...o", image(), image(7, 5))),
        Sample(("bchw->bhw", image())),
        Sample(("bij,bjk", image(2, 3, 4), image(2, 4, 5))),
        Sample(("ii->i", image(4, 4))),
        Sample(("i,j->ij", [image(3), image(4)])),
        Sample(("aij, Ajk, kB -> aAB", image(2, 3, 4), image(5, 4, 3), image(3, 2))),
        Sample(("bii->b", image(2, 3, 3))),
        Sample(("...ij,...ij->", image(2, 3, 4), image(2, 3, 4))),
        Sample(("ba,cb", image(3, 2), image(4, 3))),
        Sample(("i...,...j->j...i", image(2, 3), image(3, 4))),
        Sample((image(2, 3), [0, 1], image(3, 4), [1, 2], [2, 0])),
        Sample((image(2, 3, 4), [..., 5, 3], [3, ..., 5])),
    ]


def _grouped() -> Sequence[Sample]:
    def ends(*numbers: int) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int32)

    return [
        Sample((image(12, 8), image(3, 8, 16)), {"offs": ends(4, 4, 12)}),
        Sample((image(3, 8), image(6, 8, 16)), {"offs": ends(0, 1, 1, 2, 2, 3)}),
        Sample((image(2, 5, 8), image(8, 12)), {"offs": ends(4, 12)}),
        Sample((image(8, 12), image(12, 4)), {"offs": ends(4, 12)}),
    ]


def _embedding() -> Sequence[Sample]:
    table = image(10, 4)
    return [Sample((torch.randint(0, 10, shape), table)) for shape in ((5,), (2, 3), ())]


def _where() -> Sequence[Sample]:
    return [
        Sample((torch.rand(2, 3, 4, 5) > 0.5, image(), image())),
        Sample((torch.rand(4, 5) > 0.5, image(), 1.5)),
        Sample((torch.rand(2, 3, 4, 5) > 0.5, image(5), image(4, 1))),
        Sample((torch.rand(3, 4) > 0.5,)),
    ]


def _attention() -> Sequence[Sample]:
    """Keys and values of widths of their own, masks of both kinds, the weights of each head."""
    wide = torch.nn.MultiheadAttention(6, 2, kdim=4, vdim=5, batch_first=True).eval()
    plain = torch.nn.MultiheadAttention(6, 3, batch_first=True).eval()
    q, k, v = torch.randn(2, 3, 6), torch.randn(2, 5, 4), torch.randn(2, 5, 5)
    padding, mask = torch.arange(5) > torch.tensor([[4], [2]]), torch.randn(3, 5)
    return [
        Sample((wide, q, k, v), {"key_padding_mask": padding, "average_attn_weights": False}),
        Sample(
            (plain, q, torch.randn(2, 5, 6), torch.randn(2, 5, 6)),
            {"key_padding_mask": 0.0 * padding, "attn_mask": mask},
        ),
        Sample((plain, q[0], q[1], q[0]), {"need_weights": False, "attn_mask": mask[:, :3] > 1}),
    ]


def _weight_norm() -> Sequence[Sample]:
    v = image(4, 3, 2)
    return [Sample((v, torch.rand(4, 1, 1), 0)), Sample((v, torch.rand(1, 3, 1), 1)), Sample((v, torch.rand(()), -1))]


def _grouped_heads() -> Sequence[Sample]:
    q, k, v = image(2, 4, 3, 8), image(2, 2, 5, 8), image(2, 2, 5, 7)
    seen = torch.rand(2, 1, 3, 5) > 0.4
    seen[..., 0] = True
    of_heads = {"attn_mask": image(2, 2, 3, 5)}
    return [
        Sample((q, k, v), {"enable_gqa": True}),
        Sample((q[:, :2], k, v), {"attn_mask": seen}),
        Sample((q[:, :2], k, v), of_heads),
    ]


def _searched() -> Sequence[Sample]:
    x = torch.randn(9)
    return [Sample((x, image(3, 4)), {"sorter": x.argsort()}), Sample((x.sort().values, x), {"side": "right"})]


def _gumbel() -> Sequence[Sample]:
    return [Sample((image(), 0.5)), Sample((image(), 2.0, True), {"dim": 1})]


def _rounded_per_tensor() -> Sequence[Sample]:
    scale, zero = torch.tensor([0.2]), torch.tensor([-3], dtype=torch.int32)
    return [Sample((image(), 0.1, 3, -8, 7)), Sample((3 * image(2, 3, 4), scale, zero, 0, 15))]


def _rounded_per_channel() -> Sequence[Sample]:
    scale, zero = torch.tensor([0.1, 0.2, 1.0]), torch.tensor([3, 0, -2], dtype=torch.int32)
    return [Sample((image(), scale, zero, 1, -8, 7)), Sample((image(2, 3, 3), scale, zero + 0.4, 2, 0, 15))]


def _observed() -> Sequence[Sample]:
    off, on = torch.tensor([0]), torch.tensor([1])
    low, high, scale = torch.tensor([-1.0, -2.0, -1.0]), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.5])
    zero, about = torch.zeros(3, dtype=torch.int32), (0.01, -8, 7)
    return [
        Sample((image(), off, on, low, high, scale, zero, *about, 1, True, True)),
        Sample((image(), off, on, low[0], high[0], scale[:1], zero[:1], *about, -1)),
        Sample((image(), off, off, low[0], high[0], scale[:1], zero[:1], *about, -1)),
    ]


def _ordered() -> Sequence[Sample]:
    program = lambda op, x: op(x * 2) + 1  # noqa: E731
    return [Sample((image(),), program=program), Sample((image(2, 3, 4),), program=program)]


_GROUPED = ((torch, "_grouped_mm"), (F, "grouped_mm"))
SAMPLES: Mapping[Any, Make] = MappingProxyType(
    {
        torch.dropout: _dropout,
        torch.dropout_: _dropout,
        torch.native_dropout: _dropout,
        torch.feature_dropout: _dropout,
        torch.feature_dropout_: _dropout,
        torch.alpha_dropout: _dropout,
        torch.alpha_dropout_: _dropout,
        torch.feature_alpha_dropout: _dropout,
        torch.feature_alpha_dropout_: _dropout,
        torch.batch_norm: _batch_norm,
        torch.instance_norm: _instance_norm,
        torch.group_norm: _group_norm,
        torch.Tensor.type: _converted_types,
        torch.Tensor.type_as: _type_as,
        torch.Tensor.copy_: _copy,
        torch.Tensor.__deepcopy__: lambda: [Sample((image(), {}))],
        torch.Tensor.__getitem__: _getitem,
        torch.Tensor.__setitem__: _setitem,
        torch.Tensor.__rlshift__: _shifted,
        torch.Tensor.__rrshift__: _shifted,
        torch.Tensor.__rfloordiv__: _floor_divided,
        torch.Tensor.float_power_: _float_power,
        ("getter", torch.Tensor.mT): lambda: [Sample((image(),)), Sample((image(3, 4),))],
        torch.chain_matmul: _chain_matmul,
        # Of three places each way, so that any dimension will do.
        torch.cross: lambda: [Sample((image(3, 3, 3), image(3, 3, 3)))],
        torch.einsum: _einsum,
        # Not in each version.
        **{home.__dict__[name]: _grouped for home, name in _GROUPED if name in home.__dict__},
        F.embedding: _embedding,
        torch.where: _where,
        F.instance_norm: _instance_norm_of_statistics,
        F.group_norm: lambda: [Sample((image(2, 6, 4, 5), 6, torch.randn(6))), Sample((image(2, 6), 2))],
        F.one_hot: lambda: [Sample((torch.tensor([[0, 2], [1, 2]]), n)) for n in (-1, 5)],
        torch.nn.MultiheadAttention: _attention,
        torch.squeeze: lambda: [Sample((image(1, 3, 1, 4), (0, 2)))],
        torch.tile: lambda: [Sample((image(3, 4), (2,)))],
        torch.flip: lambda: [Sample((image(), (-1, -3)))],
        torch.div: lambda: [Sample((image(3), torch.tensor([0.0, -2.0, 0.7])), {"rounding_mode": "floor"})],
        torch.index_add: lambda: [Sample((image(3, 4), 1, torch.tensor([2, 0, 2]), image(3, 3)), {"alpha": 2})],
        torch.repeat_interleave: lambda: [Sample((image(3, 4), torch.tensor([2, 0, 3])), {"dim": 0})],
        torch.matmul: lambda: [Sample((image(2, 1, 3, 4), image(5, 4, 2))), Sample((image(3), image(2, 3, 4)))],
        torch._weight_norm: _weight_norm,
        F.gumbel_softmax: _gumbel,
        F.scaled_dot_product_attention: _grouped_heads,
        torch.searchsorted: _searched,
        torch.bernoulli: lambda: [Sample((torch.zeros(2, 3, 4), 0.3))],
        torch.Tensor.bernoulli_: lambda: [Sample((image(2, 3, 4), torch.rand(2, 3, 4)))],
        torch.Tensor.to: lambda: [Sample((image(), torch.zeros(2, dtype=torch.int32)))],
        torch.poisson: lambda: [Sample((10 * torch.rand(2, 3, 4),))],
        torch.binomial: lambda: [Sample((torch.full((2, 3), 5.0), torch.rand(2, 3)))],
        torch._standard_gamma: lambda: [Sample((torch.rand(2, 3, 4) + 1,))],
        torch._sample_dirichlet: lambda: [Sample((torch.rand(2, 3, 4) + 1,))],
        torch.Tensor.random_: lambda: [Sample((image(), 2, 9)), Sample((image(), 5))],
        torch.ops.aten.view.dtype: lambda: [Sample((torch.randn(2, 4), kind)) for kind in (torch.int32, torch.float32)],
        torch.fake_quantize_per_tensor_affine: _rounded_per_tensor,
        torch.fake_quantize_per_channel_affine: _rounded_per_channel,
        torch.fused_moving_avg_obs_fake_quant: _observed,
        force_tensorflow_order: _ordered,
        force_pytorch_order: _ordered,
    }
)
