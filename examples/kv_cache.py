"""Decode with a small Llama-style model, token by token; its key and value caches are written in place."""

import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import to_tflite

VOCABULARY, WIDTH, HEADS, KV_HEADS, LENGTH, LAYERS = 50, 32, 4, 2, 16, 2
HEAD = WIDTH // HEADS


def rotated(x, cos, sin):
    """Rotary position embedding."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention of one token to all before it."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(WIDTH, HEADS * HEAD, bias=False)
        self.key = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.value = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.out = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.register_buffer("keys", torch.zeros(1, KV_HEADS, LENGTH, HEAD))
        self.register_buffer("values", torch.zeros(1, KV_HEADS, LENGTH, HEAD))

    def forward(self, x, position, mask, cos, sin):
        query = rotated(self.query(x).view(1, 1, HEADS, HEAD).transpose(1, 2), cos, sin)
        key = rotated(self.key(x).view(1, 1, KV_HEADS, HEAD).transpose(1, 2), cos, sin)
        value = self.value(x).view(1, 1, KV_HEADS, HEAD).transpose(1, 2)
        self.keys.index_copy_(2, position, key)
        self.values.index_copy_(2, position, value)
        keys = self.keys.repeat_interleave(HEADS // KV_HEADS, dim=1)
        values = self.values.repeat_interleave(HEADS // KV_HEADS, dim=1)
        x = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(x.transpose(1, 2).reshape(1, 1, WIDTH))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.attention = Attention()
        self.gate = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x, *context):
        x = x + self.attention(self.attention_norm(x), *context)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Takes the next token, of shape (1, 1), and gives the logits of the one behind it."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.register_buffer("position", torch.zeros(1, dtype=torch.int64))
        angles = torch.outer(torch.arange(LENGTH), 10000 ** (-torch.arange(0, HEAD, 2) / HEAD)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, token):
        cos, sin = self.cos[self.position], self.sin[self.position]
        mask = (torch.arange(LENGTH) <= self.position)[None]
        x = self.embedding(token)
        for block in self.blocks:
            x = block(x, self.position, mask, cos, sin)
        self.position += 1
        return self.head(self.norm(x))[:, 0]


def decoded(call, first, steps):
    """The logits of greedy decoding."""
    token, found = first, []
    for _ in range(steps):
        logits = call(token)
        token = logits.argmax(dim=1, keepdim=True)
        found.append(logits)
    return torch.cat(found)


def main():
    module = Decoder().eval()
    first = torch.tensor([[7]])
    keras_model = nobuco.pytorch_to_keras(module, args=[first], outputs_channel_order=ChannelOrder.PYTORCH)
    tflite = Interpreter(model_content=to_tflite(keras_model)).get_signature_runner()

    with torch.no_grad():
        expected = decoded(module, first, LENGTH - 1)
    print(f"tokens: {expected.argmax(dim=1).tolist()}")
    for name, call in (
        ("Keras", lambda token: nobuco.t_keras2pytorch(keras_model(token.numpy()))),
        ("TFLite", lambda token: torch.from_numpy(tflite(token=token.numpy())["output_0"])),
    ):
        got = decoded(call, first, LENGTH - 1)
        print(f"{len(got)} tokens in {name}: max |difference| {(got - expected).abs().max():.1e}")
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(got.argmax(dim=1), expected.argmax(dim=1))


if __name__ == "__main__":
    main()
