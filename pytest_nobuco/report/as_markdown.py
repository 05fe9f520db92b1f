"""The report for a GitHub job summary: what matters first, the rest folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_nobuco.backends.table import HEADS, NOTE, BackendRow, words_of
from pytest_nobuco.latency.table import milliseconds
from pytest_nobuco.report.data import MARKS, Cell, Row, SuiteReport, columns, count
from pytest_nobuco.report.latency import by_model, facts, notes, runtime_text, speed_up_text
from pytest_nobuco.report.verdict import verdict

# A job summary holds one mebibyte, and is refused as a whole beyond it.
_FAILURES_AT_MOST = 60
_LETTERS_AT_MOST = 6000
_TITLES = {"parity": "Models", "converter": "Converters"}


def to_markdown(report: SuiteReport) -> str:
    """The report as GitHub's Markdown."""
    mark, words = verdict(report)
    lines = [f"## {mark} {_escaped(words)}", ""]
    lines += [f"{report.totals}. {_legend(report)}", ""]
    for kind, title in _TITLES.items():
        if rows := report.of_kind(kind):
            lines += [f"### {title}", "", *_matrix(rows, kind), ""]
    for model, table in report.backends.items():
        lines += [f"### {_escaped(model)}: backends", "", *_backends(table), ""]
    lines += _warnings(report)
    lines += _failures(report)
    if report.latency:
        lines += ["### Latency", "", *_latency(report), ""]
    lines += _environment(report)
    return "\n".join(lines).rstrip() + "\n"


def _legend(report: SuiteReport) -> str:
    figures = "the largest absolute difference"
    if any(cell.snr is not None for cell in report.cells):
        figures += ", or the signal-to-noise ratio in dB"
    return f"✓ matches PyTorch, ✗ fails, ~ known gap, – skipped; figures are {figures}."


def _matrix(rows: Sequence[Row], kind: str) -> Iterator[str]:
    layout = columns(rows)
    # Converters are hundreds; those that match are counted below the table.
    shown = [row for row in rows if kind == "parity" or row.worst.outcome != "passed"]
    if shown:
        yield _table_line(["", *layout.labels, "match"])
        yield "|".join(["", "---", *("---:" for _ in layout.labels), "---:", ""])
        for row in shown:
            cells = [_cell(layout.cells(row, label)) for label in layout.labels]
            name = f"{MARKS[row.worst.outcome]} **{_escaped(row.model)}**"
            yield _table_line([name, *cells, f"{row.matching} of {len(row.cells)}"], escaped=True)
    if len(shown) < len(rows):
        yield ""
        yield f"✓ {count(len(rows) - len(shown), 'converter')} match in every form that ran."


def _cell(cells: Sequence[Cell]) -> str:
    if not cells:
        return ""
    worst = cells[0]
    return f"{MARKS[worst.outcome]} {_escaped(worst.figure)}"


def _warnings(report: SuiteReport) -> Iterator[str]:
    lines = [f"- **{_escaped(row.model)}**: {_escaped(text)}" for row in report.rows for text in row.warnings]
    if lines:
        yield from ("### Warnings", "", *lines, "")


def _failures(report: SuiteReport) -> Iterator[str]:
    failing = [(row, cell) for row in report.rows for cell in row.failing]
    if not failing:
        return
    yield "### Failures"
    yield ""
    for row, cell in failing[:_FAILURES_AT_MOST]:
        title = f"{MARKS[cell.outcome]} <b>{_escaped(row.model)}</b> {_escaped(cell.case)}: {_escaped(cell.figure)}"
        yield f"<details><summary>{title}</summary>"
        yield ""
        yield from _fenced(_shortened(cell.message))
        yield ""
        yield "</details>"
        yield ""
    if len(failing) > _FAILURES_AT_MOST:
        yield f"And {len(failing) - _FAILURES_AT_MOST} more."
        yield ""


def _backends(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _table_line(HEADS)
    yield "|---|" + "---:|" * (len(HEADS) - 1)
    table = [BackendRow(**row) for row in rows]
    for row in table:
        yield _table_line(words_of(row))
    yield ""
    for row in table:
        if row.problem or row.wrong:
            yield f"- {_escaped(row.backend)}: {_escaped(row.problem or row.wrong)}"
    yield f"<sub>{_escaped(NOTE)}</sub>"


def _latency(report: SuiteReport) -> Iterator[str]:
    yield _table_line(["model", "runtime", "median", "± IQR", "speed-up", "", "device"])
    yield "|---|---|---:|---:|---:|---|---|"
    for model, rows in by_model(report.latency).items():
        for row in rows:
            figures = [milliseconds(row.median), milliseconds(row.iqr), speed_up_text(row, rows)]
            yield _table_line([model, runtime_text(row), *figures, facts(row), row.device])
    yield ""
    yield " ".join(_escaped(note) for note in notes(report.latency))


def _environment(report: SuiteReport) -> Iterator[str]:
    if report.environment:
        versions = ", ".join(f"{name} {value}" for name, value in report.environment.items())
        yield f"<sub>{_escaped(f'{report.date} · {versions}')}</sub>"
        yield ""
    if report.command:
        yield "<details><summary>command</summary>"
        yield ""
        yield from _fenced(report.command)
        yield ""
        yield "</details>"


def _table_line(words: Sequence[str], escaped: bool = False) -> str:
    return "| " + " | ".join(word if escaped else _escaped(word) for word in words) + " |"


def _escaped(text: str) -> str:
    """The text with no meaning to Markdown or HTML, on one line."""
    line = " ".join(html.escape(text, quote=False).split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def _fenced(text: str) -> list[str]:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def _shortened(text: str) -> str:
    if len(text) <= _LETTERS_AT_MOST:
        return text
    half = _LETTERS_AT_MOST // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} letters …\n{text[-half:]}"
