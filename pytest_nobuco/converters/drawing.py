"""Tensors that samples are made of."""

from __future__ import annotations

from nobuco.ops.names import Tensor, torch


def image(*shape: int) -> Tensor:
    """Random numbers of a shape; of an image's if none is given."""
    return torch.randn(shape or (2, 3, 4, 5))
