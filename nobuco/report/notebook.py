"""The report of a conversion as a notebook shows it: the verdict, the outputs, and what a person should look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nobuco.report.data import NodeReport, Report

_MOST = 20


def summary_html(report: Report) -> str:
    """A table of the outputs and of further trials, then what went wrong and what to know, as a fragment of HTML."""
    verdict = "matches PyTorch" if report.ok else "does not match PyTorch" if report.error is None else "failed"
    moved = f"{report.transpositions} transposition{'' if report.transpositions == 1 else 's'}"
    parts = [
        f"<p><b>{escape(report.model)}</b> {'✓' if report.ok else '✗'} {verdict}; {moved}; {report.seconds:.1f} s</p>",
        *([f"<pre>{escape(report.error)}</pre>"] if report.error else []),
        _table(("", "compared", "PyTorch's against the converted"), _rows(report)),
        _list("Calls to look at", (f"{n.path} {n.name}: {n.message or n.status.value}" for n in _bad(report))),
        _list("Warnings", report.warnings),
    ]
    return "".join(parts)


def _rows(report: Report) -> Iterator[tuple[str, str, str]]:
    for port, output in zip(report.results, report.outputs):
        yield "✓" if output.matches else "✗", port.name, output.describe()
    for tried in report.trials:
        yield "✓" if tried.ok else "✗", tried.about, tried.describe()


def _bad(report: Report) -> list[NodeReport]:
    return [node for node in report.in_order() if node.status.is_bad]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [
        "<tr>" + "".join(f"<{cell} style='text-align: left'>{escape(text)}</{cell}>" for text in row) + "</tr>"
        for cell, row in [("th", head), *(("td", row) for row in rows)]
    ]
    return f"<table>{''.join(lines)}</table>" if len(lines) > 1 else ""


def _list(title: str, items: Iterable[str]) -> str:
    texts = list(items)
    if not texts:
        return ""
    more = [f"and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    lines = "".join(f"<li>{escape(text)}</li>" for text in [*texts[:_MOST], *more])
    return f"<details><summary>{title} ({len(texts)})</summary><ul>{lines}</ul></details>"
