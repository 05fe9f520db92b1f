"""A network's inputs at other sizes: which of their axes PyTorch takes at other lengths, and inputs of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from conformance.zoo.network import Inputs, Network
from conformance.zoo.tiny_configs import SPECIAL
from nobuco import ChannelOrder

# Each axis by what it means: axes of one name have one length in all inputs.
BATCH, LENGTH, TARGET, HEIGHT, WIDTH = "batch", "length", "target", "height", "width"
Lengths = Mapping[str, int]
Axes = Mapping[str, tuple[str, ...]]

_NOT_PADDED = ("pixel", "grid", "special")


@dataclass(frozen=True)
class Resizable:
    """A network with the names of its inputs' axes, "" for a fixed one, and lengths that PyTorch runs it at."""

    network: Network
    example: Inputs
    axes: Axes
    tried: Mapping[str, Inputs]

    @property
    def dynamic(self) -> tuple[str, ...]:
        """What is dynamic, in words."""
        return tuple(dict.fromkeys(name for names in self.axes.values() for name in names if name))

    def shapes(self) -> dict[torch.Tensor, tuple[int | None, ...]]:
        """What `input_shapes` is told."""
        return {
            tensor: tuple(None if axis else n for axis, n in zip(self.axes[name], tensor.shape))
            for name, tensor in self.example.items()
        }


def resizable(network: Network) -> Resizable | None:
    """The network with what PyTorch runs it at, smaller, larger and odd; None where it takes its example's sizes only.

    Masks of the example have no padding; elsewhere they have some on both sides.
    """
    example = {name: torch.ones_like(t) if is_mask(name, t) else t for name, t in network.inputs.items()}
    if not _runs(network, example):
        return None
    axes = {name: _meanings(name, tensor, network.order) for name, tensor in example.items()}
    here = {axis: n for name, t in example.items() for axis, n in zip(axes[name], t.shape) if axis}
    free = [group for group in _groups(here) if _first_that_runs(network, example, axes, here, group, _GREATER)]
    kept = {name: tuple(axis if any(axis in g for g in free) else "" for axis in own) for name, own in axes.items()}
    names = [axis for group in free for axis in group]
    ways = {"smaller": _SMALLER, "larger": _LARGER, "odd": _ODD}
    found = {way: _first_that_runs(network, example, kept, here, names, changes) for way, changes in ways.items()}
    tried = {way: inputs for way, inputs in found.items() if inputs}
    return Resizable(network, example, kept, tried) if tried else None


def _groups(here: Lengths) -> list[list[str]]:
    """Axes that are tried together, since a network takes other heights where it takes other widths."""
    image = [axis for axis in (HEIGHT, WIDTH) if axis in here]
    return [[axis] for axis in here if axis not in image] + ([image] if image else [])


def is_mask(name: str, tensor: torch.Tensor) -> bool:
    """Whether an input tells of each token whether it is one."""
    return name.endswith("mask") and tensor.ndim == 2 and not any(word in name for word in _NOT_PADDED)


def _meanings(name: str, tensor: torch.Tensor, order: ChannelOrder) -> tuple[str, ...]:
    """What the axes of an input are, by its name, its rank and its dtype."""
    length = TARGET if name.startswith("decoder") else LENGTH
    is_image = name in {"pixel_values", "images"} or order is ChannelOrder.TENSORFLOW
    if "grid" in name or tensor.ndim < 2:
        return ("",) * tensor.ndim
    if is_image and tensor.ndim >= 4:
        return (BATCH, *[""] * (tensor.ndim - 3), HEIGHT, WIDTH)
    if name == "pixel_mask":
        return (BATCH, HEIGHT, WIDTH)
    if tensor.ndim == 2:
        return (BATCH, length)
    if name in {"input_features", "input_values", "past_values"} and tensor.ndim == 3:
        return (BATCH, "", length) if tensor.shape[1] < tensor.shape[2] else (BATCH, length, "")
    return (BATCH, length, *[""] * (tensor.ndim - 2))


# How the lengths of an example become others, by axis, the best first: what PyTorch runs is taken.
def _changes(batch: Sequence[int], image: Sequence[tuple[float, float]], length: Sequence[float]) -> list[tuple]:
    return [(b, i, n) for n, i, b in product(length, image, batch)]


_SMALLER = _changes((-1,), ((0.5, 0.75), (0.75, 0.5), (0.5, 0.5), (0.75, 0.75), (1, 1)), (0.625, 0.75, 0.9, 1))
_LARGER = _changes((2,), ((1.5, 2), (2, 1.5), (1.25, 1.5), (2, 3), (2, 2), (1, 1)), (2.5, 2, 1.5, 1))
_ODD = _changes((1,), ((1.17, 1.42), (1.2, 1.36), (1.25, 1.5), (1.5, 1.25), (2, 1), (1, 1)), (1.625, 1.3, 1.1, 1))
_GREATER = _changes((1,), ((1.5, 2), (2, 3), (1.5, 1.5), (2, 2), (1.17, 1.42)), (2.5, 2, 1.625))


def _first_that_runs(
    network: Network, example: Inputs, axes: Axes, here: Lengths, names: Sequence[str], changes: Sequence[tuple]
) -> Inputs | None:
    """Inputs at the first of these sizes that are others and that PyTorch runs."""
    for lengths in dict.fromkeys(_lengths(here, names, changes)):
        if lengths != tuple(here.values()):
            inputs = at(example, axes, dict(zip(here, lengths)))
            if _runs(network, inputs):
                return inputs
    return None


def _lengths(here: Lengths, names: Sequence[str], changes: Sequence[tuple]) -> Iterator[tuple[int, ...]]:
    for batch, (height, width), length in changes:
        factors = {HEIGHT: height, WIDTH: width, LENGTH: length, TARGET: length}
        others = {axis: round(n * factors.get(axis, 1)) + (axis == TARGET) for axis, n in here.items()}
        others[BATCH] = here.get(BATCH, 1) + batch
        yield tuple(max(1, others[axis]) if axis in names else n for axis, n in here.items())


def at(example: Inputs, axes: Axes, lengths: Lengths) -> dict[str, torch.Tensor]:
    """Inputs of these lengths: the example's, longer or shorter, with other values and padding on both sides."""
    generator = torch.Generator().manual_seed(sum(lengths.values()))
    found = {}
    for name, tensor in example.items():
        shape = [lengths[axis] if axis else n for axis, n in zip(axes[name], tensor.shape)]
        found[name] = _filled(name, tensor, shape, generator)
    return found


def _filled(name: str, tensor: torch.Tensor, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    if tensor.is_floating_point():
        return torch.randn(shape, generator=generator).to(tensor.dtype)
    if is_mask(name, tensor):
        return _padded(torch.ones(shape, dtype=tensor.dtype))
    longer = tensor
    for axis, n in enumerate(shape):
        longer = longer.index_select(axis, torch.arange(n).clamp(max=longer.shape[axis] - 1))
    drawn = torch.randint(5, SPECIAL, shape, generator=generator).to(tensor.dtype)
    ordinary = (longer >= 5) & (longer < SPECIAL) & (drawn <= tensor.max())
    return torch.where(ordinary, drawn, longer)


def _padded(mask: torch.Tensor) -> torch.Tensor:
    """The mask with padding in front of one row and behind another, whichever there are."""
    if mask.shape[1] > 3:
        mask[-1, -2:] = 0
        if mask.shape[0] > 1:
            mask[0, :1] = 0
    return mask


def _runs(network: Network, inputs: Inputs) -> bool:
    try:
        with torch.no_grad():
            network.model(**{name: tensor.clone() for name, tensor in inputs.items()})
    except Exception:  # of whatever kind a size that does not suit a network raises
        return False
    return True
