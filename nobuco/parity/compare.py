"""How far a tensor is from the one expected.

Needs NumPy only, so that a report can be made and read in a process without PyTorch and TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nobuco.parity.difference import Difference, Index, Places, Scalar, Tolerance, is_exact

# A tensor of numbers much larger than one has that noise, too, in those of its elements that happen to be small.
_LARGEST_SCALE = 1e2
_SAMPLED = 1 << 12
# Of zeros, which have no size; the square root of the least double, so that ratios stay finite.
_TINY = 1e-154


def compare(got: NDArray[Any], expected: NDArray[Any], tolerance: Tolerance) -> Difference:
    """Measure how far `got` is from `expected`.

    NaN matches NaN, and an infinity one of its sign. A dtype that differs is a mismatch, and the values are
    measured nonetheless; with a shape that differs they cannot be. Raises `TypeError` where there are no
    numbers to compare.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    identity = (tolerance, got.shape, expected.shape, got.dtype.name, expected.dtype.name)
    _refuse_without_numbers(got, expected)
    if got.shape != expected.shape:
        return Difference(*identity, max_abs=math.inf, relative_to_peak=math.inf, max_rel=math.inf)

    pairs = list(zip(_stretches(got), _stretches(expected)))
    peak = max((_peak(theirs) for _, theirs in pairs), default=0.0)
    usual = _usual_size(expected, peak, tolerance.smallest) if tolerance.scaled else 1.0
    pieces = [_measured(ours, theirs, tolerance, peak, usual) for ours, theirs in pairs]
    nan = _merged([piece.nan for piece in pieces], got, expected)
    inf = _merged([piece.inf for piece in pieces], got, expected)
    number, nearest = max(enumerate(pieces), key=lambda p: p[1].rank, default=(0, _NOTHING))
    if nearest.worst is None:
        return Difference(*identity, peak=peak, nan=nan, inf=inf)
    worst_index = _index(number, nearest.worst, got.shape)
    max_abs = max(piece.max_abs for piece in pieces)
    return Difference(
        *identity,
        max_abs=max_abs,
        relative_to_peak=_ratio(max_abs, peak),
        max_rel=max(piece.max_rel for piece in pieces),
        peak=peak,
        worst_index=worst_index,
        got=_scalar(got[worst_index]),
        expected=_scalar(expected[worst_index]),
        bound=nearest.bound,
        scale=nearest.scale,
        outside=sum(piece.outside for piece in pieces),
        nan=nan,
        inf=inf,
    )


# Tensors are measured in stretches that fit a processor's cache: of a whole activation, each of the steps
# below would go through memory once more, which is ten times slower.
_STRETCH = 1 << 15


@dataclass(frozen=True)
class _Special:
    """Where NaN, or infinity, stands in a stretch; `first` is where only one of both has it."""

    got: int = 0
    expected: int = 0
    differing: int = 0
    first: int | None = None


@dataclass(frozen=True)
class _Piece:
    """What was measured in a stretch; `rank` orders the stretches by how near `worst` comes to its bound."""

    max_abs: float = 0.0
    max_rel: float = 0.0
    rank: float = -1.0
    worst: int | None = None
    bound: float = 0.0
    scale: float = 1.0
    outside: int = 0
    nan: _Special = _Special()
    inf: _Special = _Special()


_NOTHING = _Piece()


def _measured(got: NDArray[Any], expected: NDArray[Any], tolerance: Tolerance, peak: float, usual: float) -> _Piece:
    ours, theirs = _widened(got), _widened(expected)
    nan = inf = _Special()
    finite = np.isfinite(ours) & np.isfinite(theirs)
    if not finite.all():
        numbers = ~(np.isnan(ours) | np.isnan(theirs))
        nan = _special(np.isnan(ours), np.isnan(theirs), ours, theirs)
        inf = _special(np.isinf(ours) & numbers, np.isinf(theirs) & numbers, ours, theirs)
        if not finite.any():
            return _Piece(nan=nan, inf=inf)
        got, expected, ours, theirs = got[finite], expected[finite], ours[finite], theirs[finite]
    exact = is_exact(got.dtype.name) and is_exact(expected.dtype.name)
    apart = _distance(got, expected, ours, theirs)
    magnitude = np.abs(theirs)
    scale = np.maximum(magnitude, usual) if tolerance.scaled and not exact else np.ones(1)
    allowed = np.zeros(1) if exact else _allowed(tolerance, peak, scale)
    rank = apart / scale
    worst = int(rank.argmax())
    return _Piece(
        max_abs=float(apart.max()),
        max_rel=_largest_ratio(apart, magnitude),
        rank=float(rank[worst]),
        worst=int(np.flatnonzero(finite)[worst]),
        bound=float(np.broadcast_to(allowed, apart.shape)[worst]),
        scale=float(np.broadcast_to(scale, apart.shape)[worst]),
        outside=int(np.count_nonzero(apart > allowed)),
        nan=nan,
        inf=inf,
    )


def _stretches(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _STRETCH):
        yield flat[start : start + _STRETCH]


def _index(stretch: int, offset: int, shape: tuple[int, ...]) -> Index:
    return tuple(int(i) for i in np.unravel_index(stretch * _STRETCH + offset, shape))


def _peak(expected: NDArray[Any]) -> float:
    magnitude = np.abs(_widened(expected))
    return float(np.max(magnitude, where=np.isfinite(magnitude), initial=0.0))


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    """The array in double precision, so that measuring adds no rounding of its own."""
    return array.astype(np.complex128 if array.dtype.name.startswith("complex") else np.float64)


def _refuse_without_numbers(*arrays: NDArray[Any]) -> None:
    # By name, since NumPy knows bfloat16 and its kin only as opaque dtypes of an extension.
    for name in (array.dtype.name for array in arrays):
        if not (is_exact(name) or name.startswith(("float", "bfloat", "complex"))):
            raise TypeError(f"cannot compare arrays of dtype {name}: only numbers and booleans have a difference")


def _distance(
    got: NDArray[Any], expected: NDArray[Any], ours: NDArray[Any], theirs: NDArray[Any]
) -> NDArray[np.float64]:
    """|got - expected|; `ours` and `theirs` are the values in double precision."""
    if is_exact(got.dtype.name) and got.dtype == expected.dtype and got.dtype.itemsize == 8:
        # As doubles, neighbours beyond 2**53 would be equal. Unsigned subtraction wraps around, so this is
        # right for the full range of int64 too.
        high, low = np.where(got > expected, got, expected), np.where(got > expected, expected, got)
        return np.asarray(high.astype(np.uint64) - low.astype(np.uint64), dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.abs(ours - theirs)


def _usual_size(expected: NDArray[Any], peak: float, smallest: float) -> float:
    """What the elements of a tensor are held to that are smaller: its own size if that is below one, else one.

    More than one where most elements are larger: small ones among them are sums of large terms, rounded as those
    are. Not the peak of a large tensor: one mask of -1e9 among the scores would hide any error in the others.
    """
    sizes = np.abs(_widened(expected.reshape(-1)[:: max(1, expected.size // _SAMPLED)]))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    usual = float(np.quantile(sizes, 0.25, method="lower")) if sizes.size else 0.0
    return max(min(usual, _LARGEST_SCALE), min(max(peak, smallest), 1.0), _TINY)


def _allowed(tolerance: Tolerance, peak: float, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return tolerance.max_abs * scale + (tolerance.max_rel or 0.0) * peak


def _special(got: NDArray[np.bool_], expected: NDArray[np.bool_], ours: NDArray[Any], theirs: NDArray[Any]) -> _Special:
    # NaN equals nothing, itself included, but has no sign that two could differ in.
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    differing = (got | expected) & ~same
    first = int(differing.argmax()) if differing.any() else None
    return _Special(int(got.sum()), int(expected.sum()), int(differing.sum()), first)


def _merged(stretches: Sequence[_Special], got: NDArray[Any], expected: NDArray[Any]) -> Places:
    ours, theirs = sum(s.got for s in stretches), sum(s.expected for s in stretches)
    differing = sum(s.differing for s in stretches)
    firsts = (_index(i, s.first, got.shape) for i, s in enumerate(stretches) if s.first is not None)
    first = next(firsts, None)
    if first is None:
        return Places(ours, theirs)
    return Places(ours, theirs, differing, first, _scalar(got[first]), _scalar(expected[first]))


def _largest_ratio(apart: NDArray[np.float64], magnitude: NDArray[np.float64]) -> float:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(apart == 0, 0.0, apart / magnitude)
    return float(ratios.max())


def _ratio(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf


def _scalar(element: Any) -> Scalar:
    name = np.asarray(element).dtype.name
    if name == "bool":
        return bool(element)
    if is_exact(name):
        return int(element)
    return complex(element) if name.startswith("complex") else float(element)
