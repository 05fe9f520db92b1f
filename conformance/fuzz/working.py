"""What a child of a campaign does: it judges programs, shrinks what fails, and says so line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from conformance.fuzz.campaign import judged
from conformance.fuzz.families import Run
from conformance.fuzz.outcome import Outcome
from conformance.fuzz.shrinking import shrunk

_SHRUNK = (Outcome.SILENT, Outcome.RAW)
_SHRUNK_EACH = 2
"""How many failures of one signature are shrunk."""


def work(run: Run, indices: Sequence[int], shrink: float, seen: Counter[str], told: bool) -> Iterator[dict[str, Any]]:
    """Say of each program that it begins, and then what became of it."""
    for index in indices:
        yield {"index": index}
        result = judged(run, index)
        line = result.line()
        outcome = result.verdict.outcome
        wanted = outcome in _SHRUNK or (told and outcome in (Outcome.TOLD, Outcome.WARNED))
        if wanted and shrink >= 0 and seen[line["signature"]] < _SHRUNK_EACH:
            seen[line["signature"]] += 1
            line["shrunk"] = shrunk(result, shrink).text
        yield line
