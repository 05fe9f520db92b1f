"""What PyTorch does in one call for inference on a CPU, as the calls that it stands for.

Its own switch, `torch.backends.mkldnn`, is one for all threads: the inference of others would be rounded otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

LSTM_LAYER = torch.ops.aten.mkldnn_rnn_layer.default


def lstm_layer(
    input: torch.Tensor,
    kernel: torch.Tensor,
    recurrent_kernel: torch.Tensor,
    bias: torch.Tensor,
    recurrent_bias: torch.Tensor,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    reverse: bool,
    batch_sizes: Any,
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    *_: Any,
) -> tuple[torch.Tensor, ...]:
    """One direction of one layer, step by step; the last result, room for a backward pass, is empty."""
    steps = F.linear(input, kernel, bias if has_biases else None).unbind(0)
    outputs: list[torch.Tensor] = []
    for step in reversed(steps) if reverse else steps:
        gates = step + F.linear(hidden, recurrent_kernel, recurrent_bias if has_biases else None)
        admit, forget, fresh, show = gates.chunk(4, 1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(admit) * torch.tanh(fresh)
        hidden = torch.sigmoid(show) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs[::-1] if reverse else outputs), hidden, cell, torch.zeros(0, dtype=torch.uint8)
