"""Quantised attention: a mask is no part of the range of the scores, and costs no digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensorflow.lite.python.schema_py_generated import Model
from torch import nn

import nobuco
from conformance.torchvision_models import torchvision
from nobuco.export import run_tflite, to_tflite
from nobuco.export.ranges import with_ranges
from tests.parity import convert

torchvision()  # so that transformers loads with any build of PyTorch
import transformers  # noqa: E402

LENGTH, WIDTH, HEADS = 16, 32, 4
SEEN = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
KEPT = torch.arange(LENGTH)[None] < 12


def added(number):
    return torch.zeros(LENGTH, LENGTH).masked_fill(~SEEN, number)


def generator(seed):
    return torch.Generator().manual_seed(seed)


class Attention(nn.Module):
    """Attention by a function of queries, keys and values."""

    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        for weight in (self.project.weight, self.project.bias):
            nn.init.normal_(weight, std=0.25, generator=generator(1))

    def forward(self, x, *masks):
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.project(x).chunk(3, dim=-1)
        )
        return self.attend(query, key, value, *masks).transpose(1, 2).flatten(2)


def by_hand(mask):
    return lambda q, k, v, *masks: mask(q @ k.mT / math.sqrt(q.shape[-1]), *masks).softmax(-1) @ v


def multi_head(**masks):
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator(2))
    return lambda x: module(x, x, x, need_weights=False, **masks)[0]


def given(mask):
    return (1 - mask[:, None, None].float()) * torch.finfo(torch.float32).min


UNMASKED = Attention(F.scaled_dot_product_attention)
MASKED = {
    "multi-head, truth values": multi_head(attn_mask=~SEEN),
    "multi-head, numbers": multi_head(attn_mask=added(-torch.inf)),
    "causal": Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    "truth values": Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, SEEN)),
    "numbers": Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, added(-1e9))),
    "given": Attention(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m[:, None, None])),
    "a hundred": Attention(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, added(-100.0))),
    "rows of nothing": Attention(by_hand(lambda scores: scores.masked_fill((~SEEN).roll(1, 0), -1e9))),
    "filled": Attention(by_hand(lambda scores: scores.masked_fill(~SEEN, -torch.inf))),
    "least number": Attention(by_hand(lambda scores: scores + added(torch.finfo(torch.float32).min))),
    "product": Attention(by_hand(lambda scores, m: scores + given(m))),
    "chosen": Attention(by_hand(lambda scores, m: torch.where(m[:, None, None], scores, -1e4))),
    "both": Attention(by_hand(lambda scores, m: scores + added(-torch.inf) + given(m))),
}


def decibels(model, precision, example, samples):
    """How much louder than the noise of a quantised file the signal is, over all samples."""
    order = nobuco.ChannelOrder.PYTORCH
    keras_model = convert(model, *example, order=order)
    feeds = [[tensor.numpy() for tensor in sample] for sample in samples]
    data = to_tflite(keras_model, precision=precision, representative=feeds)
    with torch.no_grad():
        expected = np.stack([model(*sample).numpy() for sample in samples])
    noise = np.stack([run_tflite(data, feed)[0] for feed in feeds]) - expected
    return 10 * np.log10((expected**2).sum() / (noise**2).sum())


def examples(*masks):
    return [(torch.randn(1, LENGTH, WIDTH, generator=generator(seed)), *masks) for seed in range(8)]


@pytest.fixture(scope="module")
def unmasked():
    samples = examples()
    return {name: decibels(UNMASKED, name, samples[0], samples) for name in ("int8", "int16x8")}


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "int8") for name in MASKED), *((name, "int16x8") for name in ("causal", "filled", "both"))],
)
def test_a_mask_costs_no_digits(name, precision, unmasked):
    samples = examples(KEPT) if name in ("given", "product", "chosen", "both") else examples()
    assert decibels(MASKED[name], precision, samples[0], samples) > unmasked[precision] - 1


@pytest.mark.parametrize("number", [-1e9, -torch.inf])
def test_a_mask_of_numbers_that_is_given(number, unmasked):
    """What the caller gives is beyond the range of its own tensor, too."""
    model = Attention(by_hand(lambda scores, mask: scores + mask))
    samples = examples(added(number))
    assert decibels(model, "int8", (samples[0][0], added(-1e9)), samples) > unmasked["int8"] - 1


SIZES = {"vocab_size": 64, "max_position_embeddings": 32, "initializer_range": 0.15}


@pytest.mark.full
@pytest.mark.parametrize(
    "model",
    [
        transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, **SIZES)),
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, **SIZES
            )
        ),
    ],
    ids=["gpt2", "llama"],
)
def test_a_language_model(model):
    samples = [(torch.randint(0, 64, (1, LENGTH), generator=generator(seed)),) for seed in range(12)]
    logits = decibels(lambda ids: model.eval()(ids, use_cache=False).logits, "int8", samples[0], samples)
    assert logits > 20


def test_what_a_sum_overwrites_keeps_its_own_range():
    """TFLite computes `scores + 50` in the place of the scores."""
    x, order = torch.randn(2, 4, 8), nobuco.ChannelOrder.PYTORCH
    keras_model = convert(lambda x: (x @ x.mT + 50) / 2, x, order=order)
    feeds = [("serving_default", {"x": x.numpy()})]
    graph = Model.GetRootAs(with_ranges(to_tflite(keras_model), lambda: iter(feeds))).Subgraphs(0)
    ranges = [graph.Tensors(i).Quantization() for i in range(graph.TensorsLength())]
    scores = x @ x.mT
    for expected in (scores, scores + 50):
        assert any(
            r.MinLength() and np.allclose([r.Min(0), r.Max(0)], [expected.min(), expected.max()], atol=1e-4)
            for r in ranges
        )
