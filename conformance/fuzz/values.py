"""Values of inputs: of each kind an example, and others that decide otherwise (other signs, other masks)."""

from __future__ import annotations

from collections.abc import Callable

import torch

_LARGE = 25
_SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, float("inf"), float("-inf"), float("nan"), 1e-30, 1e30, -7.0)


def filled(kind: str, shape: tuple[int, ...], dtype: str, variant: int, seed: int) -> torch.Tensor:
    """A tensor of values of a kind; integers and booleans as the dtype has them.

    Variant 0 is the example, 1 other values, 2 and 3 are all positive and all negative, 4 is zeros, 5 is large.
    """
    generator = torch.Generator().manual_seed(1000 * variant + seed)
    values = _KINDS[kind](shape, generator)
    if dtype == "bool":
        return (torch.ones(shape), values > 0, torch.ones(shape), torch.zeros(shape), values > 3)[
            min(variant, 4)
        ].bool()
    if variant == 2:
        values = values.abs() + (values == 0).float()
    elif variant == 3:
        values = -values.abs() - (values == 0).float()
    elif variant == 4:
        values = torch.zeros(shape)
    elif variant == 5:
        values = values * _LARGE
    if kind == "index":
        return values.abs().long().to(getattr(torch, dtype))
    return values.abs().to(getattr(torch, dtype)) if dtype.startswith("uint") else values.to(getattr(torch, dtype))


def _whole(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Small whole numbers, so that results are equal, not close."""
    return torch.randint(-9, 10, shape, generator=generator).float()


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32)  # the same ones in a run in double precision


def _special(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.tensor(_SPECIAL)[torch.randint(len(_SPECIAL), shape, generator=generator)]


def _index(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 2, shape, generator=generator).float()


_KINDS: dict[str, Callable[[tuple[int, ...], torch.Generator], torch.Tensor]] = {
    "whole": _whole,
    "normal": _normal,
    "special": _special,
    "index": _index,
}
