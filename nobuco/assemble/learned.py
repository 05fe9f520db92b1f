"""Arrays that remember the PyTorch tensors that they are made of, so that the weights they fill can be filled again."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch

from nobuco.bridge import to_numpy
from nobuco.layers.checkpoint import Step, moved
from nobuco.layout.channels import Order

Source = tuple["weakref.ref[torch.Tensor]", tuple[Step, ...]]


@dataclass(frozen=True)
class Learned:
    """A value, and the tensors that add up to it, each with the steps that lead from it."""

    value: np.ndarray
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Learned:
        """A parameter or a buffer as it is."""
        return cls(to_numpy(tensor), ((weakref.ref(tensor), ()),))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self.value.shape

    @property
    def dtype(self) -> str:
        """The name of its dtype."""
        return self.value.dtype.name

    @property
    def T(self) -> Learned:
        """Its axes in reverse."""
        return self.transpose(*reversed(range(self.value.ndim)))

    def transpose(self, *axes: int) -> Learned:
        """Its axes in this order."""
        return self.after([("transpose", axes)])

    def reshape(self, *shape: int) -> Learned:
        """The same elements in another shape."""
        return self.after([("reshape", shape)])

    def ordered(self, axis: int, order: Order | None) -> Learned:
        """The same with the elements along an axis in another order, if there is one."""
        return self if order is None else self.after([("take", (axis, *order))])

    def chunk(self, count: int) -> list[Learned]:
        """Equal parts along the first axis."""
        size = len(self.value) // count
        return [self.after([("rows", (i * size, (i + 1) * size))]) for i in range(count)]

    def after(self, steps: Sequence[Step]) -> Learned:
        """What these steps make of it."""
        return Learned(moved(self.value, steps), tuple((ref, (*before, *steps)) for ref, before in self.sources))

    def __add__(self, other: Learned) -> Learned:
        return Learned(self.value + other.value, (*self.sources, *other.sources))


def learned(tensor: torch.Tensor | None) -> Learned | None:
    """A parameter that may not be there."""
    return None if tensor is None else Learned.of(tensor)


def filled(layer: Any, *values: Learned | None) -> Any:
    """A built Keras layer with these as its weights, in their order, but for those that are not there."""
    present = [value for value in values if value is not None]
    layer.set_weights([value.value for value in present])
    for variable, value in zip(layer.weights, present, strict=True):
        remember(variable, value.sources)
    return layer


def variable(value: Learned | None, name: str) -> keras.Variable | None:
    """A Keras variable that holds it."""
    if value is None:
        return None
    made = keras.Variable(value.value, dtype=value.dtype, name=name)
    remember(made, value.sources)
    return made


def remember(variable: keras.Variable, sources: Iterable[Source]) -> None:
    """Note of what a variable is made. It is read when the whole model stands, and all keys are known."""
    variable._nobuco_sources = tuple(sources)


def sources_of(variable: keras.Variable) -> tuple[Source, ...]:
    """What a variable is made of; nothing where it is not known."""
    return getattr(variable, "_nobuco_sources", ())
