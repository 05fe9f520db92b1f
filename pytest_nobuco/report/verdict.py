"""The verdict: what a session comes to, in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nobuco.report.data import Cell, Row, SuiteReport, count, worst_first

_NOUNS = {"parity": "model", "converter": "converter"}
_REST = (
    ("xfailed", "known gap", "known gaps"),
    ("xpassed", "known gap matches", "known gaps match"),
    ("skipped", "form was skipped", "forms were skipped"),
)


def verdict(report: SuiteReport) -> tuple[str, str]:
    """The mark and the words that stand at the top of a report."""
    return verdict_mark(report), " ".join(_sentences(report))


def verdict_mark(report: SuiteReport) -> str:
    """✗ if anything fails, ✓ if something was compared and nothing fails, else –."""
    if report.fails:
        return "✗"
    return "✓" if report.complete and any(row.matching for row in report.rows) else "–"


def _sentences(report: SuiteReport) -> Iterator[str]:
    if report.fails:
        yield _failing(report)
    elif any(row.matching for row in report.rows):
        yield _fine(report)
    elif report.rows:
        yield "Nothing matches, though nothing fails."
    else:
        yield _nothing(report)
    for outcome, one, more in _REST:
        number = sum(cell.outcome == outcome for cell in report.cells)
        if number:
            yield f"{number} {one if number == 1 else more}."
    warned = [row for row in report.rows if row.warnings]
    if warned:
        yield f"{count(len(warned), 'model')} {'has a warning' if len(warned) == 1 else 'have warnings'}."
    if not report.complete:
        yield "The session was interrupted, so this is not all of it."


def _nothing(report: SuiteReport) -> str:
    if report.backends:
        return "Backends were put side by side; what each matches is for the items of its own."
    return "Only latency was measured." if report.latency else "No model ran, so there is nothing to say of parity."


def _failing(report: SuiteReport) -> str:
    kinds = [(noun, report.of_kind(kind)) for kind, noun in _NOUNS.items() if report.of_kind(kind)]
    shares = [_share(rows, noun) for noun, rows in kinds]
    failing = [cell for cell in report.cells if cell.fails]
    worst = worst_first(failing)[0]
    verb = "fails" if len(shares) == 1 and shares[0].startswith("1 of") else "fail"
    return (
        f"{' and '.join(shares)} {verb}, in {len(failing)} of {count(len(report.cells), 'form')}; "
        f"the worst is {_named(worst)}."
    )


def _fine(report: SuiteReport) -> str:
    kinds = [(noun, report.of_kind(kind)) for kind, noun in _NOUNS.items() if report.of_kind(kind)]
    names = " and ".join(count(len(rows), noun) for noun, rows in kinds)
    passed = worst_first([cell for cell in report.cells if cell.outcome == "passed"])
    verb = "matches" if len(report.rows) == 1 else "match"
    furthest = f"; the furthest is {_named(passed[0])}" if passed[0].max_abs else ""
    return f"{names} {verb} PyTorch in {len(passed)} of {count(len(report.cells), 'form')}{furthest}."


def _share(rows: tuple[Row, ...], noun: str) -> str:
    return f"{sum(bool(row.failing) for row in rows)} of {count(len(rows), noun)}"


def _named(cell: Cell) -> str:
    return f"{cell.model} in {cell.case} ({cell.figure})"
