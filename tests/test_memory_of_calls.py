"""What a program keeps in Python from call to call: caches, which change nothing, and flags, which do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nobuco.trace.held import restoring
from tests.parity import told


def converted(module, x, *axes):
    """The Keras model with these axes dynamic, and what was said."""
    shape = tuple(None if i in axes else n for i, n in enumerate(x.shape))
    return told(module.eval(), x, input_shapes={x: shape})


class Growing(nn.Module):
    """A table that becomes as long as it has to be."""

    def __init__(self, length):
        super().__init__()
        self.length = length
        self.register_buffer("table", torch.arange(float(length)).sin(), persistent=False)

    def forward(self, x):
        if x.shape[1] > self.length:
            self.length = x.shape[1]
            self.register_buffer("table", torch.arange(float(self.length)).sin(), persistent=False)
        return x + self.table[: x.shape[1]]


class Masking(nn.Module):
    """A mask that is made anew where the length is another."""

    mask = None

    def forward(self, x):
        if self.mask is None or self.mask.shape[0] != x.shape[1]:
            self.mask = torch.full((x.shape[1], x.shape[1]), -9.0).triu(1)
        return x[:, None] + self.mask


class BySize(nn.Module):
    """Ramps by their length."""

    def __init__(self):
        super().__init__()
        self.ramps = {}

    def forward(self, x):
        if x.shape[1] not in self.ramps:
            self.ramps[x.shape[1]] = torch.arange(x.shape[1]) * 0.5
        return x * self.ramps[x.shape[1]]


@pytest.mark.parametrize("module", [Growing(4), Growing(16), Masking(), BySize()], ids=["full", "room", "mask", "dict"])
def test_nothing_is_said_of_a_cache(module):
    model, said = converted(module, torch.randn(2, 5), 0, 1)
    assert said == []
    for shape in [(2, 5), (1, 3), (3, 20), (2, 33), (4, 1)]:
        x = torch.randn(shape)
        with restoring(module):
            assert torch.allclose(torch.tensor(model(x.numpy()).numpy()), module(x), atol=1e-5)


class First(nn.Module):
    """What the first call saw stays for all."""

    weight = None

    def forward(self, x):
        if self.weight is None:
            self.weight = torch.ones(x.shape[1]) * x.shape[1]
        return x * self.weight.mean()


def test_a_cache_that_another_size_would_fill_otherwise_is_told():
    _, said = converted(First(), torch.randn(2, 5), 1)
    assert any("'weight'" in message for message in said)


class Remembering(nn.Module):
    """A module with something of Python's; what `forward` gives is what this function makes of both."""

    def __init__(self, kept, step):
        super().__init__()
        self.kept, self.step = kept, step

    def forward(self, x):
        return self.step(self, x)


def flag(self, x):
    first, self.kept = self.kept, False
    return x * 2 if first else x


def name(self, x):
    self.kept = "b" if self.kept == "a" else "a"
    return x + (1 if self.kept == "a" else 2)


def numbers(self, x):
    self.kept.append(float(x.shape[0]))
    return x + len(self.kept)


def members(self, x):
    self.kept.add(len(self.kept))
    return x + len(self.kept)


def last(self, x):
    seen, self.kept = self.kept, tuple(x.shape)
    return x if seen == self.kept else x * 3


@pytest.mark.parametrize(
    ("kept", "step"),
    [(True, flag), ("a", name), ([], numbers), (set(), members), (None, last)],
    ids=["flag", "name", "numbers", "members", "last"],
)
def test_what_python_remembers_is_told(kept, step):
    module = Remembering(kept, step)
    before = repr(module.kept)
    _, said = converted(module, torch.randn(2, 3))
    assert any("remembers" in message for message in said)
    assert repr(module.kept) == before, "the module is as it was"


class Averaging(nn.Module):
    """A buffer that the first call fills, and each later one follows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(3))
        self.filled = False

    def forward(self, x):
        if self.filled:
            self.average.mul_(0.5).add_(x.mean(0), alpha=0.5)
        else:
            self.average.copy_(x.mean(0))
            self.filled = True
        return x - self.average


def test_a_flag_beside_a_buffer_is_found_by_calls_with_other_values():
    _, said = converted(Averaging(), torch.randn(2, 3))
    assert any("does not match PyTorch" in message and "calls in a row" in message for message in said)


def test_drawing_at_random_is_no_memory():
    _, said = converted(Remembering(None, lambda self, x: x + torch.rand(3)), torch.randn(2, 3))
    assert not any("remembers" in message for message in said)


def test_a_number_that_is_a_size_at_other_sizes_only_is_compared_with_itself():
    class Counting(nn.Module):
        def forward(self, x):
            return x.shape[1] // 2, x * 2, x.shape[0]

    _, said = converted(Counting(), torch.randn(2, 5), 0)
    assert said == ["the model's output 2 is int, no tensor: left out of the Keras model"]
