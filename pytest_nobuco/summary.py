"""The section at the end of pytest's output: one line per model, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_nobuco.backends.table import BackendRow, lines_of
from pytest_nobuco.report.data import MARKS, Cell, Row, SuiteReport, count

_COLOURS = {"✓": "green", "✗": "red", "~": "yellow", "–": ""}
_SMALLEST_NAME = 12


def summarize(report: SuiteReport, verbosity: int, width: int) -> Iterator[tuple[str, str]]:
    """Lines of at most `width` columns (warnings as long as they are), each with its colour; with verbosity, a line
    for every item too.

    Converters are many, so those that match share a line unless there is verbosity.
    """
    rolled = [row for row in report.rows if verbosity < 1 and row.kind == "converter" and mark_of(row) == "✓"]
    shown = [row for row in report.rows if row not in rolled]
    table = [(row, _row_words(row)) for row in shown]
    tails = _aligned([words for _, words in table])
    room = max(width - 4 - max(map(len, tails), default=0), _SMALLEST_NAME)
    names = min(max((len(row.model) for row in shown), default=0), room)
    for (row, _), tail in zip(table, tails):
        line = f"{mark_of(row)} {elided(row.model, names):{names}}  {tail}"
        yield _COLOURS[mark_of(row)], _cut(line, width)
        for text in row.warnings:
            yield "yellow", f"  ! {' '.join(text.split())}"
        if verbosity > 0:
            yield from _items(row, width)
    if rolled:
        cells = [cell for row in rolled for cell in row.cells]
        yield "green", f"✓ {count(len(rolled), 'converter')} match in {count(len(cells), 'form')}"
    for model, backends in report.backends.items():
        yield from (("", _cut(line, width)) for line in lines_of(model, [BackendRow(**row) for row in backends]))
        yield "", ""
    if report.rows:
        yield "", report.totals


def mark_of(row: Row) -> str:
    """✗ if a form fails, ~ if one is a known gap, ✓ if any matches, else –."""
    outcomes = {cell.outcome for cell in row.cells}
    order = ("failed", "error", "xfailed", "xpassed", "passed", "skipped")
    return next(MARKS[outcome] for outcome in order if outcome in outcomes)


def elided(text: str, room: int) -> str:
    """The text in at most `room` characters, its middle left out: the ends of a name tell most."""
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def _row_words(row: Row) -> tuple[str, ...]:
    worst = row.worst
    return row.tally, worst.figure, _reason(worst) if worst.outcome == "skipped" else worst.case


def _items(row: Row, width: int) -> Iterator[tuple[str, str]]:
    words = [(cell.case, cell.figure, f"{cell.duration:.1f} s", _reason(cell)) for cell in row.cells]
    for cell, line in zip(row.cells, _aligned(words)):
        mark = MARKS[cell.outcome]
        yield _COLOURS[mark], _cut(f"    {mark} {line}", width)


def _reason(cell: Cell) -> str:
    """Why the item counts as it does: the bound, or why it was skipped or is a known gap."""
    if cell.outcome in ("skipped", "xfailed", "xpassed"):
        return " ".join(cell.message.split())
    return "; ".join(filter(None, [cell.bound, cell.extra.get("orders", "")]))


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows with their columns in line, figures at the right of theirs."""
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join(f"{word:{'>' if word[:1].isdigit() else '<'}{wide}}" for word, wide in zip(row, widths)).rstrip()
        for row in table
    ]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
