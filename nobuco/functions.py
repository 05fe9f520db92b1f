"""Functions that a user calls inside a model to steer its conversion; in PyTorch they change nothing."""

from __future__ import annotations

import torch

from nobuco.kinds import Kind, instance, takes
from nobuco.trace.traceable import sizes_of, traceable

TENSOR = instance("a torch.Tensor", torch.Tensor)
AXES = Kind("a torch.Tensor of one dimension at least", lambda x: isinstance(x, torch.Tensor) and x.dim() > 0)


@traceable
@takes(inputs=TENSOR)
def force_tensorflow_order(inputs: torch.Tensor) -> torch.Tensor:
    """Have this tensor laid out channels-last in the converted model from here on."""
    return inputs


@traceable
@takes(inputs=TENSOR)
def force_pytorch_order(inputs: torch.Tensor) -> torch.Tensor:
    """Have this tensor laid out channels-first in the converted model from here on."""
    return inputs


@sizes_of
@takes(x=TENSOR)
def shape(x: torch.Tensor) -> tuple[int, ...]:
    """The sizes of a tensor, which stay symbolic in the converted model where they are dynamic.

    So do those of `x.shape`, unless `trace_shape=False`.
    """
    return tuple(x.shape)


@sizes_of
@takes(x=AXES)
def length(x: torch.Tensor) -> int:
    """The size of a tensor's first dimension, likewise; what `len` returns is a plain int, whatever it is given."""
    return x.shape[0]
