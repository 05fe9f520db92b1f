"""The small parts of the page that several sections share."""

from __future__ import annotations

from collections.abc import Sequence

from nobuco.report.html.markup import Markup, tag
from pytest_nobuco.report.data import MARKS, MEANINGS, Cell


def mark_html(outcome: str, spoken: bool = True) -> Markup:
    """The mark of an outcome, with its meaning for those who do not see it."""
    said = {"role": "img", "aria_label": MEANINGS[outcome]} if spoken else {"aria_hidden": "true"}
    return tag("span", MARKS[outcome], class_=f"mark {outcome}", **said)


def cell_html(cells: Sequence[Cell], label: str) -> Markup:
    """A cell of a table: the worst of the forms in it, worst first, and how many fail if only some do."""
    if not cells:
        return tag("span", class_="cell")
    worst, failing = cells[0], sum(cell.fails for cell in cells)
    share = f"{failing}/{len(cells)}" if 0 < failing < len(cells) else None
    return tag(
        "span",
        tag("span", label, class_="label") if label else None,
        mark_html(worst.outcome),
        tag("span", worst.figure, class_="figure"),
        tag("span", share, class_="share", title=f"{failing} of {len(cells)} forms fail") if share else None,
        class_=f"cell {worst.outcome}",
        title=f"{worst.case}: {MEANINGS[worst.outcome]}" + (f"; bound: {worst.bound}" if worst.bound else ""),
    )


def command_html(command: str) -> Markup:
    """A command line, with a button that the script brings to life."""
    button = tag("button", "copy", type="button", class_="copy", hidden=True, aria_label="copy the command")
    return tag("div", tag("code", command), button, class_="command")
