"""Reading and writing through indices against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.lite import ops_of, shapes_given
from tests.older import fails_before
from tests.parity import convert
from tests.sizes import check_dynamic, check_sizes

X = torch.randn(2, 6, 4, 5)
I = torch.tensor([0, 3, -1])  # noqa: E741
J = torch.tensor([1, 0, 2])
K = torch.tensor([[0, 1], [3, -2]])
MASK = X > 0.3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[0],
        lambda x: x[-1, 2],
        lambda x: x[1, 2, 3, 4],
        lambda x: x[:, -1],
        lambda x: x[..., 0],
        lambda x: x[:, 1:4],
        lambda x: x[:, ::2] * x[:, 1::2],
        lambda x: x[:, 1:-1, :100, -3:],
        lambda x: x[0, ..., 1:3],
        lambda x: x[:, 2:2],
        lambda x: x[None],
        lambda x: x[:, None],
        lambda x: x[..., None],
        lambda x: x[:, None, 2, None, 1:, ::2],
        lambda x: x[:, :, None, None, 0, 0],
        lambda x: x[...],
        lambda x: x[:],
        lambda x: x[()],
        lambda x: x[True],
        lambda x: x[[0, 1, 0]],
        lambda x: x[:, [5, -1]],
        lambda x: x[I.clamp(max=1)],
        lambda x: x[:, I],
        lambda x: x[:, :, I],
        lambda x: x[..., K],
        lambda x: x[:, I, J],
        lambda x: x[:, I, :, J],
        lambda x: x[:, K, :, None, J[:2]],
        lambda x: x[I - I, J],
        lambda x: x[0, :, I],
        lambda x: x[:, I, 1:3],
        lambda x: x[:, None, I],
        lambda x: x[:, torch.tensor(2)],
        lambda x: x[:, torch.tensor(2), I],
        lambda x: x[torch.tensor([True, False])],
        lambda x: x[:, torch.tensor([True, False, True, True, False, False]), I],
        lambda x: x[:, torch.tensor([True, False, True, False, False, False]), 1:],
        lambda x: x[MASK],
        lambda x: x[x > 0],
        lambda x: x[:, MASK[0]],
        lambda x: x[:, :, MASK[0, 0]],
    ],
)
def test_getitem(check, function):
    check(function, X)


@pytest.mark.parametrize("shape", [(7,), (6, 7), (2, 6, 7), (2, 6, 4, 3, 3)])
@pytest.mark.parametrize("key", [0, (Ellipsis, slice(1, 3)), (Ellipsis, None, 0), (slice(None, None, 2),), [0, 1]])
def test_getitem_ranks(check, shape, key):
    check(lambda x: x[key], torch.randn(shape))


def test_getitem_with_indices_from_inputs(check):
    check(lambda x, i, j: (x[:, i], x[:, i, j], x[i], x[j, i, ..., j]), torch.randn(4, 5, 4, 4), I, J)


def _written(*key_and_value):
    def function(x, *rest):
        x = x * 1
        for key, value in key_and_value:
            x[key] = value(x.clone(), *rest) if callable(value) else value
        return x

    return function


S = slice


@pytest.mark.parametrize(
    "function",
    [
        _written((0, 1.0)),
        _written(((S(None), 1), 2)),
        _written((Ellipsis, 3.0)),
        _written(((S(None), S(1, 3)), lambda x: x[:, 2:4] * 2)),
        _written(((S(None), S(1, None)), lambda x: x[:, :1])),
        _written(((S(None), 2), lambda x: x[:, 0])),
        _written(((S(None), 2), lambda x: x[0, 0])),
        _written(((Ellipsis, -1), lambda x: x[..., 0])),
        _written(((S(None), S(None, None, 2)), lambda x: -x[:, 1::2])),
        _written(((S(None), S(1, 2), S(1, 3), S(0, None, 2)), lambda x: torch.relu(x[:, 1:2, 1:3, ::2]))),
        _written(((0, S(None), 1), lambda x: x[1, :, 2])),
        _written(((0, S(None), None, 1), lambda x: x[1, :, 2:3])),
        _written(((S(None), S(2, 2)), 1.0)),
        _written((I.clamp(max=1), 5.0)),
        _written(((S(None), I), 5.0)),
        _written(((S(None), I), lambda x: x[:, :3] * 2)),
        _written(((S(None), I, J), lambda x: x[:, 0, :3])),
        _written(((S(None), [0, 2], S(1, 3)), lambda x: x[:, 4:, 2:])),
        _written((MASK, 0.0)),
        _written((MASK, lambda x: x.sum())),
        _written((MASK, lambda x: x[MASK] * 2)),
        _written((MASK[:, :, 0, 0], 7.0)),
        _written((MASK[:, :, 0, 0], lambda x: x[0, 0])),
        _written(((S(None), MASK[0]), 7.0)),
        lambda x: _written((x > 0, -1.0))(x),
        lambda x: x.index_put((torch.tensor([0, 1]), torch.tensor([2, 2])), torch.tensor(1.0)),
        lambda x: x.index_put((torch.tensor([1, 1]),), x[:1] * 2, accumulate=True),
    ],
)
def test_setitem(check, function):
    check(function, X)


@pytest.mark.parametrize("shape", [(7,), (6, 7), (2, 6, 7), (2, 6, 4, 3, 3)])
@pytest.mark.parametrize("key", [0, (Ellipsis, S(1, 3)), (Ellipsis, 0), (Ellipsis, S(None, None, 2))])
def test_setitem_ranks(check, shape, key):
    check(_written((key, lambda x: x[key] * 2)), torch.randn(shape), tflite=True)


class SliceReLU(nn.Module):
    def forward(self, x):
        x[:, 1:2, 16:25, 8::2] = torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x


def test_slice_relu_is_lean(check):
    x = torch.randn(1, 3, 32, 40)
    check(SliceReLU(), x, tflite=True)
    ops = ops_of(SliceReLU(), x)
    assert len(ops) <= 8
    assert not {"SCATTER_ND", "TRANSPOSE"} & set(ops)


@pytest.mark.parametrize("order", ChannelOrder)
def test_only_the_part_that_a_slice_names_is_computed_anew(order):
    """The rest is copied: selecting among all of its elements takes three times as long."""
    x, written = torch.randn(1, 3, 32, 40), (1, 9, 40, 3) if order is ChannelOrder.TENSORFLOW else (1, 1, 9, 40)
    model = convert(SliceReLU(), x, order=order)
    assert shapes_given(to_tflite(model), "SELECT_V2") == [written]


def test_written_regions_of_all_forms(check):
    """Whole axes, plain and strided slices, in every combination over three axes."""
    entries = (S(None), S(1, 3), S(0, None, 2))
    keys = [(S(None), *rest) for rest in itertools.product(entries, repeat=3)]

    def program(x):
        written = []
        for number, key in enumerate(keys):
            y = x * 1
            y[key] = x[key] * -2 if number % 2 else 7.0
            written.append(y)
        return torch.stack(written)

    check(program, torch.randn(1, 3, 4, 5))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x[:, 1:3, ::2], ["STRIDED_SLICE"]),
        (lambda x: x[:, 1, :, -1], ["STRIDED_SLICE", "RESHAPE"]),
        (lambda x: x[:, I], ["GATHER"]),
        (lambda x: x[:, None], ["RESHAPE"]),
        (_written(((S(None), S(1, 3)), 0.0)), ["SELECT_V2"]),
        (_written(((S(None), S(1, 2)), lambda x: x[:, 2:3])), [*["STRIDED_SLICE"] * 3, "CONCATENATION"]),
    ],
)
def test_tflite_form(function, expected):
    assert ops_of(function, X)[-len(expected) :] == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: torch.gather(x, 1, i),
        lambda x, i: x.gather(dim=-1, index=i),
        lambda x, i: x.gather(2, i[:1, :, :3]),
        lambda x, i: x.scatter(1, i, x * 2),
        lambda x, i: x.scatter(-1, i, 1.5),
        lambda x, i: x.scatter(2, i[:, :3], value=2),
        lambda x, i: torch.scatter(x, 1, i, x, reduce="add"),
        lambda x, i: x.scatter(1, i, 2.0, reduce="multiply"),
        lambda x, i: x.scatter_add(2, i, x * 2),
        lambda x, i: x.clone().scatter_add_(1, i[:, :2], x),
        lambda x, i: x.take_along_dim(i, 1),
        lambda x, i: torch.take_along_dim(x, i[:, :, :, :1], dim=2),
        lambda x, i: torch.take_along_dim(x, i),
        pytest.param(
            lambda x, i: torch.take_along_dim(x, -1 - i, 3),
            marks=fails_before("torch", "2.13", "it does not count from the end", raises=RuntimeError),
        ),
        lambda x, i: x.take(i),
        lambda x, i: torch.take(x, torch.tensor([[-1, 0], [3, 7]])),
        lambda x, i: torch.index_select(x, 1, i[0, 0, :, 0]),
        lambda x, i: x.index_select(dim=-1, index=torch.tensor([0, 0, 2])),
        lambda x, i: x.index_fill(1, torch.tensor([0, 2]), 3.0),
        lambda x, i: x.index_fill(2, i[0, 0, 0], -1),
        lambda x, i: x.index_copy(1, torch.tensor([2, 0]), x[:, 3:5]),
        lambda x, i: x.clone().index_copy_(3, i[0, 0, 0, :1], x[..., :1]),
        lambda x, i: x.index_add(1, torch.tensor([2, 0, 2]), x[:, 3:], alpha=2),
        lambda x, i: x.clone().index_add_(2, i[0, 0, :, 0], x),
        lambda x, i: x.masked_select(x > 0),
        lambda x, i: torch.masked_select(x, x[0, 0] > 0),
        lambda x, i: torch.nonzero(x > 0),
        lambda x, i: (x * (x > 0)).nonzero(as_tuple=True),
        lambda x, i: torch.argwhere(i),
        lambda x, i: x.masked_scatter(x > 0, x * 2),
        lambda x, i: torch.masked_scatter(x, x[0, 0] > 0, x * 2),
        lambda x, i: x.clone().put_(torch.tensor([1, -1]), torch.tensor([8.0, 9.0])),
        *(
            lambda x, i, reduce=reduce, own=own: x.scatter_reduce(1, i, x * 3 + 1, reduce, include_self=own)
            for reduce in ("sum", "prod", "mean", "amax", "amin")
            for own in (True, False)
        ),
    ],
)
def test_gather_and_scatter(check, function):
    # Rows of distinct indices, so that a scatter has one outcome.
    check(
        function,
        X,
        torch.stack([torch.randperm(4)[:, None].expand(4, 5) for _ in range(12)]).view(2, 6, 4, 5),
    )


def test_scatter_duplicates_accumulate(check):
    check(lambda x, i: x.scatter_add(0, i, x), torch.randn(6), torch.tensor([0, 0, 1, 1, 1, 5]), tflite=True)


@pytest.mark.parametrize(
    "function", [lambda x, i: x.gather(1, i), lambda x, i: x.index_add(1, i[0, :2, 0, 0], x[:, :2])]
)
def test_gather_tflite(check, function):
    check(function, X, torch.randint(0, 4, (2, 6, 4, 5)), tflite=True)


TOKENS = torch.tensor([[1, 2, 0], [4, 0, 1]])


@pytest.mark.parametrize(
    "module",
    [
        nn.Embedding(6, 4),
        nn.Embedding(6, 4, padding_idx=0),
        nn.EmbeddingBag(6, 4),
        nn.EmbeddingBag(6, 4, mode="sum"),
        nn.EmbeddingBag(6, 4, mode="max", padding_idx=1),
        nn.EmbeddingBag(6, 4, mode="mean", padding_idx=0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_embedding(check, module, dtype):
    check(module, TOKENS.to(dtype), tflite=True)


def test_embedding_function(check):
    table = torch.randn(6, 4)
    check(lambda i: F.embedding(i, table, padding_idx=0), TOKENS)
    check(F.embedding, TOKENS, table)


def test_embedding_max_norm(check):
    check(nn.Embedding(6, 4, max_norm=1.0), TOKENS)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
def test_embedding_bag_offsets(check, mode, last):
    offsets = torch.tensor([0, 2, 2, 6] if last else [0, 2, 2])
    check(nn.EmbeddingBag(6, 4, mode=mode, include_last_offset=last), TOKENS.view(-1), offsets)


def test_embedding_bag_weights(check):
    bag = nn.EmbeddingBag(6, 4, mode="sum")
    check(
        lambda i, w: F.embedding_bag(i, bag.weight, mode="sum", per_sample_weights=w),
        TOKENS,
        torch.rand(2, 3),
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, 1:3, ::2],
        lambda x: x[-1, :, -2:],
        lambda x: x[:, None, 2],
        lambda x: x[:, :, I],
        lambda x: x[:, I, J],
        lambda x: x[:, I, :, J],
        lambda x: x[x > 0],
        _written(((S(None), S(1, 3)), 1.0)),
        _written(((S(None), S(1, 3)), lambda x: x[:, 3:5])),
        _written(((S(None), S(1, 2), S(None, None, 2)), lambda x: x[:, 3:4, ::2])),
        _written(((S(None), S(None), S(1, 3)), lambda x: x[:, :, :1])),
        _written(((S(None), S(None), -1), lambda x: x[:, :, 0])),
        _written(((S(None), I), lambda x: x[:, 3:])),
        lambda x: _written((x > 0, -1.0))(x),
        lambda x: x.gather(1, (x > 0).long()),
        lambda x: x.scatter_add(1, (x > 0).long(), x),
        lambda x: torch.take_along_dim(x, (x[:, :1] > 0).long(), 1),
        lambda x: x.index_add(2, torch.tensor([0, 1]), x[:, :, :2]),
        lambda x: x.index_copy(2, torch.tensor([0, 1]), x[:, :, 1:3]),
        lambda x: x.index_fill(2, torch.tensor([0, -1]), 2.0),
        lambda x: x.masked_scatter(x > 0, x * 2),
    ],
)
def test_dynamic_sizes(function):
    check_dynamic(function, X, torch.randn(3, 6, 7, 5), free=(0, 2))


def test_indices_into_what_may_have_no_elements_in_tflite():
    def chosen(x, i):
        return x[x > 0][i]

    x, i = torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([-1, 0])
    keras_model = nobuco.pytorch_to_keras(chosen, [x, i], input_shapes={i: (None,)}, verbose=False)
    data = to_tflite(keras_model)
    for given in ((x, i), (-x.abs(), i[:0])):
        np.testing.assert_array_equal(run_tflite(data, [t.numpy() for t in given])[0], chosen(*given).numpy())


NOTHING = {
    "narrow": lambda x: x.narrow(1, 0, 0),
    "tensor_split": lambda x: x.tensor_split([0, 2], 1)[0],
    "from behind": lambda x: x[:, -1:0],
    "a new axis": lambda x: x[None, :0],
    "a write": lambda x: x.index_put((torch.zeros(0, dtype=torch.long),), torch.ones(())),
    "a write to a slice": lambda x: torch.slice_scatter(x, x[:, 2:2] * 3, 1, 2, 2),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("dynamic", [(0,), (0, 1)])
def test_nothing_of_a_dynamic_tensor(name, dynamic):
    """Where an end is 0, XNNPACK's slice takes all that there is."""
    check_sizes(
        NOTHING[name], (torch.rand(3, 4),), (torch.rand(5, 4),), free=(dynamic,), orders=(ChannelOrder.PYTORCH,)
    )


def test_a_write_to_no_element_of_a_dynamic_tensor():
    def program(x):
        y = x * 1
        y[:, 2:2] = x[:, 2:2] * 3
        return y

    check_sizes(program, (torch.rand(3, 4),), (torch.rand(5, 4),), free=((0, 1),), orders=(ChannelOrder.PYTORCH,))
