"""PyTorch's modules, as they are, keep their converters: none opens because of how it was made or called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from nobuco.builtin import find_converter
from nobuco.select import select
from nobuco.trace.tracer import trace
from tests.inheritors import module_classes

ROWS, STEPS = torch.rand(3, 6), torch.rand(2, 5, 6)
SPATIAL = {1: torch.rand(2, 4, 9), 2: torch.rand(2, 4, 8, 8), 3: torch.rand(1, 4, 5, 6, 7)}
Case = tuple[nn.Module, tuple[Any, ...]]


def _convolutions() -> Iterator[Case]:
    made = [{}, {"bias": False}, {"padding": "same"}, {"padding": "valid"}, {"stride": 2, "padding": 1}]
    made += [{"groups": 2, "dilation": 2}, *({"padding": 1, "padding_mode": m} for m in ("reflect", "circular"))]
    back = [{}, {"bias": False}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2}]
    for n, x in SPATIAL.items():
        for input in (x, x[0]):
            yield from ((getattr(nn, f"Conv{n}d")(4, 6, 3, **options), (input,)) for options in made)
            yield from ((getattr(nn, f"ConvTranspose{n}d")(4, 6, 3, **options), (input,)) for options in back)
        sizes = [2 * size + 2 for size in x.shape[2:]]
        yield getattr(nn, f"ConvTranspose{n}d")(4, 6, 3, stride=2), (x, sizes)


def _normalizations() -> Iterator[Case]:
    for n, x in SPATIAL.items():
        kind = getattr(nn, f"BatchNorm{n}d")
        for options in ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}):
            yield kind(4, **options).eval(), (x,)
        yield kind(4, track_running_stats=False).train(), (x,)
    yield nn.SyncBatchNorm(4).eval(), (SPATIAL[2],)


def _recurrent() -> Iterator[Case]:
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for options in ({}, {"bias": False}, {"num_layers": 2, "bidirectional": True, "batch_first": True}):
            module = kind(6, 5, dropout=0.2 * ("num_layers" in options), **options)
            state = torch.rand(module.num_layers * (1 + module.bidirectional), 2 if module.batch_first else 5, 5)
            yield module, (STEPS,)
            yield module, (STEPS[0],)
            yield module, (STEPS, (state, state + 1) if kind is nn.LSTM else state)
            yield module, (STEPS[0], (state[:, 0], state[:, 1]) if kind is nn.LSTM else state[:, 0])
    yield nn.LSTM(6, 5, proj_size=3), (STEPS,)
    yield nn.RNN(6, 5, nonlinearity="relu"), (STEPS,)
    yield parametrizations.weight_norm(nn.LSTM(6, 5), "weight_hh_l0"), (STEPS,)
    for kind in (nn.LSTMCell, nn.GRUCell, nn.RNNCell):
        module, state = kind(6, 5), torch.rand(3, 5)
        yield module, (ROWS,)
        yield module, (ROWS[0],)
        yield module, (ROWS, (state, state + 1) if kind is nn.LSTMCell else state)


def _others() -> Iterator[Case]:
    for bias, input in ((True, ROWS), (False, ROWS[0]), (True, STEPS)):
        yield nn.Linear(6, 5, bias=bias), (input,)
    yield parametrizations.weight_norm(nn.Linear(6, 6)), (ROWS,)
    yield parametrizations.orthogonal(nn.Linear(6, 6)), (ROWS,)
    yield parametrizations.spectral_norm(nn.Linear(6, 6)).eval(), (ROWS,)
    yield nn.Bilinear(6, 6, 4), (ROWS, ROWS)
    yield nn.PReLU(4), (SPATIAL[2],)
    yield nn.Embedding(10, 3, padding_idx=0), (torch.tensor([1, 2]),)
    for options in ({}, {"batch_first": True}, {"kdim": 4, "vdim": 3}, {"add_bias_kv": True, "add_zero_attn": True}):
        module = nn.MultiheadAttention(6, 2, **options).eval()
        key, value = (torch.rand(2, 5, options.get(name, 6)) for name in ("kdim", "vdim"))
        yield module, (STEPS, key, value)
        yield module, (STEPS[0], key[0], value[0])
        padding = torch.zeros((2, 5) if module.batch_first else (5, 2), dtype=torch.bool)
        yield module, (STEPS, key, value, padding, False)


FAMILIES = (_convolutions, _normalizations, _recurrent, _others)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_module_as_it_is_keeps_its_converter(family):
    opened = []
    for module, args in family():
        graph = trace(module, args, {})
        units = select(graph, find_converter).units
        if [unit.node.module for unit in units] != [module]:
            opened.append((module, [getattr(arg, "shape", arg) for arg in args]))
    assert not opened


def test_each_class_with_a_converter_is_among_them():
    tried = {base for family in FAMILIES for module, _ in family() for base in type(module).__mro__}
    assert not [kind for kind in module_classes() if kind not in tried]
