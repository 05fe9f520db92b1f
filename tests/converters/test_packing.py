"""Packed sequences: pack, run, unpack, with lengths that are constants and lengths that are an input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
)

import nobuco
from nobuco.layers.output import in_order
from tests.parity import told

PYTORCH = nobuco.ChannelOrder.PYTORCH


class Packed(nn.Module):
    """Packs, computes on the rows, runs, unpacks."""

    def __init__(self, kind, sort=True, total=None, **options):
        super().__init__()
        self.cells, self.sort, self.total = kind(3, 4, **options), sort, total

    def forward(self, x, lengths):
        first = self.cells.batch_first
        packed = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=self.sort)
        packed = PackedSequence(torch.sin(packed.data), *packed[1:])
        packed, last = self.cells(packed)
        return *pad_packed_sequence(packed, first, padding_value=0.5, total_length=self.total), last


def convert(model, *args):
    keras_model, warned = told(model, *args)
    assert warned == []
    return keras_model


def assert_same(got, expected):
    expected = [t for t in torch.utils._pytree.tree_leaves(expected) if isinstance(t, torch.Tensor)]
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


FORMS = {
    "sorted": {},
    "batch first": {"batch_first": True},
    "unsorted": {"sort": False},
    "unsorted, two layers, both ways": {
        "sort": False, "num_layers": 2, "bidirectional": True, "batch_first": True,
    },
    "total length": {"sort": False, "total": 12, "bidirectional": True},
    "many steps": {"steps": 12, "sort": False, "bidirectional": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_packed(kind, form):
    form = dict(form)
    steps = form.pop("steps", 6)
    model = Packed(kind, **form).eval()
    lengths, others = torch.tensor([[6, 4, 2], [5, 5, 1]])
    if not model.sort:
        lengths, others = torch.tensor([3, steps, 2]), torch.tensor([1, 2, 5])
    shape = (3, steps, 3) if model.cells.batch_first else (steps, 3, 3)
    x, unseen = torch.randn(shape), torch.randn(shape)
    converted = convert(lambda x: model(x, lengths), x)
    assert_same(in_order(converted(unseen.numpy())), model(unseen, lengths))
    converted = convert(model, x, lengths)
    assert_same(in_order(converted([unseen.numpy(), others.numpy()])), model(unseen, others))


@pytest.mark.parametrize("constant", [True, False])
def test_packed_in_tflite(constant):
    from nobuco.export import run_tflite, to_tflite

    model = Packed(nn.LSTM, sort=False, bidirectional=True, batch_first=True).eval()
    x, lengths = torch.randn(3, 6, 3), torch.tensor([3, 6, 2])
    unseen, others = torch.randn(3, 6, 3), lengths if constant else torch.tensor([1, 2, 5])
    converted = convert(lambda x: model(x, lengths), x) if constant else convert(model, x, lengths)
    feeds = [unseen.numpy()] if constant else [unseen.numpy(), others.numpy()]
    assert_same(run_tflite(to_tflite(converted), feeds), model(unseen, others))


def test_states_that_are_given_and_projections():
    cells = nn.LSTM(3, 4, proj_size=2, bidirectional=True)

    def program(x, lengths, h, c):
        packed, (h, c) = cells(pack_padded_sequence(x, lengths, enforce_sorted=False), (h, c))
        return pad_packed_sequence(packed)[0], h, c

    args = torch.randn(6, 3, 3), torch.tensor([2, 6, 4]), torch.randn(2, 3, 2), torch.randn(2, 3, 4)
    model = convert(program, *args)
    others = torch.randn(6, 3, 3), torch.tensor([3, 1, 5]), *args[2:]
    assert_same(in_order(model([t.numpy() for t in others])), program(*others))


def test_what_is_left_packed():
    cells = nn.GRU(3, 4)

    def program(x, y, z):
        packed, last = cells(pack_sequence([x, y, z]))
        return packed.data.mean(0), last

    args = torch.randn(5, 3), torch.randn(3, 3), torch.randn(2, 3)
    model = convert(program, *args)
    others = [torch.randn_like(t) for t in args]
    assert_same(in_order(model([t.numpy() for t in others])), program(*others))


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"padding_value": -1.0, "padding_side": "left"}], ids=str
)
def test_sequences_are_padded_to_the_longest(check, options):
    check(lambda x, y: pad_sequence([x, y, x[:1]], **options), torch.randn(3, 2), torch.randn(5, 2), tflite=True)


def test_sequences_as_long_as_values_say():
    def program(x, n):
        return pad_sequence([row[:length] for row, length in zip(x, n)], batch_first=True)

    args = torch.randn(2, 5), torch.tensor([2, 4])
    model = convert(program, *args)
    for lengths in ([1, 3], [5, 5], [3, 0]):
        others = torch.randn(2, 5), torch.tensor(lengths)
        assert_same(in_order(model([t.numpy() for t in others])), (program(*others),))
