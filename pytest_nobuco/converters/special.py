"""Values that an operation may treat apart, for operations that work element by element and for those that choose.

Whether an operation works element by element PyTorch shows: a part of the input gives that part of the output.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import RefusedError, outputs_of, tensors_of, with_tensors

# Zeros of both signs, halves, what activations bend at, values of several magnitudes, and their negatives.
_POSITIVE = (0.0, 1e-3, 0.25, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 6.0, 7.25, 20.0, 90.0)
NUMBERS = (*_POSITIVE, *(-number for number in _POSITIVE))
# Where a naive formula loses all its digits, or overflows.
SMALL = tuple(sign * 10.0**-power for power in (4, 5, 6, 7, 8) for sign in (1, -1))
NOT_FINITE = (math.inf, -math.inf, math.nan, 1.0, -1.0, 0.0)
# How many elements a sample has at most, of all combinations of values.
_MOST = 400
# What is smaller is brought to about one before it is compared: a bound is no finer than a part of this.
_SMALL_PEAK = 1e-2


KINDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"numbers": NUMBERS, "not finite": NOT_FINITE, "small": SMALL}
)


@dataclass(frozen=True)
class SpecialSample(Sample):
    """A sample of special values; `kind` is one of `KINDS`."""

    kind: str = ""

    @property
    def is_of_kernels(self) -> bool:
        """Whether a runtime's own kernels decide on it, and TFLite's in another way than TensorFlow's."""
        return self.kind in ("not finite", "small")


def special(
    operation: Operation, samples: Sequence[Sample], seed: int = 0, left_out: Collection[str] = ()
) -> list[Sample]:
    """Samples of special values, of all kinds but those left out, made of one that PyTorch takes with them."""
    real = [sample for sample in sorted(samples[:32], key=_options) if _is_of_numbers(sample)]
    # Some kernels read beyond tensors of other sizes than they expect: only what broadcasts may get any.
    for sample in real if all(_broadcasts(operation, sample, seed) for sample in real) else ():
        if _is_elementwise(operation, sample, seed):
            return list(_by_element(operation, sample, seed, left_out))
    return [] if "tied" in left_out else list(_tied(operation, samples, seed))


def _is_of_numbers(sample: Sample) -> bool:
    tensors = tensors_of((sample.args, sample.kwargs))
    return sample.program is None and 0 < len(tensors) <= 3 and all(map(_is_real, tensors))


def _broadcasts(operation: Operation, sample: Sample, seed: int) -> bool:
    """Whether results are as large as the tensors broadcast to; True for what PyTorch refuses."""
    try:
        shape = torch.broadcast_shapes(*(x.shape for x in tensors_of((sample.args, sample.kwargs))))
    except RuntimeError:
        return False
    return all(x.shape == shape for x in _outputs(operation, sample, seed) or ())


def _options(sample: Sample) -> int:
    """How many arguments are given that are no tensors: the fewer, the more ordinary."""
    return len(sample.args) + len(sample.kwargs) - len(tensors_of((sample.args, sample.kwargs)))


def _by_element(operation: Operation, sample: Sample, seed: int, left_out: Collection[str]) -> Iterator[Sample]:
    count = len(tensors_of((sample.args, sample.kwargs)))
    left_out = {*left_out, "not finite"} if count > 2 else left_out  # what comes of three follows no rule
    for kind in (kind for kind in KINDS if kind not in left_out):
        made = _special(_filled(sample, KINDS[kind]), kind)
        outputs = _outputs(operation, made, seed)
        if outputs and any(_is_integer(x) for x in outputs):
            yield from _by_whole_numbers(operation, sample, seed)
            return
        if outputs and all(x.is_floating_point() for x in outputs):
            peak = max(float(x[torch.isfinite(x)].abs().max()) if torch.isfinite(x).any() else 1.0 for x in outputs)
            if 0 < peak < _SMALL_PEAK:
                made = replace(made, program=_scaled(1 / peak))
        if outputs:
            yield made


def _special(sample: Sample, kind: str) -> SpecialSample:
    return SpecialSample(sample.args, sample.kwargs, sample.program, kind)


def _by_whole_numbers(operation: Operation, sample: Sample, seed: int) -> Iterator[Sample]:
    """What is no number, or below zero, C leaves open what integer it becomes."""
    made = _filled(sample, _POSITIVE)
    if _outputs(operation, made, seed):
        yield made


def _is_integer(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def _scaled(factor: float) -> Any:
    """The call, and its small results made large enough for a difference to show."""

    def program(operation: Operation, *args: Any, **kwargs: Any) -> Any:
        result = operation(*args, **kwargs)
        return result * factor

    return program


def _filled(sample: Sample, values: Sequence[float]) -> Sample:
    """All combinations of values in the sample's tensors, in three dimensions."""
    tensors = tensors_of((sample.args, sample.kwargs))
    combined = list(itertools.product(values, repeat=len(tensors)))
    step = max(1, len(combined) // _MOST)
    chosen = combined[:: step + (step > 1 and step % 2 == 0)]
    chosen += chosen[: -len(chosen) % 6]
    columns = [torch.tensor(column).reshape(2, 3, -1) for column in zip(*chosen)]
    return with_tensors(sample, columns)


def _is_elementwise(operation: Operation, sample: Sample, seed: int) -> bool:
    whole = _filled(sample, [0.1 * number for number in range(1, 13)])
    part = with_tensors(whole, [x[1:, 1:, :-1] for x in tensors_of((whole.args, whole.kwargs))])
    shape = tensors_of((whole.args, whole.kwargs))[0].shape
    results = [_outputs(operation, one, seed) for one in (whole, part)]
    again = _outputs(operation, whole, seed + 1)
    if not all(results) or not again or not all(map(torch.equal, results[0] or (), again)):
        return False  # or it is random
    if any(x.shape != shape for x in results[0] or ()):
        return False
    return all(torch.allclose(x[1:, 1:, :-1], y, equal_nan=True) for x, y in zip(results[0] or (), results[1] or ()))


def _tied(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """One sample of a few integers, so that there are ties, zeros and negatives, for what has one tensor."""
    for sample in samples[:16]:
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is not None or not tensors or not _is_real(tensors[0]) or tensors[0].numel() < 6:
            continue
        generator = torch.Generator().manual_seed(seed)
        few = torch.randint(-2, 3, tensors[0].shape, generator=generator).to(tensors[0].dtype)
        made = with_tensors(sample, [few, *tensors[1:]])
        outputs, again = (_outputs(operation, made, seed + more) for more in (0, 1))
        if len(tensors) == 1 and outputs and again and all(map(torch.equal, outputs, again)):
            yield made
            return


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32


def _outputs(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor] | None:
    try:
        return outputs_of(operation, sample, seed)
    except RefusedError:
        return None
