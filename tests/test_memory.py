"""Activations are not all held at once: what was let go of while tracing is computed again, and is the same."""

from __future__ import annotations

import gc

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.ir import samples
from nobuco.trace import idle, trace
from nobuco.validate.frugal import outputs_of

ROWS, COLUMNS = 256, 512  # a tensor of 512 KiB
SIZE = ROWS * COLUMNS * 4
X = torch.linspace(-1, 1, ROWS * COLUMNS).reshape(ROWS, COLUMNS)


def chain(x, count=40):
    for _ in range(count):
        x = torch.sin(x) + 1
    return x


def held():
    """The bytes of all large memories that Python's tensors have now."""
    every = [item for item in gc.get_objects() if type(item) is torch.Tensor]
    tensors = [tensor for tensor in every if tensor.numel() and tensor.layout is torch.strided and not tensor.is_meta]
    memories = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(size for size in memories.values() if size >= SIZE)


def test_a_trace_holds_what_the_program_holds():
    before = held()
    graph = trace(lambda x: chain(x, 400), (X,), {})
    assert held() - before <= 3 * SIZE  # the input's copy and the output
    made = [node.results[0] for node in graph.walk()]
    assert torch.equal(graph.samples[made[399].id], chain(X, 200))
    assert torch.equal(graph.samples[made[-1].id], chain(X, 400))


def skipping(x):
    early = torch.tanh(x)
    return chain(early, 300) + early


def test_what_a_call_far_behind_reads_is_computed_once_more():
    graph = trace(skipping, (X,), {})
    assert torch.equal(graph.samples[graph.outputs.id], skipping(X))
    *_, last = graph.walk()
    assert torch.equal(graph.samples[last.inputs[1].id], torch.tanh(X))


def in_place(x):
    y = x * 2
    y.relu_()
    z = y[:, ::2]
    z.add_(1)
    return y + 1


def through_views(x):
    y = x * 2
    head, tail = y.chunk(2, 1)
    head.mul_(3)
    flat = y.view(-1)
    flat[: len(flat) // 2] = tail.reshape(-1)
    return y + tail.sum()


def overlapping_views(x):
    y = x + 0
    early, pairs = y[0], y.unfold(1, 2, 2)
    pairs.mul_(3).add_(1)
    return y + early + y.unfold(1, 2, 2).sum()


def several_results(x):
    values, places = x.sort(-1)
    a, b = values.split(COLUMNS // 2, 1)
    return a * b + places[:, : COLUMNS // 2]


def with_gradient(x):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((x.sin() * x).sum(), x)
    return gradient * 2


def kept_elsewhere(x):
    seen = {}
    for i in range(40):
        x = seen[i] = torch.cos(x)
    return seen[0] + seen[20] + x


def put_in_a_list_of_torchscript(x):
    return kept_by_script(torch.tanh(x))


@torch.jit.script
def kept_by_script(x):
    kept = [x, x.t(), x + 1]
    for _ in range(50):
        x = torch.cos(x)
        kept.append(x)
    return kept[0] + kept[1].t() + kept[2] + x


def set_to_other_memory(x):
    y = x + 1
    memory = y.untyped_storage()
    y = chain(y, 300)
    return y + torch.empty(0).set_(memory).view(ROWS, COLUMNS)


def batch_norm(x):
    mean, variance = torch.zeros(COLUMNS), torch.ones(COLUMNS)
    y = F.batch_norm(x, mean, variance, training=True)
    return y + mean


PROGRAMS = [in_place, through_views, overlapping_views, several_results, with_gradient, kept_elsewhere, batch_norm]
PROGRAMS += [put_in_a_list_of_torchscript, set_to_other_memory]


@pytest.mark.parametrize("between", [1, idle._BETWEEN])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_sample_is_what_it_was(program, between, monkeypatch):
    monkeypatch.setattr(idle, "_BETWEEN", between)
    again = trace(program, (X,), {})
    monkeypatch.setattr(idle, "LARGE", 1 << 60)
    whole = trace(program, (X,), {})
    assert set(again.samples) >= set(whole.samples.kept)
    for id, sample in whole.samples.kept.items():
        assert torch.equal(again.samples[id], sample), id
    assert torch.equal(again.samples[again.outputs.id], program(X))


@pytest.mark.parametrize("training", [False, True])
def test_what_chance_made_is_held(training):
    model = nn.Sequential(nn.Linear(COLUMNS, COLUMNS), nn.Dropout(0.5), nn.Tanh(), nn.RReLU()).train(training)
    model.append(nn.MultiheadAttention(COLUMNS, 2, dropout=0.5).train(training))
    model.forward = lambda x: model[4](*[nn.Sequential.forward(model[:4], x)] * 3)[0]
    torch.manual_seed(3)
    graph = trace(model, (X,), {})
    torch.manual_seed(3)
    found = dict(graph.samples)
    with torch.no_grad():
        assert torch.equal(found[graph.outputs.id], model(X))
    for node in graph.walk():
        for value in node.results:
            assert torch.equal(graph.samples[value.id], found[value.id])


@pytest.fixture
def marked():
    """A function that doubles, what is held each time that its converter runs, and by what that multiplies."""
    seen, factor = [], [2.0]
    mark = nobuco.traceable(lambda x: x * 2)

    @nobuco.converter(mark)
    def converter_mark(x):
        def run(x):
            there = [t for t in gc.get_objects() if type(t).__name__ == "EagerTensor" and tuple(t.shape) == X.shape]
            seen.append((held(), len(there)))
            return x * factor[0]

        return run

    yield mark, seen, factor
    nobuco.unregister_converter(mark)


@pytest.mark.full
def test_a_wrong_converter_is_found_where_tensors_were_let_go_of(marked):
    mark, _, factor = marked
    factor[0] = 2.01
    _, report = nobuco.pytorch_to_keras(lambda x: chain(mark(chain(x))), [X], return_report=True, verbose=False)
    (bad,) = [node for node in report.walk() if node.own is not None and not node.own.matches]
    assert bad.own.max_abs == pytest.approx(0.01 * float(chain(X).abs().max()), rel=1e-3)


def test_a_conversion_holds_few_activations(marked, monkeypatch):
    monkeypatch.setattr(samples, "_AT_HAND", 4 * SIZE)
    mark, seen, _ = marked
    before = held()
    nobuco.pytorch_to_keras(lambda x: mark(chain(mark(chain(mark(x))))), [X], verbose=False)
    assert len(seen) > 12
    assert max(of_torch for of_torch, _ in seen) - before < 30 * SIZE
    assert max(of_tensorflow for _, of_tensorflow in seen) < 20


def test_a_model_that_is_run_layer_by_layer_gives_what_keras_gives():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

        def forward(self, x, y):
            z = self.norm(self.first(x))
            return {"b": z + self.first(y), "a": (z, x)}

    inputs = [torch.randn(4, 8), torch.randn(4, 8)]
    model = nobuco.pytorch_to_keras(Model().eval(), inputs, verbose=False)
    arrays = [tensor.numpy() for tensor in inputs]
    expected = keras.tree.flatten(model(arrays, training=False))
    got = outputs_of(model, arrays)
    assert len(got) == 3 and all((a.numpy() == b.numpy()).all() for a, b in zip(expected, got))
