"""Samples of built-in converters beyond what PyTorch's OpInfo has.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nobuco.functions import force_pytorch_order, force_tensorflow_order
from nobuco.ops.names import F, Tensor, torch
from nobuco.registry import Sample
from pytest_nobuco.converters.drawing import image

Make = Callable[[], Sequence[Sample]]


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


def _grid_sampler() -> Sequence[Sample]:
    return [
        Sample((image(), 2.4 * torch.rand(2, 6, 7, 2) - 1.2, mode, padding, align))
        for mode, padding, align in ((0, 0, False), (1, 1, True), (0, 2, False), (2, 0, True))
    ]


def _grid_sample() -> Sequence[Sample]:
    """Each mode with each edge, in and beside the picture."""
    edges = itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (True, False))
    return [Sample((image(), 2.4 * torch.rand(2, 6, 7, 2) - 1.2, *way)) for way in edges]


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


def _affine_grid() -> Sequence[Sample]:
    flat, solid = image(2, 2, 3), image(2, 3, 4)
    return [
        Sample((flat, (2, 3, 4, 5), True)),
        Sample((flat, (2, 3, 4, 5), False)),
        Sample((solid, (2, 3, 4, 5, 6), False)),
    ]


def _fold() -> Sequence[Sample]:
    """Of what unfolding gives, so that the sizes go together whatever the options are."""
    options: list[dict[str, Any]] = [{}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": 2}]
    options += [{"padding": 1, "stride": (2, 1), "dilation": (1, 2)}]
    x = image(2, 3, 7, 9)
    made = [Sample((F.unfold(x, (3, 2), **one), (7, 9), (3, 2)), one) for one in options]
    return [*made, Sample((image(8, 12), (4, 5), 2))]


def _lp_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = torch.rand(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 2, 2)), Sample((x, 3, 3), {"stride": 2}), Sample((x, 2.5, 2), {"ceil_mode": True})]

    return make


def _max_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = image(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 2)), Sample((x, 3, 2, 1)), Sample((x, 2, 1, 0, 2)), Sample((x, 3), {"ceil_mode": True})]

    return make


def _max_unpool(rank: int) -> Make:
    """Of what pooling gives, so that places and sizes go together."""

    def make() -> Sequence[Sample]:
        x, pool = image(2, 3, *(7, 9, 5)[:rank]), getattr(F, f"max_pool{rank}d")
        options: list[dict[str, Any]] = [{"stride": 2}, {"stride": 2, "padding": 1}]
        return [Sample((*pool(x, 3, return_indices=True, **one), 3), one) for one in options]

    return make


def _adaptive_pool(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x = image(2, 3, *(6, 7, 8)[:rank])
        return [Sample((x, 1)), Sample((x, (3, 2, 4)[:rank])), Sample((image(3, *(6, 7, 8)[:rank]), 3))]

    return make


def _weight_norm() -> Sequence[Sample]:
    v = image(4, 3, 2)
    return [Sample((v, torch.rand(4, 1, 1), 0)), Sample((v, torch.rand(1, 3, 1), 1)), Sample((v, torch.rand(()), -1))]


def _ctc() -> Sequence[Sample]:
    x, labels = torch.randn(9, 2, 5).log_softmax(2), torch.randint(1, 5, (2, 3))
    return [
        Sample((x, labels, torch.tensor([9, 7]), torch.tensor([3, 2]), 0, 0)),
        Sample((x, labels.flatten(), torch.tensor([9, 9]), torch.tensor([2, 4]), 0, 1)),
    ]


def _ctc_of_blank() -> Sequence[Sample]:
    """PyTorch trusts that the blank is none of the labels; more labels than steps make an infinite loss."""
    x, labels = torch.randn(9, 2, 5).log_softmax(2), torch.randint(0, 4, (2, 3))
    lengths = torch.tensor([3, 2])
    return [
        Sample((x, labels, torch.tensor([9, 7]), lengths), {"blank": 4}),
        Sample((x, labels, torch.tensor([9, 1]), lengths), {"blank": 4, "zero_infinity": True}),
        Sample((x, torch.tensor([1, 2, 2, 3, 0]), torch.tensor([9, 8]), torch.tensor([3, 2])), {"blank": 4}),
        Sample((x[:, 0], labels[0], torch.tensor(9), torch.tensor(3)), {"blank": 4}),
    ]


def _grouped_heads() -> Sequence[Sample]:
    q, k, v = image(2, 4, 3, 8), image(2, 2, 5, 8), image(2, 2, 5, 7)
    seen = torch.rand(2, 1, 3, 5) > 0.4
    seen[..., 0] = True
    return [Sample((q, k, v), {"enable_gqa": True}), Sample((q[:, :2], k, v), {"attn_mask": seen})]


def _searched() -> Sequence[Sample]:
    x = torch.randn(9)
    return [Sample((x, image(3, 4)), {"sorter": x.argsort()}), Sample((x.sort().values, x), {"side": "right"})]


def _gumbel() -> Sequence[Sample]:
    return [Sample((image(), 0.5)), Sample((image(), 2.0, True), {"dim": 1})]


def _fractional(rank: int) -> Make:
    def make() -> Sequence[Sample]:
        x, numbers = image(2, 3, *(8, 7, 6)[:rank]), torch.rand(2, 3, rank)
        return [Sample((x, [2] * rank, [4] * rank, numbers)), Sample((x, (2, 3, 2)[:rank], (5, 3, 4)[:rank], numbers))]

    return make


def _recurrent(gates: int, is_lstm: bool = False) -> Make:
    """One layer with biases, and two in two directions without."""

    def make() -> Sequence[Sample]:
        found = []
        for has_biases, layers, directions in ((True, 1, 1), (False, 2, 2)):
            params = []
            for features in [4, 3 * directions][:layers]:
                weights = [image(3 * gates, features), image(3 * gates, 3)]
                params += (weights + [image(3 * gates)] * (2 * has_biases)) * directions
            state = torch.zeros(layers * directions, 2, 3)
            given = [state, state] if is_lstm else state
            found.append(
                Sample((image(5, 2, 4), given, params, has_biases, layers, 0.0, False, directions == 2, False))
            )
        return found

    return make


def _ordered() -> Sequence[Sample]:
    program = lambda op, x: op(x * 2) + 1  # noqa: E731
    return [Sample((image(),), program=program), Sample((image(2, 3, 4),), program=program)]


# -- control flow: what users call, which calls the operation


def _cond() -> Sequence[Sample]:
    def program(op: Any, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: (x.sin(), x + 1), lambda x: (x.cos() * 2, x - 1), (x,))

    return [Sample((torch.rand(2, 3, 4, 5),), program=program), Sample((-torch.rand(3, 4),), program=program)]


def _while_loop() -> Sequence[Sample]:
    from torch._higher_order_ops.while_loop import while_loop

    def program(op: Any, x: Tensor) -> Any:
        return while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, y * 0.5 + i), (torch.tensor(0), x * 1))

    return [Sample((image(),), program=program), Sample((image(3),), program=program)]


def _map() -> Sequence[Sample]:
    from torch._higher_order_ops.map import map as torch_map

    def program(op: Any, xs: Tensor, y: Tensor) -> Any:
        return torch_map(lambda x, y: torch.relu(x) * y, xs, y)  # type: ignore[arg-type]

    return [Sample((image(4, 3, 5), image(5)), program=program), Sample((image(3, 2), image(2)), program=program)]


def _scan() -> Sequence[Sample]:
    from torch._higher_order_ops.scan import scan

    def program(op: Any, init: Tensor, xs: Tensor) -> Any:
        return scan(lambda carry, x: (carry * 0.5 + x, carry + x), init, xs)

    return [
        Sample((image(3), image(4, 3)), program=program),
        Sample((image(2, 3), image(5, 2, 3)), program=program),
    ]


def _packed(op: Any, x: Tensor, lengths: Tensor) -> Any:
    """Packed and padded again, since what is between is laid out in another way than PyTorch's."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)


def _sequences() -> list[Sample]:
    return [
        Sample((torch.randn(3, 5, 2), torch.tensor([5, 3, 1])), program=_packed),
        Sample((torch.randn(4, 6, 3), torch.tensor([2, 6, 4, 6])), program=_packed),
    ]


def _rows() -> list[Sample]:
    rows = [torch.randn(n, 2) for n in (5, 3, 1)]
    return [
        Sample((rows,)),
        Sample((rows, True, 0.5)),
        Sample((rows,), {"padding_value": -1.0, "padding_side": "left"}),
    ]


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
        torch.grid_sampler: _grid_sampler,
        F.grid_sample: _grid_sample,
        F.instance_norm: _instance_norm_of_statistics,
        F.group_norm: lambda: [Sample((image(2, 6, 4, 5), 6, torch.randn(6))), Sample((image(2, 6), 2))],
        F.one_hot: lambda: [Sample((torch.tensor([[0, 2], [1, 2]]), n)) for n in (-1, 5)],
        F.max_pool2d: lambda: [
            Sample((-image(3, 7, 5).abs() - 1, 3, 2, 1)),
            Sample((-image().abs() - 1, (3, 2), 2, 1)),
        ],
        torch.nn.MultiheadAttention: _attention,
        torch.tile: lambda: [Sample((image(3, 4), (2,)))],
        torch.flip: lambda: [Sample((image(), (-1, -3)))],
        torch.div: lambda: [Sample((image(3), torch.tensor([0.0, -2.0, 0.7])), {"rounding_mode": "floor"})],
        torch.index_add: lambda: [Sample((image(3, 4), 1, torch.tensor([2, 0, 2]), image(3, 3)), {"alpha": 2})],
        torch.repeat_interleave: lambda: [Sample((image(3, 4), torch.tensor([2, 0, 3])), {"dim": 0})],
        torch.matmul: lambda: [Sample((image(2, 1, 3, 4), image(5, 4, 2))), Sample((image(3), image(2, 3, 4)))],
        F.affine_grid: _affine_grid,
        F.fold: _fold,
        F.lp_pool1d: _lp_pool(1),
        F.lp_pool2d: _lp_pool(2),
        F.lp_pool3d: _lp_pool(3),
        F.max_unpool1d: _max_unpool(1),
        F.max_unpool2d: _max_unpool(2),
        F.max_unpool3d: _max_unpool(3),
        torch.max_pool1d: _max_pool(1),
        torch.max_pool2d: _max_pool(2),
        torch.max_pool3d: _max_pool(3),
        F.max_pool1d_with_indices: _max_pool(1),
        F.max_pool2d_with_indices: _max_pool(2),
        F.max_pool3d_with_indices: _max_pool(3),
        F.adaptive_max_pool1d_with_indices: _adaptive_pool(1),
        torch.adaptive_max_pool1d: _adaptive_pool(1),
        F.adaptive_max_pool2d_with_indices: _adaptive_pool(2),
        F.adaptive_max_pool3d_with_indices: _adaptive_pool(3),
        torch._weight_norm: _weight_norm,
        torch.ctc_loss: _ctc,
        F.ctc_loss: _ctc_of_blank,
        F.gumbel_softmax: _gumbel,
        F.scaled_dot_product_attention: _grouped_heads,
        torch.searchsorted: _searched,
        # Of several channels: with one, PyTorch's order is TensorFlow's.
        torch.pixel_shuffle: lambda: [Sample((image(2, 12, 3, 5), 2))],
        torch.pixel_unshuffle: lambda: [Sample((image(2, 3, 6, 10), 2))],
        torch._C._nn.fractional_max_pool2d: _fractional(2),
        torch._C._nn.fractional_max_pool3d: _fractional(3),
        torch.poisson: lambda: [Sample((10 * torch.rand(2, 3, 4),))],
        torch.binomial: lambda: [Sample((torch.full((2, 3), 5.0), torch.rand(2, 3)))],
        torch._standard_gamma: lambda: [Sample((torch.rand(2, 3, 4) + 1,))],
        torch._sample_dirichlet: lambda: [Sample((torch.rand(2, 3, 4) + 1,))],
        torch.Tensor.random_: lambda: [Sample((image(), 2, 9)), Sample((image(), 5))],
        torch._pack_padded_sequence: _sequences,
        torch._pad_packed_sequence: _sequences,
        torch._C._nn.pad_sequence: _rows,
        torch.ops.aten.view.dtype: lambda: [Sample((torch.randn(2, 4), kind)) for kind in (torch.int32, torch.float32)],
        torch.lstm: _recurrent(4, is_lstm=True),
        torch.gru: _recurrent(3),
        torch.rnn_tanh: _recurrent(1),
        torch.rnn_relu: _recurrent(1),
        force_tensorflow_order: _ordered,
        force_pytorch_order: _ordered,
        torch.ops.higher_order.cond: _cond,
        torch.ops.higher_order.while_loop: _while_loop,
        torch.ops.higher_order.map_impl: _map,
        torch.ops.higher_order.scan: _scan,
    }
)
