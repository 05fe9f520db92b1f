"""The section at the end of pytest's output: one line per model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_BAD = ("failed", "error")


@dataclass
class Tally:
    """What the items of one model came to."""

    outcomes: list[str] = field(default_factory=list)
    worst: float | None = None
    where: str = ""
    bound: str = ""
    conversions: int = 0

    def add(self, outcome: str, properties: Mapping[str, Any]) -> None:
        """Count one item."""
        self.outcomes.append(outcome)
        self.conversions += int(properties.get("nobuco_conversions", 0))
        found = properties.get("nobuco_max_abs_diff")
        if found is not None and (self.worst is None or found > self.worst):
            self.worst, self.where = found, properties["nobuco_case"]
            self.bound = properties.get("nobuco_bound", "")


def summarize(stats: Mapping[str, Sequence[Any]]) -> Iterator[tuple[bool, str]]:
    """Lines for what the reports of a session say, each with whether it is good news."""
    tallies: dict[str, Tally] = {}
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for properties in _suite_items(stats.get(outcome, ())):
            tallies.setdefault(properties["nobuco_model"], Tally()).add(outcome, properties)
    for model, tally in tallies.items():
        good = not any(outcome in _BAD for outcome in tally.outcomes)
        yield good, f"{'✓' if good else '✗'} {model}: {', '.join(_phrases(tally))}"
    if tallies:
        items = sum(len(tally.outcomes) for tally in tallies.values())
        conversions = sum(tally.conversions for tally in tallies.values())
        yield True, f"{_count(conversions, 'conversion')} for {_count(items, 'item')}"


def _suite_items(reports: Iterable[Any]) -> Iterator[dict[str, Any]]:
    seen = set()
    for report in reports:
        properties = dict(getattr(report, "user_properties", ()))
        # A report of set-up and one of the call may both be here.
        if "nobuco_model" in properties and report.nodeid not in seen:
            seen.add(report.nodeid)
            yield properties


def _phrases(tally: Tally) -> Iterator[str]:
    total = len(tally.outcomes)
    yield f"{tally.outcomes.count('passed')} of {total} match"
    for outcome in ("error", "skipped", "xfailed", "xpassed"):
        if outcome in tally.outcomes:
            yield f"{tally.outcomes.count(outcome)} {outcome}"
    if tally.worst is not None:
        worst = f"{tally.worst:.1e}" if math.isfinite(tally.worst) else "beyond measure"
        yield f"worst max abs diff {worst} ({tally.where}; bound: {tally.bound})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
