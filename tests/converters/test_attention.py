"""Attention against PyTorch, and what it becomes in TFLite."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.environment.versions import release
from tests.lite import ops_of
from tests.sizes import check_dynamic

Q, K, V = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 7)
SEEN = torch.rand(2, 1, 5, 6) > 0.4
SEEN[..., 0] = True


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": SEEN},
        {"attn_mask": SEEN[0, 0]},
        {"attn_mask": torch.randn(5, 6)},
        {"attn_mask": SEEN.float(), "dropout_p": 0.0, "scale": 1.0},
        {"attn_mask": torch.ones(5, 6, dtype=torch.bool).triu(2)},
    ],
)
def test_scaled_dot_product_attention(check, options):
    # A mask that is part of the model, then one that comes from outside.
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), Q, K, V, tflite=True)
    check(F.scaled_dot_product_attention, Q, K, V, **options)


@pytest.mark.parametrize("mask", [torch.randn(5, 6), SEEN], ids=["numbers", "truth"])
def test_a_mask_beside_a_causal_one(check, mask):
    """PyTorch before 2.14 takes both where its fused kernel serves, as for values of the same size as the keys."""
    if release(torch.__version__) >= (2, 14):
        with pytest.raises(RuntimeError, match="attn_mask should not be set"):
            F.scaled_dot_product_attention(Q, K, K, attn_mask=mask, is_causal=True)
        return
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=True), Q, K, K + 1)


@pytest.mark.parametrize("shape", [(5, 8), (3, 5, 8), (2, 2, 3, 5, 8)])
def test_attention_ranks(check, shape):
    check(F.scaled_dot_product_attention, *(torch.randn(shape) for _ in range(3)))


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": torch.rand(1, 1, 5, 6) > -1}])
def test_grouped_queries(check, options):
    q, k, v = torch.randn(2, 6, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **options),
        q,
        k,
        v,
        tflite=True,
    )


def test_attention_is_lean():
    ops = ops_of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), Q, K, V, order="nchw")
    assert ops == ["MUL", "BATCH_MATMUL", "ADD", "SOFTMAX", "BATCH_MATMUL"]


def _inputs(batch_first, batch=2, unbatched=False, kdim=12, vdim=12):
    lengths = (5, 6, 6)
    given = [torch.randn(n, batch, d) for n, d in zip(lengths, (12, kdim, vdim))]
    if unbatched:
        return [x[:, 0] for x in given]
    return [x.transpose(0, 1).contiguous() if batch_first else x for x in given]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"kdim": 9, "vdim": 7},
    ],
)
def test_multihead_attention(check, options, batch_first, batch):
    module = nn.MultiheadAttention(12, 3, batch_first=batch_first, **options)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    given = _inputs(batch_first, batch, kdim=options.get("kdim", 12), vdim=options.get("vdim", 12))
    check(module, *given, tflite=True)


PADDED = torch.tensor([[False] * 6, [False] * 3 + [True] * 3])
LATER = torch.ones(5, 6, dtype=torch.bool).triu(1)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"need_weights": False},
        {"average_attn_weights": False},
        {"key_padding_mask": PADDED},
        {"attn_mask": LATER},
        {"attn_mask": torch.randn(5, 6)},
        {"attn_mask": LATER, "is_causal": True, "need_weights": False},
        {"attn_mask": torch.randn(6, 5, 6), "key_padding_mask": PADDED.float() * -3.0},
        {"attn_mask": LATER, "key_padding_mask": PADDED, "average_attn_weights": False},
    ],
)
def test_multihead_attention_calls(check, options, added, batch_first):
    module = nn.MultiheadAttention(12, 3, batch_first=batch_first, add_bias_kv=added, add_zero_attn=added)
    check(module, *_inputs(batch_first), **options)


@pytest.mark.parametrize(
    "options", [{}, {"need_weights": False}, {"average_attn_weights": False}, {"attn_mask": LATER}]
)
def test_unbatched(check, options):
    check(nn.MultiheadAttention(12, 3), *_inputs(False, unbatched=True), **options)


def test_self_attention(check):
    class SelfAttention(nn.Module):
        def __init__(self, batch_first):
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=batch_first)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    for batch in (1, 2):
        x = torch.randn(batch, 5, 12)
        for batch_first in (True, False):
            check(SelfAttention(batch_first), x, tflite=True)
        ops = Counter(ops_of(SelfAttention(True), x, order="nchw"))
        assert ops == {"FULLY_CONNECTED": 4, "BATCH_MATMUL": 2, "SOFTMAX": 1, "RESHAPE": 4, "TRANSPOSE": 4}


@pytest.mark.parametrize("separate", [False, True])
def test_multi_head_attention_forward(check, separate):
    e, heads = 12, 3
    q, k, v = _inputs(False)
    weights = [torch.randn(e, e) * 0.3 for _ in range(4)]
    packed, bias, out_bias = torch.cat(weights[:3]), torch.randn(3 * e), torch.randn(e)
    parts = dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), weights)) if separate else {}

    def function(q, k, v):
        return F.multi_head_attention_forward(
            q, k, v, e, heads, None if separate else packed, bias, None, None, False, 0.0, weights[3],
            out_bias,
            training=False, use_separate_proj_weight=separate, **parts,
        )  # fmt: skip

    check(function, q, k, v)


@pytest.mark.parametrize("options", [{"batch_first": True}, {"norm_first": True}, {"activation": "gelu"}])
def test_transformer_layers(check, options):
    x, memory = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    check(nn.TransformerEncoderLayer(12, 3, 16, **options), x, tflite=True)
    check(nn.TransformerDecoderLayer(12, 3, 16, **options), x, memory)


def test_transformer(check):
    model = nn.Transformer(12, 3, 1, 1, 16, batch_first=True).eval()
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    check(
        lambda s, t: model(s, t, tgt_mask=mask, tgt_is_causal=True),
        torch.randn(2, 6, 12),
        torch.randn(2, 5, 12),
    )


def test_projections_stay_trainable(check):
    model = check(nn.MultiheadAttention(12, 3), *_inputs(False))
    assert len(model.trainable_variables) == 8


@pytest.mark.parametrize("batch_first", [True, False])
def test_dynamic_sizes(batch_first):
    attention = nn.MultiheadAttention(12, 3, batch_first=batch_first, add_bias_kv=True).eval()
    check_dynamic(lambda x: attention(x, x, x), torch.randn(2, 5, 12), torch.randn(3, 7, 12), free=(0, 1))


@pytest.mark.parametrize("options", [{}, {"is_causal": True}])
def test_dynamic_grouped_queries(options):
    check_dynamic(
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, 2:4], enable_gqa=True, **options),
        torch.randn(2, 4, 5, 8),
        torch.randn(3, 4, 7, 8),
        free=(0, 2),
    )
