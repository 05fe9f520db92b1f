"""Decoders of transformers in TFLite, by the example's own code: 64 tokens of greedy decoding are PyTorch's."""

from __future__ import annotations

import inspect
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conformance.torchvision_models import torchvision
from nobuco.export import to_tflite

torchvision()  # so that transformers loads with any build of PyTorch
import transformers  # noqa: E402

EXAMPLE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "examples" / "language_model.py")))
SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 96, "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": None,
}  # fmt: skip
FAMILIES = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=2)),
    "qwen": lambda: transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True)
    ),
    "gemma": lambda: transformers.GemmaForCausalLM(
        transformers.GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=8, tie_word_embeddings=False)
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=96, initializer_range=0.3, bos_token_id=None,
            eos_token_id=None,
        )
    ),
}  # fmt: skip


_TAKES = inspect.signature(transformers.GPT2LMHeadModel.forward).parameters
MARKS: dict[str, Any] = {"llama": ()}
if not {"cache_position", "kwargs"} & set(_TAKES):
    MARKS["gpt2"] = pytest.mark.xfail(raises=TypeError, strict=True, reason="has no StaticCache yet")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=MARKS.get(name, pytest.mark.full)) for name in FAMILIES],
)
def language_model(request):
    """PyTorch's module, a prompt, the tokens that follow, and the Keras models."""
    torch.manual_seed(1)
    model = FAMILIES[request.param]().eval()
    prompt = torch.randint(64, (23,)).tolist()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*past_key_values. is deprecated", FutureWarning)
        return model, prompt, EXAMPLE.greedy(model, prompt, 64), EXAMPLE.converted(EXAMPLE.WithCache(model))


@pytest.mark.parametrize("states", ["variables", "arguments"])
def test_greedy_decoding(language_model, states):
    _, prompt, expected, models = language_model
    assert len(set(expected)) > 5, "no loop of a few tokens"
    decoder = EXAMPLE.Decoder(to_tflite(models, states=states))
    assert decoder.greedy(prompt, 64) == expected
    decoder.position = 0
    assert decoder.greedy(prompt, 8) == expected[:8], "a new conversation in the same cache"


@pytest.mark.parametrize(
    ("precision", "decibels"), [pytest.param("float16", 40, marks=pytest.mark.full), ("dynamic", 15)]
)
def test_precisions(language_model, precision, decibels):
    model, prompt, _, models = language_model
    data = to_tflite(models, precision=precision)
    got = EXAMPLE.Decoder(data)("prefill_16", prompt[:16])
    with torch.no_grad():
        wanted = model(torch.tensor([prompt[:16]])).logits[0, -1].numpy()
    assert 10 * np.log10((wanted**2).sum() / ((got - wanted) ** 2).sum()) > decibels
    # Half, or three quarters, of the matrices; three graphs and the scales take some of it back.
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert len(to_tflite(models)) - len(data) > 0.35 * weights
