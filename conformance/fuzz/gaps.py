"""Failures that are known, from `gaps.txt`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.fuzz.outcome import Outcome

GAPS = Path(__file__).with_name("gaps.txt")


def known() -> dict[str, str]:
    """The reasons by regular expression."""
    lines = [line for line in GAPS.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {pattern.strip(): reason.strip() for pattern, _, reason in (line.partition("  #") for line in lines)}


def unknown_failures(entries: Sequence[dict[str, Any]], gaps: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of programs that may not end as they did, and that no gap accounts for."""
    return [e for e in entries if Outcome[e["outcome"]].fails and not any(re.search(gap, _text(e)) for gap in gaps)]


def _text(entry: dict[str, Any]) -> str:
    return "\n".join([entry["family"], entry["signature"], entry["detail"], entry.get("shrunk") or entry["source"]])
