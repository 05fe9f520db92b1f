"""The report as one HTML file that needs no network, and no script for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nobuco.report.html.assets import asset
from nobuco.report.html.markup import Markup, tag
from pytest_nobuco.report.data import MEANINGS, Cell, Columns, Row, SuiteReport, columns, count, form_of, runtime_of
from pytest_nobuco.report.html_backends import backends_html
from pytest_nobuco.report.html_graph import graph_html
from pytest_nobuco.report.html_latency import latency_html
from pytest_nobuco.report.html_parts import cell_html, command_html, mark_html
from pytest_nobuco.report.verdict import verdict

_HERE = "pytest_nobuco.report"
_TITLES = {"parity": "Models", "converter": "Converters"}
_UNFILTERED = 8
"""So many rows need no filter, and those that match no fold."""


def to_html(report: SuiteReport) -> str:
    """The report as a page."""
    mark, words = verdict(report)
    sections = [_section(report, kind) for kind in _TITLES if report.of_kind(kind)]
    if report.backends:
        sections.append(backends_html(report.backends))
    if report.latency:
        sections.append(latency_html(report.latency))
    page = tag(
        "html",
        tag("head", _head(f"{mark} {words}")),
        tag(
            "body",
            _header(report, mark, words),
            tag("main", sections),
            _footer(report),
            asset("strip.js"),
            asset("page.js", _HERE),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _head(title: str) -> list[Markup]:
    return [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        asset("base.css"),
        asset("trace.css"),
        asset("page.css", _HERE),
    ]


def _header(report: SuiteReport, mark: str, words: str) -> Markup:
    facts = [report.totals]
    facts += [f"{report.seconds:.1f} s"] if report.seconds else []
    facts += [report.date] if report.date else []
    kind = {"✗": "failed", "✓": "passed"}.get(mark, "skipped")
    return tag(
        "header",
        tag("p", "nobuco parity report", class_="brand"),
        tag("h1", tag("span", mark, class_="mark", aria_hidden="true"), tag("span", words), class_=kind),
        tag("p", " · ".join(facts), class_="facts"),
        command_html(report.command) if report.command else None,
    )


def _footer(report: SuiteReport) -> Markup:
    entries = [(tag("dt", name), tag("dd", value)) for name, value in report.environment.items()]
    return tag("footer", tag("h2", "Environment"), tag("dl", entries)) if entries else tag("footer")


def _section(report: SuiteReport, kind: str) -> Markup:
    rows, title = report.of_kind(kind), _TITLES[kind]
    layout = columns(rows)
    folds = len(rows) > _UNFILTERED
    fine = [row for row in rows if folds and row.worst.outcome in ("passed", "skipped")]
    return tag(
        "section",
        tag("div", tag("h2", title), _filter(title, rows) if folds else None, _legend(rows), class_="bar"),
        _column_heads(layout),
        [_row(report, row, layout) for row in rows if row not in fine],
        _rollup(report, fine, layout) if fine else None,
        class_="matrix",
        id=title.lower(),
        style=f"--columns: {len(layout.labels)}",
    )


def _filter(title: str, rows: Sequence[Row]) -> Markup:
    """By name, runtime and outcome; hidden until the script that makes it work says otherwise."""
    hint = f"Filter {len(rows)} {title.lower()}"
    cells = [cell for row in rows for cell in row.cells]
    return tag(
        "form",
        tag("input", type="search", name="name", placeholder=hint, aria_label=hint),
        _choice("runtime", dict.fromkeys((runtime_of(cell) for cell in cells), "")),
        _choice("outcome", {outcome: words for outcome, words in MEANINGS.items() if _any(cells, outcome)}),
        tag("output", class_="dim"),
        class_="filter",
        hidden=True,
    )


def _any(cells: Sequence[Cell], outcome: str) -> bool:
    return any(cell.outcome == outcome for cell in cells)


def _choice(name: str, options: Mapping[str, str]) -> Markup:
    shown = [tag("option", words or value, value=value) for value, words in options.items()]
    return tag("select", tag("option", f"any {name}", value=""), shown, name=name, aria_label=name)


def _legend(rows: Sequence[Row]) -> Markup:
    present = {cell.outcome for row in rows for cell in row.cells}
    # What could not be set up has the mark of what fails.
    entries = [("passed", "matches"), ("failed", "fails"), ("xfailed", "known gap"), ("skipped", "skipped")]
    shown = [
        tag("span", mark_html(outcome, spoken=False), f" {words}")
        for outcome, words in entries
        if outcome in present or (outcome == "failed" and "error" in present)
    ]
    return tag("p", shown, tag("span", f"figures: {_figures(rows)}"), class_="legend")


def _figures(rows: Sequence[Row]) -> str:
    quantised = any(cell.snr is not None for row in rows for cell in row.cells)
    return "largest absolute difference" + (", or signal-to-noise ratio in dB" if quantised else "")


def _column_heads(layout: Columns) -> Markup:
    labels = [tag("span", _breakable(label)) for label in layout.labels]
    return tag("div", tag("span"), tag("span"), labels, tag("span", "match"), class_="line heads", aria_hidden="true")


def _breakable(label: str) -> list[str | Markup]:
    first, *rest = label.split("-")
    return [first, *(part for word in rest for part in ("-", tag("wbr"), word))]


def _rollup(report: SuiteReport, fine: Sequence[Row], layout: Columns) -> Markup:
    forms = sum(len(row.cells) for row in fine)
    words = "match" if all(row.matching for row in fine) else "match or were skipped"
    summary = tag("summary", mark_html("passed"), f" {len(fine)} {words}, {count(forms, 'form')}")
    return tag("details", summary, [_row(report, row, layout) for row in fine], class_="rollup")


def _row(report: SuiteReport, row: Row, layout: Columns) -> Markup:
    """A line of the table, which opens to all that is known of the model."""
    cells = [cell_html(layout.cells(row, label), label) for label in layout.labels]
    summary = tag(
        "summary",
        mark_html(row.worst.outcome),
        tag("span", _breakable_name(row.model), class_="name", title=row.model),
        cells,
        tag("span", f"{row.matching} of {row.compared}" if row.compared else None, class_="count", title=row.tally),
        class_="line",
    )
    details = _failures(report, row) if row.failing else [_graph(report, row)]
    body = [None if layout.are_cases else _forms(row), _warnings(row), _skips(row), details]
    return tag(
        "details",
        summary,
        tag("div", body, class_="body"),
        class_="row" + (" bad" if row.failing else ""),
        open=bool(row.failing),
        data_name=row.model.lower(),
        data_forms=" ".join(dict.fromkeys(f"{runtime_of(cell)}:{cell.outcome}" for cell in row.cells)),
    )


def _breakable_name(name: str) -> list[str | Markup]:
    first, *rest = name.split(".")
    return [first, *(part for word in rest for part in (tag("wbr"), f".{word}"))]


def _forms(row: Row) -> Markup:
    """Every form of a model: a line per runtime, a column per channel order and shape."""
    runtimes = list(dict.fromkeys(map(runtime_of, row.cells)))
    forms = list(dict.fromkeys(map(form_of, row.cells)))
    by_form = {(runtime_of(cell), form_of(cell)): cell for cell in row.cells}
    heads = [tag("th", [(tag("span", part), " ") for part in form], scope="col") for form in forms]
    lines = [
        tag("tr", tag("th", runtime, scope="row"), [_table_cell(by_form.get((runtime, form))) for form in forms])
        for runtime in runtimes
    ]
    table = tag("table", tag("thead", tag("tr", tag("td"), heads)), tag("tbody", lines))
    return tag("div", table, class_="scroll", tabindex="0", role="group", aria_label=f"all forms of {row.model}")


def _table_cell(cell: Cell | None) -> Markup:
    return tag("td") if cell is None else tag("td", cell_html([cell], ""), title=cell.nodeid)


def _failures(report: SuiteReport, row: Row) -> list[Markup | None]:
    """The worst failure with where it comes from, then the others, which mostly say the same."""
    worst, *others = row.failing
    rest = None
    if others:
        summary = tag("summary", f"{count(len(others), 'more form')} that fail{'s' if len(others) == 1 else ''}")
        rest = tag("details", summary, [_failure(cell, is_open=False) for cell in others], class_="others")
    return [_failure(worst, is_open=True), _graph(report, row), rest]


def _failure(cell: Cell, is_open: bool) -> Markup:
    return tag(
        "details",
        tag("summary", mark_html(cell.outcome), " ", tag("b", cell.case), " ", tag("span", cell.figure)),
        # The command stands below, where it can be copied.
        tag("pre", cell.message.replace(f"\n  reproduce: {cell.command}", "") or "no message"),
        command_html(cell.command) if cell.command else None,
        open=is_open,
        class_="failure",
    )


def _warnings(row: Row) -> Markup | None:
    """What a reader should know though the model may match."""
    return tag("ul", [tag("li", f"! {text}") for text in row.warnings], class_="reasons") if row.warnings else None


def _skips(row: Row) -> Markup | None:
    """Why forms were skipped or are known gaps, each reason once."""
    cells = [cell for cell in row.cells if cell.outcome in ("skipped", "xfailed", "xpassed") and cell.message]
    reasons = dict.fromkeys((cell.outcome, cell.message) for cell in cells)
    lines = [
        tag("li", mark_html(outcome), f" {message} ", tag("span", _cases_of(cells, outcome, message), class_="dim"))
        for outcome, message in reasons
    ]
    return tag("ul", lines, class_="reasons") if lines else None


def _cases_of(cells: Sequence[Cell], outcome: str, message: str) -> str:
    cases = [cell.case for cell in cells if (cell.outcome, cell.message) == (outcome, message)]
    return cases[0] if len(cases) == 1 else f"in {len(cases)} forms"


def _graph(report: SuiteReport, row: Row) -> Markup | None:
    """The conversion of the worst form that has one, and how many more the JSON report holds."""
    of_worst = row.failing or (row.worst,)
    known = list(dict.fromkeys(cell.conversion for cell in of_worst if cell.conversion in report.graphs))
    if not known:
        return None
    cell = next(cell for cell in of_worst if cell.conversion == known[0])
    return graph_html(report.graphs[known[0]], cell, f"{row.kind}-{report.rows.index(row)}", len(known) - 1)
