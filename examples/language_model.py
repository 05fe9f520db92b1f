"""A language model of transformers in one TFLite file: prefill in pieces, decode, and a key-value cache for both.

The signatures `prefill_16`, `prefill_4` and `decode` are one module, converted for so many tokens at a time. The file
holds the cache itself, or takes and gives it.
"""

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

import nobuco
from nobuco.export import to_tflite

LENGTH = 96  # of the cache
SIGNATURES = {"prefill_16": 16, "prefill_4": 4, "decode": 1}  # tokens that each takes


class WithCache(nn.Module):
    """A decoder and its cache: takes the next tokens and their positions, gives the logits behind the last one."""

    def __init__(self, model, length=LENGTH):
        super().__init__()
        self.model, self.length = model, length
        self.cache = StaticCache(config=model.config, max_batch_size=1, max_cache_len=length)
        with torch.no_grad():  # makes the cache's tensors
            self(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
        self.cache.reset()

    def forward(self, tokens, positions):
        for layer in getattr(self.cache, "layers", ()):
            count = getattr(layer, "cumulative_length", None)
            if torch.is_tensor(count):  # transformers 5 counts by itself, and would not go back
                count.copy_(positions[0])
        # A mask of our own: transformers looks at values to leave it out, and a trace keeps what it has seen.
        mask = torch.arange(self.length) <= positions[:, None]
        out = self.model(
            input_ids=tokens,
            attention_mask=mask[None, None],
            position_ids=positions[None],
            cache_position=positions,
            past_key_values=self.cache,
        )
        return out.logits[:, -1]


def converted(module):
    """A Keras model for each signature."""
    models = {}
    for name, count in SIGNATURES.items():
        args = [torch.zeros(1, count, dtype=torch.int64), torch.arange(count)]
        models[name] = nobuco.pytorch_to_keras(module, args, output_names=["logits"], verbose=False)
    return models


class Decoder:
    """Runs a file, token by token, wherever its cache is."""

    def __init__(self, data):
        interpreter = Interpreter(model_content=data)
        self.runners = {name: interpreter.get_signature_runner(name) for name in SIGNATURES}
        details = self.runners["decode"].get_input_details().items()
        self.position = 0
        self.cache = {  # of a file that keeps its state itself, nothing
            name: np.zeros(detail["shape"], detail["dtype"])
            for name, detail in details
            if name not in ("tokens", "positions")
        }

    def __call__(self, name, tokens):
        positions = np.arange(self.position, self.position + len(tokens))
        out = self.runners[name](tokens=np.array([tokens]), positions=positions, **self.cache)
        self.position += len(tokens)
        self.cache = {key: out[next(o for o in out if o.replace(".", "_") == f"{key}_next")] for key in self.cache}
        return out["logits"][0]

    def greedy(self, prompt, count):
        """The next tokens after a prompt, which is read in the largest pieces that there are."""
        while prompt:
            name = next(name for name, size in SIGNATURES.items() if size <= len(prompt))
            logits, prompt = self(name, prompt[: SIGNATURES[name]]), prompt[SIGNATURES[name] :]
        tokens = [int(logits.argmax())]
        while len(tokens) < count:
            tokens.append(int(self("decode", tokens[-1:]).argmax()))
        return tokens


def greedy(model, prompt, count):
    """The same by PyTorch, which reads all tokens each time and needs no cache."""
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def main():
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LENGTH, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    prompt = torch.randint(config.vocab_size, (23,)).tolist()
    expected = greedy(model, prompt, 64)
    models = converted(WithCache(model))
    for states in ("variables", "arguments"):
        data = to_tflite(models, states=states)
        got = Decoder(data).greedy(prompt, 64)
        print(f"cache in {states}, {len(data) / 1e3:.0f} kB: {got}")
        assert got == expected


if __name__ == "__main__":
    main()
