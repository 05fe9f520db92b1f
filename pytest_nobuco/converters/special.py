"""Values that an operation may treat apart: for operations that work element by element all of them, for others a few.

Whether an operation works element by element PyTorch shows: a part of the input gives that part of the output. Of
others a sample gets values that are equal, a row of zeros, some that are no numbers, or places counted from the end.

Imports PyTorch, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from nobuco.registry import Operation, Sample
from pytest_nobuco.converters.calls import RefusedError, outputs_of, tensors_of, with_tensors

# Zeros of both signs, halves, what activations bend at, values of several magnitudes, and their negatives.
_POSITIVE = (0.0, 1e-3, 0.25, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.25, 6.0, 7.25, 20.0, 90.0)
NUMBERS = (*_POSITIVE, *(-number for number in _POSITIVE))
# Where a naive formula loses all its digits, or overflows.
SMALL = tuple(sign * 10.0**-power for power in (4, 5, 6, 7, 8) for sign in (1, -1))
NOT_FINITE = (math.inf, -math.inf, math.nan, 1.0, -1.0, 0.0)
# How many elements a sample has at most, of all combinations of values.
_MOST = 400
# What is smaller is brought to about one before it is compared: a bound is no finer than a part of this.
_SMALL_PEAK = 1e-2
# What results are small beside others of about one, and how exact they are where they are more than rounding.
_LITTLE, _LEAST, _EXACT = 1e-4, 1e-30, 1e-5
# Where all are rounded, by how large a part at most; what of it no bound sees, and what is large enough for each.
_ROUNDED, _UNSEEN, _SEEN = 0.05, 1e-7, 1e-5
# How many samples are looked at, of how many elements at least.
_LOOKED_AT, _FEW = 16, 6
# What the other samples have about one, in some it is larger by this, or so many deviations away from zero.
_FAR = 100

Change = Callable[..., Sequence[torch.Tensor] | None]
Apart = Callable[[Operation, Sequence[Sample], int], Iterator[Sample]]

KINDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"numbers": NUMBERS, "not finite": NOT_FINITE, "small": SMALL}
)


@dataclass(frozen=True)
class SpecialSample(Sample):
    """A sample of special values; `kind` is one of `KINDS`, or of those for what does not work element by element."""

    kind: str = ""

    @property
    def is_of_kernels(self) -> bool:
        """Whether a runtime's own kernels decide on it, and TFLite's in another way than TensorFlow's."""
        return self.kind in ("not finite", "infinite", "NaN", "small", "small results")


def special(
    operation: Operation, samples: Sequence[Sample], seed: int = 0, left_out: Collection[str] = ()
) -> list[Sample]:
    """Samples of special values, of all kinds but those left out, made of one that PyTorch takes with them."""
    real = [sample for sample in sorted(samples[:32], key=_options) if _is_of_numbers(sample)]
    # Some kernels read beyond tensors of other sizes than they expect: only what broadcasts may get any.
    for sample in real if all(broadcasts(operation, sample, seed) for sample in real) else ():
        if _is_elementwise(operation, sample, seed):
            return list(_by_element(operation, sample, seed, left_out))
    return [made for kind, make in _APART.items() if kind not in left_out for made in make(operation, samples, seed)]


def _is_of_numbers(sample: Sample) -> bool:
    tensors = tensors_of((sample.args, sample.kwargs))
    return sample.program is None and 0 < len(tensors) <= 3 and all(map(_is_real, tensors))


def broadcasts(operation: Operation, sample: Sample, seed: int) -> bool:
    """Whether results are as large as the tensors broadcast to; True for what PyTorch refuses."""
    try:
        shape = torch.broadcast_shapes(*(x.shape for x in tensors_of((sample.args, sample.kwargs))))
    except RuntimeError:
        return False
    return all(x.shape == shape for x in outputs_or_none(operation, sample, seed) or ())


def _options(sample: Sample) -> int:
    """How many arguments are given that are no tensors: the fewer, the more ordinary."""
    return len(sample.args) + len(sample.kwargs) - len(tensors_of((sample.args, sample.kwargs)))


def _by_element(operation: Operation, sample: Sample, seed: int, left_out: Collection[str]) -> Iterator[Sample]:
    count = len(tensors_of((sample.args, sample.kwargs)))
    left_out = {*left_out, "not finite"} if count > 2 else left_out  # what comes of three follows no rule
    for kind in (kind for kind in KINDS if kind not in left_out):
        made = _special(_filled(sample, KINDS[kind]), kind)
        outputs = outputs_or_none(operation, made, seed)
        if outputs and any(_is_integer(x) for x in outputs):
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
        yield replace(_special(chosen, "small results"), program=_scaled(factor))


def _special(sample: Sample, kind: str) -> SpecialSample:
    return SpecialSample(sample.args, sample.kwargs, sample.program, kind)


def _by_whole_numbers(operation: Operation, sample: Sample, seed: int) -> Iterator[Sample]:
    """What is no number, or below zero, C leaves open what integer it becomes."""
    made = _filled(sample, _POSITIVE)
    if outputs_or_none(operation, made, seed):
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
    results = [outputs_or_none(operation, one, seed) for one in (whole, part)]
    again = outputs_or_none(operation, whole, seed + 1)
    if not all(results) or not again or not all(map(torch.equal, results[0] or (), again)):
        return False  # or it is random
    if any(x.shape != shape for x in results[0] or ()):
        return False
    return all(torch.allclose(x[1:, 1:, :-1], y, equal_nan=True) for x, y in zip(results[0] or (), results[1] or ()))


def _tied(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """A few integers, so that there are ties, zeros and negatives, for what has one tensor."""

    def few(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        generator = torch.Generator().manual_seed(seed)
        return None if others else [torch.randint(-2, 3, first.shape, generator=generator).to(first.dtype)]

    yield from _first_made(operation, samples, seed, few, "tied")


def _with_zeros(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """The first row of each of two dimensions is zero; and, of another tensor of its size, equal."""

    def zeros(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        if first.dim() < 2 or min(first.shape) < 2:
            return None
        changed = first.clone()
        changed[0], changed[..., 0] = 0, 0
        return [changed, *(_rows_of(changed, other) for other in others)]

    yield from _first_made(operation, samples, seed, zeros, "zeros")


def _rows_of(first: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Another tensor of numbers, whose last row is that of the first where they go together."""
    if not _is_real(other) or other.dim() < 2 or other.shape[-1] != first.shape[-1] or other.dim() != first.dim():
        return other
    changed = other.clone()
    changed[..., -1, :] = first[(0,) * (first.dim() - 2)][-1]
    return changed


def _infinite(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Infinity of both signs, where not all that comes out is NaN."""
    yield from _first_made(operation, samples, seed, _placing(math.inf, -math.inf), "infinite")


def _nan(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """One NaN."""
    yield from _first_made(operation, samples, seed, _placing(math.nan), "NaN")


def _placing(*values: float) -> Change:
    def placed(first: torch.Tensor, *others: torch.Tensor) -> Sequence[torch.Tensor] | None:
        if others or first.dim() < 2 or min(first.shape[0], first.shape[-1]) < 2:
            return None  # of several tensors' products it depends on the order of summation what becomes of it
        changed = first.clone()
        for i, value in enumerate(values):
            changed[(0,) * (first.dim() - 1) + (i,)] = value
        return [changed]

    return placed


def _from_the_end(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Indices below zero, where PyTorch takes them for the same places."""
    with_places = [s for s in samples if s.program is None and any(map(_is_integer, tensors_of((s.args, s.kwargs))))]
    for sample in with_places[:4]:
        tensors = tensors_of((sample.args, sample.kwargs))
        most = max((int(x.max()) for x in tensors if _is_integer(x) and x.numel()), default=0)
        sizes = sorted({size for x in tensors for size in (*x.shape, x.numel()) if size > most})
        expected = outputs_or_none(operation, sample, seed) if most else None
        for size in sizes[:4] if expected else ():
            turned = [torch.where(x * 2 > most, x - size, x) if _is_integer(x) else x for x in tensors]
            made = with_tensors(sample, turned)
            found = [outputs_or_none(operation, made, seed) for _ in range(2)]  # it may be chance that lies there
            if expected and all(
                got and len(got) == len(expected) and all(map(same_values, got, expected)) for got in found
            ):
                yield _special(made, "from the end")
                return


def _elsewhere(factor: float, deviations: float) -> Apart:
    """Numbers of another size, or far from zero; not where the results are simply of that size, or as far away."""

    def make(operation: Operation, samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
        for sample in sorted(samples[: 2 * _LOOKED_AT], key=_options):  # as it is called most often
            first, *others = tensors_of((sample.args, sample.kwargs)) or (torch.empty(0),)
            if sample.program is not None or not _is_real(first) or first.numel() < _FEW:
                continue
            offset = deviations * max(1.0, float(first.std()))
            made = _special(with_tensors(sample, [first * factor + offset, *others]), "elsewhere")
            runs = ((sample, seed), (made, seed), (made, seed + 1))
            before, outputs, again = (outputs_or_none(operation, *run) for run in runs)
            if not before or not outputs or not again or not all(map(same_values, outputs, again)):
                continue
            moved = [x * factor + offset if x.is_floating_point() else x for x in before]
            follows = all(map(same_values, moved, outputs))
            if not follows and any(map(_tells, outputs)):
                yield made
            return

    return make


def same_values(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same but for rounding."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), equal_nan=True)


def _first_made(
    operation: Operation, samples: Sequence[Sample], seed: int, change: Change, kind: str
) -> Iterator[Sample]:
    """One sample with other tensors, the first that PyTorch takes and gives the same for each time."""
    for sample in (*samples[:_LOOKED_AT], *samples[_LOOKED_AT :: max(1, len(samples) // _LOOKED_AT)]):
        tensors = tensors_of((sample.args, sample.kwargs))
        if sample.program is not None or not tensors or not _is_real(tensors[0]) or tensors[0].numel() < _FEW:
            continue
        changed = change(*tensors)
        if changed is None:
            continue
        made = _special(with_tensors(sample, changed), kind)
        outputs, again = (outputs_or_none(operation, made, seed + more) for more in (0, 1))
        if outputs and again and all(map(same_values, outputs, again)) and any(map(_tells, outputs)):
            yield made
            return


def _tells(tensor: torch.Tensor) -> bool:
    return bool(torch.isfinite(tensor.abs() if tensor.is_complex() else tensor).any())


_APART: Mapping[str, Apart] = MappingProxyType(
    {
        "tied": _tied,
        "zeros": _with_zeros,
        "infinite": _infinite,
        "NaN": _nan,
        "from the end": _from_the_end,
        "far": _elsewhere(1, _FAR),
        "tiny": _elsewhere(0.1 / _FAR, 0),
        "large": _elsewhere(_FAR, 0),
    }
)


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32


def outputs_or_none(operation: Operation, sample: Sample, seed: int) -> list[torch.Tensor] | None:
    """What PyTorch gives; None where it refuses."""
    try:
        return outputs_of(operation, sample, seed)
    except RefusedError:
        return None
