"""Values that an operation may treat apart: for operations that work element by element all of them, for others a few.

Whether an operation works element by element PyTorch shows: a part of the input gives that part of the output. Of
others a sample gets values that are equal, a row of zeros, some that are no numbers, or places counted from the end.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from nobuco.ir import map_leaves
from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.apart import APART
from pytest_nobuco.converters.calls import tensors_of, with_tensors
from pytest_nobuco.converters.outcomes import (
    is_integer,
    is_real,
    options_given,
    outputs_or_none,
    same_values,
    special_sample,
)

# Zeros of both signs, halves, what activations bend at, values of several magnitudes, and their negatives.
_POSITIVE = (0.0, 1e-3, 0.25, 0.3, 0.5, 0.7, 0.97, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.25, 6.0, 7.25, 20.0, 90.0)
NUMBERS = (*_POSITIVE, *(-number for number in _POSITIVE))
# Where a naive formula loses all its digits, or overflows.
SMALL = tuple(sign * 10.0**-power for power in (4, 5, 6, 7, 8) for sign in (1, -1))
# Where digits are lost, and where a square is infinite or zero though the number is neither.
THOUSANDS, HUGE, TINY = (
    tuple(sign * size * n for n in (1.0, 1.5, 2.375, 7.0) for sign in (1, -1)) for size in (1e3 + 0.25, 1e20, 1e-25)
)
_QUADRANTS = tuple(complex(x, y) for x in (-2.0, -0.5, 0.5, 2.0) for y in (-1.5, -0.25, 0.25, 1.5))
NOT_FINITE = (math.inf, -math.inf, math.nan, 1.0, -1.0, 0.0)
# How many elements a sample has at most, of all combinations of values.
_MOST = 400
_LOOKED_AT = 32
# What is smaller is brought to about one before it is compared: a bound is no finer than a part of this.
_SMALL_PEAK = 1e-2
# What results are small beside others of about one, and how exact they are where they are more than rounding.
_LITTLE, _LEAST, _EXACT = 1e-4, 1e-30, 1e-5
# Where all are rounded, by how large a part at most; what of it no bound sees, and what is large enough for each.
_ROUNDED, _UNSEEN, _SEEN = 0.05, 1e-7, 1e-5


KINDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "numbers": NUMBERS,
        "not finite": NOT_FINITE,
        "small": SMALL,
        "thousands": THOUSANDS,
        "huge": HUGE,
        "tiny": TINY,
    }
)


def special(
    operation: Operation, samples: Sequence[Sample], seed: int = 0, left_out: Collection[str] = ()
) -> list[Sample]:
    """Samples of special values, of all kinds but those left out, made of one that PyTorch takes with them."""
    real = [sample for sample in sorted(samples[:_LOOKED_AT], key=options_given) if _is_of_numbers(sample)]
    # Some kernels read beyond tensors of other sizes than they expect: only what broadcasts may get any.
    for sample in real if all(broadcasts(operation, sample, seed) for sample in real) else ():
        if _is_elementwise(operation, sample, seed):
            rest = {*left_out, *KINDS} - {"numbers", "not finite"}
            beside = [_by_element(operation, one, seed, rest | set(left_out)) for one in _beside_numbers(sample)]
            return [*_by_element(operation, sample, seed, left_out), *itertools.chain(*beside)]
    return [made for kind, make in APART.items() if kind not in left_out for made in make(operation, samples, seed)]


def _beside_numbers(sample: Sample) -> Iterator[Sample]:
    """With numbers in place of all tensors but the first."""
    first, *others = tensors_of((sample.args, sample.kwargs))
    if others:
        numbers = itertools.cycle((0.7, 1.3))
        args, kwargs = map_leaves(
            lambda leaf: next(numbers) if isinstance(leaf, torch.Tensor) and leaf is not first else leaf,
            (tuple(sample.args), dict(sample.kwargs)),
        )
        yield replace(sample, args=args, kwargs=kwargs)


def of_quadrants(operation: Operation, samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """A sample of complex numbers on all sides of zero, where it broadcasts; PyTorch's may lie on one."""
    for sample in samples[:_LOOKED_AT]:
        tensors = tensors_of((sample.args, sample.kwargs))
        is_complex = 0 < len(tensors) <= 2 and all(x.dtype == torch.complex64 for x in tensors)
        if sample.program is None and is_complex and broadcasts(operation, sample, seed):
            made = _filled(sample, _QUADRANTS)
            if outputs_or_none(operation, made, seed):
                return [made]
    return []


def _is_of_numbers(sample: Sample) -> bool:
    tensors = tensors_of((sample.args, sample.kwargs))
    return sample.program is None and 0 < len(tensors) <= 3 and all(map(is_real, tensors))


def broadcasts(operation: Operation, sample: Sample, seed: int) -> bool:
    """Whether results are as large as the tensors broadcast to; True for what PyTorch refuses."""
    try:
        shape = torch.broadcast_shapes(*(x.shape for x in tensors_of((sample.args, sample.kwargs))))
    except RuntimeError:
        return False
    return all(x.shape == shape for x in outputs_or_none(operation, sample, seed) or ())


def _by_element(operation: Operation, sample: Sample, seed: int, left_out: Collection[str]) -> Iterator[Sample]:
    count = len(tensors_of((sample.args, sample.kwargs)))
    left_out = {*left_out, "not finite"} if count > 2 else left_out  # what comes of three follows no rule
    for kind in (kind for kind in KINDS if kind not in left_out):
        made = special_sample(_filled(sample, KINDS[kind]), kind)
        outputs = outputs_or_none(operation, made, seed)
        if outputs and any(is_integer(x) for x in outputs):
            yield from _by_whole_numbers(operation, sample, seed)
            return
        if outputs and all(x.is_floating_point() for x in outputs):
            peak = max(float(x[torch.isfinite(x)].abs().max()) if torch.isfinite(x).any() else 1.0 for x in outputs)
            if 0 < peak < _SMALL_PEAK:
                made = replace(made, program=_scaled(1 / peak))
        if outputs:
            yield made
        if kind == "numbers" and outputs and "small results" not in left_out:
            yield from _with_small_results(operation, made, outputs, seed)


def _with_small_results(
    operation: Operation, sample: Sample, outputs: Sequence[torch.Tensor], seed: int
) -> Iterator[Sample]:
    """Those of its elements that give little beside the others, by themselves, so that a bound judges them.

    Not where little is what rounding has left: with twice the digits PyTorch gives something else there. Where all are
    rounded in part, they are enlarged only as far as that does not show.
    """
    tensors = tensors_of((sample.args, sample.kwargs))
    exact = outputs_or_none(operation, with_tensors(sample, [x.double() for x in tensors]), seed)
    if not exact or len(outputs) != 1 or not outputs[0].is_floating_point():
        return
    (small,), (right,) = outputs, exact
    noise, little = (small - right).abs(), (small.abs() < _LITTLE) & (small.abs() > _LEAST)
    exact_places = little & (noise <= _EXACT * right.abs())
    places = exact_places if exact_places.any() else little & (noise <= _ROUNDED * right.abs())
    if not places.any():
        return
    peak = float(small[places].abs().max())
    factor = 1 / peak if exact_places.any() else min(1 / peak, _UNSEEN / float(noise[places].max()))
    if factor * peak > _SEEN:
        chosen = with_tensors(sample, [x[places].reshape(1, 1, -1) for x in tensors])
        yield replace(special_sample(chosen, "small results"), program=_scaled(factor))


def _by_whole_numbers(operation: Operation, sample: Sample, seed: int) -> Iterator[Sample]:
    """What is no number, or below zero, C leaves open what integer it becomes."""
    made = _filled(sample, _POSITIVE)
    if outputs_or_none(operation, made, seed):
        yield made


def _scaled(factor: float) -> Any:
    """The call, and its small results made large enough for a difference to show."""

    def program(operation: Operation, *args: Any, **kwargs: Any) -> Any:
        result = operation(*args, **kwargs)
        return result * factor

    return program


def _filled(sample: Sample, values: Sequence[complex]) -> Sample:
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
    results = [outputs_or_none(operation, one, seed) for one in (whole, part)]
    again = outputs_or_none(operation, whole, seed + 1)
    if not all(results) or not again or not all(map(same_values, results[0] or (), again)):
        return False  # or it is random
    if any(x.shape != shape for x in results[0] or ()):
        return False
    return all(torch.allclose(x[1:, 1:, :-1], y, equal_nan=True) for x, y in zip(results[0] or (), results[1] or ()))
