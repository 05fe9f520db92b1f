"""How much of a signal is left after quantisation: of numbers that are meant to differ, how large the noise is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nobuco.parity.compare import compare
from nobuco.parity.difference import Difference, Tolerance


@dataclass(frozen=True)
class Fidelity:
    """A difference as noise upon a signal.

    snr: 10 log10 of the signal's power over that of the noise, in decibels; infinite where both tensors are equal.
    cosine: of the angle between the two tensors as vectors, 1 where they agree but for their size.
    min_snr: the least that is allowed, and who said so.
    """

    difference: Difference
    snr: float
    cosine: float
    min_snr: float
    source: str

    @property
    def is_broken(self) -> bool:
        """Whether it differs in kind: in shape, dtype, NaN or infinities."""
        return self.difference.is_broken

    @property
    def max_abs(self) -> float:
        """The largest absolute difference."""
        return self.difference.max_abs

    @property
    def relative_to_peak(self) -> float:
        """The same as a fraction of the largest element."""
        return self.difference.relative_to_peak

    @property
    def matches(self) -> bool:
        """Whether the noise is as small as it must be."""
        return not self.is_broken and self.snr >= self.min_snr

    def describe(self) -> str:
        """The figures in a sentence, or what is broken."""
        if self.is_broken:
            return self.difference.describe()
        verdict = "Matches" if self.matches else "Too noisy"
        return (
            f"{verdict}: signal-to-noise ratio {self.snr:.1f} dB, at least {self.min_snr:g} dB needed ({self.source}); "
            f"cosine {self.cosine:.6f}, max abs difference {self.max_abs:.1e}."
        )


def fidelity(got: NDArray[Any], expected: NDArray[Any], min_snr: float, source: str) -> Fidelity:
    """Measure the noise in `got`. Integers and booleans count as the numbers that they are."""
    difference = compare(got, expected, Tolerance(math.inf, None, source))
    if difference.is_broken:
        return Fidelity(difference, -math.inf, 0.0, min_snr, source)
    ours, theirs = (np.asarray(array, np.float64).reshape(-1) for array in (got, expected))
    finite = np.isfinite(theirs)
    ours, theirs = ours[finite], theirs[finite]
    signal, noise, own = (float(np.sum(np.square(a))) for a in (theirs, ours - theirs, ours))
    if not noise:
        return Fidelity(difference, math.inf, 1.0, min_snr, source)
    cosine = float(np.dot(ours, theirs)) / math.sqrt(own * signal) if own and signal else 0.0
    return Fidelity(difference, 10 * math.log10(signal / noise) if signal else -math.inf, cosine, min_snr, source)
