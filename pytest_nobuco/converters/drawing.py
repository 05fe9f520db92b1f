"""What samples are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nobuco.ops.names import Tensor, torch
from nobuco.registry import Sample

Make = Callable[[], Sequence[Sample]]


def image(*shape: int) -> Tensor:
    """Random numbers of a shape; of an image's if none is given."""
    return torch.randn(shape or (2, 3, 4, 5))
