"""Equal failures of a model's forms stand in the terminal once; reports and counts have them all, and so has `-v`."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import pytest

# What differs between the forms of one model that fail alike: figures, addresses, and lines that name the form.
_OF_A_FORM = re.compile(r"^  (reproduce|channel order|sizes): .*$|0x[0-9a-f]+|-?\d[\d.×]*(e[-+]\d+)?", re.MULTILINE)


class Folding:
    """While pytest prints what failed, it is shown one of each kind."""

    # The outermost, since pytest prints inside its own wrapper.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, Any, Any]:
        """Leave out repeats, and put them back for pytest's counts."""
        stats = terminalreporter.stats
        kept = {key: stats[key] for key in ("failed", "error") if key in stats}
        if terminalreporter.verbosity < 1:
            for key, reports in kept.items():
                stats[key] = self._shown(reports)
        try:
            return (yield)
        finally:
            stats.update(kept)

    def _shown(self, reports: list[Any]) -> list[Any]:
        kinds: dict[object, list[Any]] = {}
        for report in reports:
            kinds.setdefault(_kind(report), []).append(report)
        for first, *others in kinds.values():
            if others:
                _add(first, f"{len(others)} item{'s' if len(others) > 1 else ''} like this one (-v shows each)")
        return [first for first, *_ in kinds.values()]


def _kind(report: Any) -> object:
    """What reports that fail alike have in common; that of anybody else's is its own."""
    result = getattr(report, "nobuco", None)
    if not result:
        return id(report)
    text = report.longreprtext
    for word in sorted(filter(None, {result["case"], *result["axes"].values()}), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(word)}\b", "", text)
    return result["model"], report.when, _OF_A_FORM.sub("", text)


def _add(report: Any, words: str) -> None:
    if hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection(words, "")
    else:
        report.longrepr = f"{report.longrepr}\n  {words}"
