"""What is said of a run beside what PyTorch gives: `ok`, or what is wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nobuco

RTOL, ATOL = 1e-3, 1e-4
_COARSE = {"float16": 1e-2, "bfloat16": 5e-2}  # relative, and of the largest element
BAKED = "gives the numbers of the trace"


def judged(run: Callable[[], list[np.ndarray]], judge: Any, expected: Sequence[np.ndarray]) -> str:
    """What is said of a run; where few numbers can come, those of the trace may, but not five times."""
    for _ in range(5):
        said = judge(run(), expected)
        if said != BAKED:
            return said
    return BAKED


def verdict(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Of values: within the bound of each dtype."""
    if len(got) != len(expected):
        return f"{len(got)} outputs, PyTorch gives {len(expected)}"
    for a, b in zip(got, expected):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{list(a.shape)}, PyTorch gives {b.dtype}{list(b.shape)}"
        rtol, atol = _tolerance(b)
        exact = a.dtype.kind in "biu"
        wide = np.complex128 if a.dtype.kind == "c" else a.dtype if exact else np.float64
        a, b = a.astype(wide), b.astype(wide)
        if not (np.array_equal(a, b) if exact else np.allclose(a, b, rtol, atol, equal_nan=True)):
            with np.errstate(invalid="ignore"):
                return f"differs by {np.nanmax(np.abs(a.astype(np.complex128) - b)):.2g}"
    return "ok"


def _tolerance(expected: np.ndarray) -> tuple[float, float]:
    """Relative and absolute; the coarse dtypes are summed up in another order, and in PyTorch in float32."""
    coarse = _COARSE.get(expected.dtype.name)
    if coarse is None:
        return RTOL, ATOL
    finite = expected.astype(np.float64)
    peak = np.max(np.abs(finite), initial=1.0, where=np.isfinite(finite))
    return coarse, coarse * peak


def verdict_of_random(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> str:
    """Of random numbers: shapes and dtypes, and that they are not those of the trace; `others` has another seed."""
    if [(a.shape, a.dtype) for a in got] != [(b.shape, b.dtype) for b in expected]:
        return verdict(got, expected)
    varies = any(len(np.unique(b)) > 4 and not np.array_equal(b, c) for b, c in zip(expected, others))
    baked = varies and all(map(np.array_equal, got, expected))
    return BAKED if baked else "ok"


def told(error: Exception) -> str:
    """An error as a verdict: what has no converter, or the message and where it was raised."""
    if isinstance(error, nobuco.ConversionError) and error.gaps:
        return f"no converter: {', '.join(dict.fromkeys(error.gaps))}"
    text = str(error).replace("\n", " ")
    last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{type(error).__name__}: {text[:300]} [{Path(last.filename).name}:{last.lineno}]"
