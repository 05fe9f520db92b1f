"""Loops over a dynamic size: as many rounds as there are rows, in Keras and in TFLite."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite
from nobuco.trace.sizes.repeats import Part, pattern, rounds

ORDER = ChannelOrder.PYTORCH
SIZES = ((3, 5, 4), (2, 8, 4), (1, 2, 4), (3, 1, 4), (2, 13, 4), (2, 0, 4))


def zeros(x):
    return torch.zeros(x.shape[0], 4)


def carried(x):
    h, out = zeros(x), []
    for t in range(x.shape[1]):
        h = torch.tanh(h * 0.5 + x[:, t])
        out.append(h)
    return torch.stack(out, 1), h, out[0]


def joined_backwards(x):
    h, out = zeros(x), []
    for t in range(x.shape[1] - 1, -1, -1):
        h = torch.sin(h + x[:, t])
        out.insert(0, h.unsqueeze(1))
    return torch.cat(out, dim=1)


def over_parts(x):
    h = zeros(x)
    for row, other in zip(x.unbind(1), x.flip(1).split(1, 1)):
        h = torch.sin(h + row * other[:, 0])
    return h


def over_a_list(x):
    out, h = [], zeros(x)
    for t in range(x.shape[1]):
        h = torch.sin(h + x[:, t])
        out.append(h)
    back = []
    for row in out[::-1]:
        h = torch.cos(h - row)
        back.append(h)
    return torch.stack(out[1:], 1), torch.stack(back[::-1], 2)


def begins_with_nothing(x):
    total = None
    for row in x.unbind(1):
        total = row * 2 if total is None else total + row
    return total


def numbers(x):
    n, out = x.shape[1], []
    for t in range(n):
        out.append(x[:, t] * (t + 1) / n + torch.full((x.shape[0], 1), 2 * t) + torch.arange(4) * t)
    return torch.stack(out, 1)


def windows(x):
    return torch.stack([x[:, i : i + 3].mean(1) for i in range(0, x.shape[1] - 2, 2)], 1)


def unequal_windows(x):
    h = zeros(x)
    for i in range(0, x.shape[1], 2):
        h = h + x[:, i : i + 2].mean(1)
    return h


def all_before(x):
    out = []
    for t in range(x.shape[1]):
        out.append(F.scaled_dot_product_attention(x[:, t : t + 1], x[:, : t + 1], x[:, : t + 1]))
    return torch.cat(out, 1)


def written(x):
    y = torch.zeros(x.shape[0], x.shape[1] + 2, 4)
    for t in range(x.shape[1]):
        y[:, t + 1] = x[:, t]
        y[:, t + 2] += y[:, t] * 0.5
    return y


def two_phases(x):
    h, n = zeros(x), x.shape[1]
    for t in range(n):
        h = torch.sin(h + x[:, t]) if t < n // 2 else torch.cos(h - x[:, t])
    return h


def last_apart(x):
    h, n = zeros(x), x.shape[1]
    for t in range(n):
        h = torch.sin(h + x[:, t])
        if t == n - 1:
            h = h * 2
    return h


def steps_within(x):
    h = zeros(x)
    for t in range(x.shape[1]):
        for k in range(3):
            h = torch.sin(h + x[:, t] * k)
    return h


def bounded(x):
    h = zeros(x)
    for t in range(min(x.shape[1], 3)):
        h = torch.sin(h + x[:, t])
    for t in range(x.shape[1] - 2):
        h = torch.cos(h + x[:, t + 1])
    return h


def viterbi(x):
    scores, back = x[:, 0], []
    for t in range(1, x.shape[1]):
        scores, best = (scores.unsqueeze(2) + x[:, t].unsqueeze(1)).max(1)
        back.append(best)
    path = [scores.argmax(1)]
    for best in reversed(back):
        path.append(best.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1)


def for_each_image(x):
    return torch.stack([torch.softmax(image @ image.t(), -1) @ image for image in x])


def called_twice(x):
    def run(x):
        h = zeros(x)
        for t in range(x.shape[1]):
            h = torch.sin(h + x[:, t])
        return h

    return run(x) - run(x.flip(1))


class Cells(nn.Module):
    """Two cells on each other, the first with its state made by itself."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper, self.head = nn.GRUCell(4, 5), nn.LSTMCell(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        h, state, out = None, (zeros(x), zeros(x)), []
        for t in range(x.size(1)):
            h = self.lower(x[:, t], h)
            state = self.upper(h, state)
            out.append(self.head(state[0]))
        return torch.stack(out, 1), h


class Streamed(nn.Module):
    """A layer that is given a step of its sequence at a time."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x):
        state, out = None, []
        for t in range(x.shape[1]):
            y, state = self.rnn(x[:, t : t + 1], state)
            out.append(y)
        return torch.cat(out, 1)


class Greedy(nn.Module):
    """A decoder that feeds its own tokens back."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(5, 4), nn.GRUCell(8, 4), nn.Linear(4, 5)

    def forward(self, x):
        h, token, out = x.mean(1), torch.zeros(x.shape[0], dtype=torch.long), []
        for t in range(x.shape[1]):
            h = self.cell(torch.cat([self.embed(token), x[:, t]], -1), h)
            out.append(self.head(h))
            token = out[-1].argmax(-1)
        return torch.stack(out, 1)


class Summed(nn.Module):
    """A buffer that each row is added to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x):
        for t in range(x.shape[1]):
            self.total.add_(x[:, t].mean(0))
        return self.total * 1


def means_so_far(x):
    h = zeros(x)
    for t in range(x.shape[1]):
        rows = x[:, : t + 1]
        h = torch.sin(h + rows.sum(1) / rows.shape[1])
    return h


PROGRAMS = (carried, means_so_far, written, Cells)
MORE = (
    over_parts, over_a_list, joined_backwards, numbers, unequal_windows, all_before, two_phases, last_apart,
    steps_within, called_twice, Greedy, Summed, Streamed, viterbi, begins_with_nothing, windows, for_each_image,
)  # fmt: skip
IN_TFLITE = (carried, over_a_list, written, viterbi, Cells, Streamed, Greedy)


def tensors(tree):
    return tree if isinstance(tree, tuple | list) else (tree,)


def expected(program, x):
    """What PyTorch gives; nothing where it refuses such an input, or gives no tensor."""
    try:
        with torch.no_grad():
            found = tensors(program(x))
    except (RuntimeError, IndexError, ValueError):
        return None
    return found if all(isinstance(one, torch.Tensor) for one in found) else None


def compare(found, wanted):
    for one, other in zip(tensors(found), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(one), other.numpy(), atol=2e-5, rtol=1e-4)


def converted(program, **options):
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)
    return nobuco.pytorch_to_keras(
        program, args=[x], input_shapes={x: (None, None, 4)}, inputs_channel_order=ORDER, outputs_channel_order=ORDER,
        verbose=False, **options,
    )  # fmt: skip


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")
@pytest.mark.parametrize(
    "make",
    [*PROGRAMS, *(pytest.param(make, marks=pytest.mark.full) for make in MORE)],
    ids=lambda make: make.__name__,
)
def test_as_many_rounds_as_there_are_rows(make):
    program = make().eval() if isinstance(make, type) else make
    model = converted(program)
    data = to_tflite(model) if make in IN_TFLITE else None
    tried = 0
    for shape in SIZES if make is not Summed else SIZES[1:2]:  # a state that goes on is compared once
        x = torch.randn(shape)
        if make is Summed:
            program.total.zero_()
        wanted = expected(program, x)
        if wanted is None or 0 in shape[:1]:
            continue
        tried += 1
        compare(model(x.numpy()), wanted)
        if data is not None and x.numel():
            compare(run_tflite(data, [x.numpy()]), wanted)
    assert tried >= (1 if make is Summed else 3)


def two_before(x):
    a, b = zeros(x), zeros(x) + 1
    for t in range(x.shape[1]):
        a, b = b, torch.sin(a + b + x[:, t])
    return b


def powers(x):
    h = zeros(x)
    for t in range(x.shape[1]):
        h = h + x[:, t] * 0.9**t
    return h


def grows(x):
    y = x[:, :1]
    for t in range(x.shape[1]):
        y = torch.cat([y, y[:, -1:] + x[:, t : t + 1]], 1)
    return y


def parts_of_unequal_length(x):
    return torch.cat([x[:, i : i + 2].cumsum(1) for i in range(0, x.shape[1], 2)], 1)


class InTurn(nn.Module):
    """Another function at every other call."""

    def forward(self, x):
        self.calls += 1
        return torch.sin(x) if self.calls % 2 else torch.cos(x)


class CallsInTurn(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = InTurn()

    def forward(self, x):
        h, self.inner.calls = zeros(x), 0
        for t in range(x.shape[1]):
            h = self.inner(h + x[:, t])
        return h


def keywords_in_turn(x):
    h = zeros(x)
    for t in range(x.shape[1]):
        h = torch.clamp(h + x[:, t], **({"min": 0.1} if t % 2 else {"max": 0.1}))
    return h


def the_latest(x):
    h = zeros(x)
    for t in range(x.shape[1]):
        rows = x[:, : t + 1]
        if rows.shape[1] > 1500:
            rows = rows[:, -1500:]
        h = torch.sin(h + rows.mean(1))
    return h


@pytest.mark.parametrize(
    "program",
    [two_before, powers, grows, parts_of_unequal_length, CallsInTurn(), keywords_in_turn, the_latest],
    ids=lambda program: getattr(program, "__name__", type(program).__name__),
)
def test_rounds_that_are_not_alike_are_told(program):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", nobuco.NobucoWarning)
        _, report = converted(program, return_report=True)
    assert report.conditions and len(caught) >= 1
    assert "x.shape[1]" in report.conditions[0].region


def done_before_the_first(x):
    h, n = zeros(x), x.shape[1]
    for t in range(n):
        if t == 0:
            h = h + 1
        h = torch.sin(h + x[:, t])
    return h


@pytest.mark.parametrize(
    ("program", "region"), [(done_before_the_first, "x.shape[1] != 0"), (bounded, "x.shape[1] >= 3")]
)
def test_other_numbers_of_rounds_that_are_not_known_are_told(program, region):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", nobuco.NobucoWarning)
        model, report = converted(program, return_report=True)
    assert [condition.region for condition in report.conditions] == [region] and len(caught) == 1
    for shape in ((3, 5, 4), (2, 8, 4), (2, 13, 4), (1, 3, 4)):
        x = torch.randn(shape)
        compare(model(x.numpy()), (program(x),))


def summed_changes(x):
    total = 0
    for t in range(1, x.shape[1]):
        total = total + (x[:, t] - x[:, t - 1]).abs().mean()
    return total


def summed_means(x):
    total = 0.0
    for t in range(x.shape[1]):
        total += x[:, t].mean()
    return total / max(x.shape[1], 1)


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")
@pytest.mark.parametrize(
    ("program", "least", "region"),
    [
        (summed_changes, 2, "x.shape[1] - 1 >= 1"),
        (begins_with_nothing, 1, "x.shape[1] != 0"),
        (summed_means, 1, "x.shape[1] != 0"),
    ],
)
def test_where_no_round_is_made_and_no_tensor_given_a_call_says_so(program, least, region):
    model, report = converted(program, return_report=True)
    assert [condition.region for condition in report.conditions] == [region]
    with pytest.raises(nobuco.errors.InputError, match="gives no tensors"):
        model(torch.randn(2, least - 1, 4).numpy())
    for shape in ((3, least, 4), (2, 7, 4)):
        x = torch.randn(shape)
        compare(model(x.numpy()), (program(x),))


def sum_and_changes(x):
    total = 0
    for t in range(1, x.shape[1]):
        total = total + (x[:, t] - x[:, t - 1])
    return x.sum() + total


def test_too_few_rounds_for_the_first_one_are_told_exactly():
    with pytest.warns(nobuco.NobucoWarning, match=r"x.shape\[1\] - 1 >= 1"):
        model = converted(sum_and_changes)
    with pytest.raises(nobuco.errors.InputError):
        model(torch.randn(2, 1, 4).numpy())
    x = torch.randn(3, 2, 4)
    compare(model(x.numpy()), (sum_and_changes(x),))


def cut_behind(x):
    h, out = zeros(x), []
    for t in range(x.shape[1]):
        h = torch.sin(h + x[:, t])
        out.append(h)
    rows = torch.stack(out, 1)
    return rows[:, :1500] if rows.shape[1] > 1500 else rows


@pytest.mark.full
def test_a_decision_behind_a_loop():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nobuco.NobucoWarning)
        model = converted(cut_behind)
    for length in (3, 1600):
        x = torch.randn(2, length, 4)
        compare(model(x.numpy()), (cut_behind(x),))


def test_calls_that_repeat():
    parts = pattern(tuple("abcbcbcdee"))
    assert parts == (Part(("a",)), Part(("b", "c"), repeats=True), Part(("d", "e", "e")))
    assert rounds(tuple("abcbcdee"), parts) == (1, 2, 1)
    assert rounds(tuple("adee"), parts) == (1, 0, 1)
    assert rounds(tuple("abcbdee"), parts) is None
