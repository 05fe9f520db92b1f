"""A bound follows the dtype that numbers were computed in, not the one that they end in."""

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco.registry import registry

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


class Narrow(nn.Module):
    """Computes in 16 bits what it takes and gives in 32."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.dtype = nn.Linear(8, 8).to(dtype), dtype

    def forward(self, x):
        y = self.linear(x.to(self.dtype)).float()
        return y, y * 2, y.argmax(-1), x + 1


def bounds(model, *args):
    keras_model, report = nobuco.pytorch_to_keras(model, args, return_report=True, verbose=False)
    assert report.ok
    found = nobuco.compare(model, keras_model, args)
    assert found.ok
    return [output.difference.tolerance.source for output in found.outputs]


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_of_what_was_computed_in_16_bits_and_made_wider(name):
    narrow, exact = f"default of {name}", "default of int64"
    assert bounds(Narrow(getattr(torch, name)), X) == [narrow, narrow, exact, "default of float32"]


def test_of_what_was_only_given_in_16_bits():
    assert bounds(lambda x: (x.float(), x.float() * 2), X.half()) == ["default of float32"] * 2


def test_one_rounding_of_float16_is_allowed_in_float32():
    """As on a processor whose kernels add up in another order than PyTorch's."""
    model = Narrow(torch.float16)

    def linear(self, input):
        kernel, bias = self.weight.detach().numpy().T, self.bias.detach().numpy()
        return lambda x: (x @ kernel + bias) * np.float16(1 + 2**-10 * factor)

    with registry.restoring():
        strategy = nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
        nobuco.converter(nn.Linear, channel_ordering_strategy=strategy, override=True)(linear)
        factor = 1
        assert bounds(model, X)[0] == "default of float16"
        factor = 100
        with pytest.raises(AssertionError):
            bounds(model, X)
