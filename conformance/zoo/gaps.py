"""The known gaps of the zoos: what is not right, and why; a gap that is closed fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from conformance.zoo.measure import Row

GAPS = Path(__file__).parent.parent / "zoo_gaps.txt"


def known_gaps(lines: Iterable[str]) -> Mapping[tuple[str, str, str], str]:
    """Reasons by zoo, network and runtime, of lines `ZOO NAME RUNTIME  # REASON`.

    Raises:
        ValueError: a line is no such line, or gives no reason.
    """
    gaps: dict[tuple[str, str, str], str] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            what, _, reason = line.partition("  # ")
            words = what.split()
            if len(words) != 3 or words[2] not in {"Keras", "TFLite"} or not reason.strip():
                raise ValueError(f"a known gap is ZOO NAME Keras|TFLite  # REASON, not {line!r}")
            gaps[words[0], words[1], words[2]] = reason.strip()
    return gaps


def surprises(rows: Iterable[Row], gaps: Mapping[tuple[str, str, str], str]) -> list[str]:
    """What is wrong and no known gap, and known gaps that are right; networks without a row are not asked about."""
    found = []
    for row in rows:
        for runtime, good in (("Keras", row.keras_ok), ("TFLite", row.tflite_ok)):
            is_known = (row.zoo, row.name, runtime) in gaps
            if good == is_known and row.is_network:
                found.append(f"{row.zoo} {row.name} {runtime}: {'is no gap any more' if good else 'is not right'}")
    return found
