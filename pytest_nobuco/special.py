"""Values that an operation may treat apart, for operations that work element by element and for those that choose.

Whether an operation works element by element PyTorch shows: a part of the input gives that part of the output.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.calls import RefusedError, outputs_of, tensors_of, with_tensors

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


def special(operation: Operation, samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """Samples of special values, made of one that PyTorch takes with them; none for operations of other kinds."""
    for sample in sorted(samples[:32], key=_options):
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is not None or not tensors or not all(map(_is_real, tensors)) or len(tensors) > 3:
            continue
        if _is_elementwise(operation, sample, seed):
            return list(_by_element(operation, sample, seed))
    return list(_tied(operation, samples, seed))


def _options(sample: Sample) -> int:
    """How many arguments are given that are no tensors: the fewer, the more ordinary."""
    return len(sample.args) + len(sample.kwargs) - len(tensors_of((sample.args, sample.kwargs)))


def _by_element(operation: Operation, sample: Sample, seed: int) -> Iterator[Sample]:
    for values in (NUMBERS, NOT_FINITE, SMALL):
        made = _filled(sample, values)
        outputs = _outputs(operation, made, seed)
        if outputs and all(x.is_floating_point() for x in outputs):
            peak = max(float(x[torch.isfinite(x)].abs().max()) if torch.isfinite(x).any() else 1.0 for x in outputs)
            if 0 < peak < _SMALL_PEAK:
                made = Sample(made.args, made.kwargs, _scaled(1 / peak))
        if outputs:
            yield made


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
    whole = _filled(sample, (0.25, 0.5, 0.75, 1.5, 0.3, 0.9))
    part = with_tensors(whole, [x[:, 1:, :-1] for x in tensors_of((whole.args, whole.kwargs))])
    shape = tensors_of((whole.args, whole.kwargs))[0].shape
    results = [_outputs(operation, one, seed) for one in (whole, part)]
    if not all(results) or any(x.shape != shape for x in results[0] or ()):
        return False
    return all(torch.allclose(x[:, 1:, :-1], y, equal_nan=True) for x, y in zip(results[0] or (), results[1] or ()))


def _tied(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """One sample of a few integers, so that there are ties, zeros and negatives, for what has one tensor."""
    for sample in samples[:16]:
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is not None or not tensors or not _is_real(tensors[0]) or tensors[0].numel() < 6:
            continue
        generator = torch.Generator().manual_seed(seed)
        few = torch.randint(-2, 3, tensors[0].shape, generator=generator).to(tensors[0].dtype)
        made = with_tensors(sample, [few, *tensors[1:]])
        if len(tensors) == 1 and _outputs(operation, made, seed):
            yield made
            return


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32


def _outputs(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor] | None:
    try:
        return outputs_of(operation, sample, seed)
    except RefusedError:
        return None
