"""Samples with other tensors, and what PyTorch makes of them.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import RefusedError, outputs_of, tensors_of


@dataclass(frozen=True)
class SpecialSample(Sample):
    """A sample of special values; `kind` is one of `KINDS`, or of those for what does not work element by element."""

    kind: str = ""

    @property
    def is_of_kernels(self) -> bool:
        """Whether a runtime's own kernels decide on it, and TFLite's in another way than TensorFlow's."""
        return self.kind in ("not finite", "infinite", "masked", "NaN", "small", "small results", "huge", "tiny")


def special_sample(sample: Sample, kind: str) -> SpecialSample:
    """The sample as one of a kind of special values."""
    return SpecialSample(sample.args, sample.kwargs, sample.program, kind)


def outputs_or_none(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor] | None:
    """What PyTorch gives; None where it refuses."""
    try:
        return outputs_of(operation, sample, seed)
    except RefusedError:
        return None


def same_values(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same but for rounding."""
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    return a.shape == b.shape and torch.allclose(a.to(wide), b.to(wide), equal_nan=True)


def is_real(tensor: torch.Tensor) -> bool:
    """Numbers as models have them."""
    return tensor.dtype == torch.float32


def is_integer(tensor: torch.Tensor) -> bool:
    """Whole numbers, not truth."""
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def options_given(sample: Sample) -> int:
    """How many arguments are given that are no tensors: the fewer, the more ordinary."""
    return len(sample.args) + len(sample.kwargs) - len(tensors_of((sample.args, sample.kwargs)))
