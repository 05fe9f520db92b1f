"""A network of a zoo with two sets of inputs, and weights that hide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from conformance.torchvision_models import randomized
from nobuco import ChannelOrder

Inputs = Mapping[str, torch.Tensor]
_FEW = 4


class NoNetworkError(Exception):
    """A small network of this name cannot be made, or does not run in PyTorch."""


@dataclass(frozen=True)
class Network:
    """What is converted, how its inputs and outputs lie, and what it is compared on beside its example."""

    model: nn.Module
    inputs: Inputs
    other_inputs: Inputs
    order: ChannelOrder
    described: str = ""


def lively(model: nn.Module) -> nn.Module:
    """The model in eval mode with weights that each layer shows in the output.

    Initial weights hide what comes before or after them: scales of one, scales of 1e-6 before a residual sum,
    matrices so small that a softmax over what they give is flat.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            _enliven(parameter, generator)
        return randomized(model, 0)


def _enliven(parameter: nn.Parameter, generator: torch.Generator) -> None:
    if not parameter.is_floating_point() or not parameter.numel():
        return
    if parameter.min() == parameter.max():
        noise = torch.rand(parameter.shape, generator=generator).to(parameter.dtype)
        parameter.copy_(noise * 0.5 + 0.75 if parameter.any() else noise * 0.2 - 0.1)
    elif parameter.ndim >= 2:
        fan_in = parameter.numel() // parameter.shape[0]
        spread = parameter.std()
        if fan_in >= _FEW and spread > 0 and parameter.mean().abs() < spread:
            parameter.mul_(fan_in**-0.5 / spread)


def parameters_of(model: nn.Module) -> int:
    """How many numbers the model has learned."""
    return sum(parameter.numel() for parameter in model.parameters())
