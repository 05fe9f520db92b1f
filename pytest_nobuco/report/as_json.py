"""The report for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_nobuco.report.data import Cell, Row, SuiteReport
from pytest_nobuco.report.verdict import verdict

FORMAT = 1
"""Counted up when a key changes its meaning or goes; new keys may come."""


def to_json(report: SuiteReport) -> str:
    """The report as JSON. It has no infinity and no NaN, so these become the strings "inf", "-inf" and "nan"."""
    return json.dumps(_plain(to_dict(report)), allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def to_dict(report: SuiteReport) -> dict[str, Any]:
    """The report as nested dicts; `graphs` are by the `conversion` of a case."""
    mark, words = verdict(report)
    return {
        "format": FORMAT,
        "verdict": {"passed": mark == "✓", "failed": report.fails, "text": words},
        "date": report.date,
        "command": report.command,
        "seconds": report.seconds,
        "complete": report.complete,
        "conversions": report.conversions,
        "environment": dict(report.environment),
        "models": [_row(row) for row in report.rows],
        "backends": {model: list(rows) for model, rows in report.backends.items()},
        "latency": [asdict(row) for row in report.latency],
        "graphs": dict(report.graphs),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "model": row.model,
        "failing": len(row.failing),
        "cases": [_cell(cell) for cell in row.cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    data = asdict(cell)
    del data["kind"], data["model"]
    return {**data, "max_abs": cell.max_abs, "snr": cell.snr}


def _plain(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(element) for element in item]
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    return item
