"""The smallest network of each of timm's families, on the smallest image that it takes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from conformance.torchvision_models import torchvision
from conformance.zoo.network import Network, NoNetworkError, lively
from conformance.zoo.timm_smallest import SMALLEST
from nobuco import ChannelOrder

_SIDES = (64, 96, 128, 160, 192, 224)
# How constructors are told to make few blocks; whichever they take.
_SHALLOW: tuple[dict[str, Any], ...] = (
    {"depth": 2},
    {"depths": (1, 1, 1, 1)},
    {"layers": (1, 1, 1, 1)},
    {"depths": (1, 1, 1)},
    {},
)


def timm() -> Any:
    """The package, which imports torchvision."""
    torchvision()
    import timm

    return timm


def import_beforehand() -> None:
    """Import the package."""
    timm()


def names() -> list[str]:
    """One of each family."""
    return [SMALLEST.get(family) or timm().list_models(module=family)[0] for family in timm().list_modules()]


def network(name: str) -> Network:
    """The network of this name with random weights, and two images.

    Raises:
        NoNetworkError: it runs on no size that was tried.
    """
    config = timm().get_pretrained_cfg(name)
    channels, *own = config.input_size if config else (3, 224, 224)
    refused: set[str] = set()
    problem = ""
    for side, kwargs in _ways(own[0]):
        if refused.isdisjoint(kwargs):
            try:
                return _network(name, channels, side, kwargs)
            except Exception as error:  # of whatever kind a size that does not suit a network raises
                problem = f"{type(error).__name__}: {error}"
                refused.update(re.findall(r"unexpected keyword argument '(\w+)'", str(error)))
                refused.update(re.findall(r"multiple values for keyword argument '(\w+)'", str(error)))
    raise NoNetworkError(f"it runs on no image of {', '.join(map(str, (*_SIDES, own[0])))}: {problem}")


def _ways(own: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """A side and what the constructor is told, the cheapest first."""
    for shallow in _SHALLOW:
        for side in (side for side in _SIDES if side < own):
            yield side, {"img_size": side, **shallow}
            yield side, shallow
        yield own, shallow


def _network(name: str, channels: int, side: int, kwargs: dict[str, Any]) -> Network:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: nn.Module = timm().create_model(name, pretrained=False, **kwargs)
    generator = torch.Generator().manual_seed(1)
    here, there = (torch.randn(1, channels, side, side, generator=generator) for _ in range(2))
    with torch.no_grad():
        lively(model)(here)
    return Network(
        model,
        {"x": here},
        {"x": there},
        ChannelOrder.TENSORFLOW,
        ", ".join([f"{side} pixels", *(f"{k} {v}" for k, v in kwargs.items() if k != "img_size")]),
    )
