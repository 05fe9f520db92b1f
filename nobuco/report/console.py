"""The report as text for a terminal, and a bar for what takes long.

The tree is laid out in lines of known width rather than left to the terminal to wrap: a call is one line, its
name shortened in the middle where there is no room. Only source lines are never cut, since an IDE makes a
link of them. Each colour has a mark or a word beside it, so that a log without colours reads the same.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from nobuco.kinds import FLAG, NOTHING, Kind, member_of, takes, whole
from nobuco.parity import worst
from nobuco.report.data import REPORT, NodeReport, Report, Status, TraceLevel
from nobuco.report.tree import DIM, MARKS, Remark, Row, clean, figures, label_of, tree_lines

_MAX_WIDTH = 120  # in a wider terminal the outputs would stand far from the names they belong to
_SMALLEST_LABEL = 24
LEAST_WIDTH = 20

_LEGEND = (
    ("✓", "green", "converted"),
    ("≈", "yellow", "imprecise"),
    ("✗", "red", "failed"),
    ("?", "magenta", "no converter"),
    ("▾", "", "opened into the calls below"),
    ("▿", "", "opened into ATen calls"),
    ("·", DIM, "no part of the model"),
    ("–", DIM, "not reached"),
    ("≡", DIM, "equal calls left out"),
    ("⇄", "", "transposed before it"),
    ("TF", "", "channels last"),
    ("PT", "", "channels first"),
    ("I D C", "", "where invoked, defined, converted"),
)
# For a stream that cannot hold them: one character each, so that the columns stay in line.
_ASCII = str.maketrans("✓≈✗·–▾▿≡⇄→…│├└", "+~x.-vo=%>.||`")


@takes(report=REPORT, width=whole(LEAST_WIDTH), color=FLAG, detail=member_of(TraceLevel, "nobuco.TraceLevel"))
def render_text(
    report: Report, *, width: int = 80, color: bool = False, detail: TraceLevel = TraceLevel.DEFAULT
) -> str:
    """The report as text of `width` columns, with terminal colours if `color`.

    What lies inside a call that was converted as a whole is left out, and so are all but the first of several
    equal calls in a row; `TraceLevel.ALWAYS` shows everything.
    """
    tree = tuple(tree_lines(report.nodes, "", "", detail))
    lines = (laid_out(tree, width), _summary(report, width))
    return painted((legend(lines, width) if tree else [], *lines), color)


def painted(sections: Sequence[Sequence[Text]], color: bool) -> str:
    """Lines as text, with terminal colours if `color`, and an empty line between sections."""
    sink = io.StringIO()
    console = Console(
        file=sink,
        force_terminal=color,
        force_jupyter=False,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )
    for section in filter(None, sections):
        for line in section:
            line.rstrip()
            console.print(line, soft_wrap=True, highlight=False)
        if section is not sections[-1]:
            console.print()
    return sink.getvalue()


@takes(
    report=REPORT,
    file=Kind("a file that is open for writing", lambda file: hasattr(file, "write")) | NOTHING,
    detail=member_of(TraceLevel, "nobuco.TraceLevel"),
    width=whole(LEAST_WIDTH) | NOTHING,
    color=FLAG | NOTHING,
)
def print_report(
    report: Report,
    file: TextIO | None = None,
    *,
    detail: TraceLevel = TraceLevel.DEFAULT,
    width: int | None = None,
    color: bool | None = None,
) -> None:
    """Write the report to `file`, else to standard error, as wide and as colourful as that can show."""
    file = sys.stderr if file is None else file
    color = shows_color(file) if color is None else color
    width = min(shutil.get_terminal_size((100, 24)).columns, _MAX_WIDTH) if width is None else width
    text = render_text(report, width=width, color=color, detail=detail)
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    file.write(text)
    file.flush()


class Advance(Protocol):
    """Tells a bar that some steps are done."""

    def __call__(self, steps: int = 1) -> None:
        """Advance the bar."""


@contextmanager
def progress(total: int, label: str, enabled: bool = True) -> Iterator[Advance]:
    """A bar on standard error while the block runs, gone when it ends; nothing where that is no terminal."""
    if not enabled or not _is_terminal(sys.stderr):
        yield lambda steps=1: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps=1: bar.advance(task, steps)


def _is_terminal(file: Any) -> bool:
    isatty = getattr(file, "isatty", None)
    return bool(isatty and isatty())


def shows_color(file: TextIO) -> bool:
    """Colour for a terminal that can show it, unless the user forbids or demands it (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (_is_terminal(file) and os.environ.get("TERM") != "dumb")


def laid_out(tree: Sequence[Row | Remark], width: int) -> list[Text]:
    """The lines of a tree in `width` columns."""
    rows = [line for line in tree if isinstance(line, Row) and line.outputs]
    widest = max((cell_len(row.outputs) for row in rows), default=0)
    # Notes are rare and long: were the column to clear them too, it would stand far off to the right.
    column = max((row.length - cell_len(row.notes) for row in rows), default=0) + 2
    column = min(column, width - widest)
    lines: list[Text] = []
    for line in tree:
        if isinstance(line, Row):
            lines.append(_laid_out_row(line, column, width))
        else:
            lines.extend(_laid_out_remark(line, width))
    return lines


def _laid_out_row(row: Row, column: int, width: int) -> Text:
    guides = _tail(row.guides, width // 2)
    room = width - cell_len(f"{guides}{row.mark} ")
    notes = _elided(row.notes, room - min(cell_len(row.label), _SMALLEST_LABEL // 2))
    room, outputs = room - cell_len(notes), row.outputs
    if outputs and room - cell_len(outputs) - 2 >= min(cell_len(row.label), _SMALLEST_LABEL):
        room -= cell_len(outputs) + 2
    else:
        outputs = ""
    named = (f"{row.mark} {_elided(row.label, room)}", row.style)
    line = Text.assemble((guides, DIM), named, (notes, row.style.removeprefix("bold ")))
    if outputs:
        gap = max(column - line.cell_len, 2)
        line.append(" " * gap).append(outputs, DIM)
    return line


def _laid_out_remark(remark: Remark, width: int) -> list[Text]:
    guides = _tail(remark.guides, width // 2)
    texts = _wrapped(remark.text, width - cell_len(guides)) if remark.wraps else [remark.text]
    return [Text.assemble((guides, DIM), (text, remark.style)) for text in texts]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def _tail(guides: str, room: int) -> str:
    """The guides, or in a very deep tree their right end."""
    return guides if len(guides) <= room else "… " + guides[len(guides) - room + 2 :]


def _elided(text: str, room: int) -> str:
    """`text` in at most `room` columns, its middle left out: a name's ends tell most."""
    if cell_len(text) <= room:
        return text
    head, tail = "", ""
    while True:
        longer_head = head + text[len(head)]
        if cell_len(f"{longer_head}…{tail}") > room:
            return f"{head}…{tail}"
        head = longer_head
        longer_tail = text[len(text) - len(tail) - 1] + tail
        if cell_len(f"{head}…{longer_tail}") > room:
            return f"{head}…{tail}"
        tail = longer_tail


# What stands around the tree.


def legend(sections: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """What the marks that occur in these lines mean, in as few lines as hold it."""
    shown = " ".join(line.plain for section in sections for line in section)
    words = set(shown.replace("⇄", "⇄ ").split())
    lines, line = [], Text()
    for mark, style, meaning in _LEGEND:
        if mark[0] not in words and mark not in words:
            continue
        entry = Text.assemble((mark, f"bold {style}"), f" {meaning}")
        if line and line.cell_len + 3 + entry.cell_len > width:
            lines.append(line)
            line = Text()
        line = Text("   ").join([line, entry]) if line else entry
    return [*lines, line] if line else lines


def _summary(report: Report, width: int) -> list[Text]:
    mark, style, verdict = _verdict(report)
    title, *rest = _wrapped(f"{mark} {report.model}: {verdict}", width - 2)
    lines = [Text(title, f"bold {style}"), *(Text(f"  {line}", f"bold {style}") for line in rest)]
    for label, text, paint in _facts(report):
        # A source line is a link, so it is not to be broken.
        parts = [text] if text.startswith("File ") else _wrapped(text, width - 12)
        for number, part in enumerate(parts):
            lines.append(Text.assemble("  ", ("" if number else label).ljust(10), (part, paint)))
    return lines


def _verdict(report: Report) -> tuple[str, str, str]:
    counts = report.counts()
    done, imprecise = counts[Status.DONE], counts[Status.IMPRECISE]
    failed, unknown = counts[Status.FAILED], counts[Status.NO_CONVERTER]
    parts = [f"{done + imprecise} {'call' if done + imprecise == 1 else 'calls'} converted"]
    parts += [f"{imprecise} of them imprecise"] if imprecise else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{unknown} without a converter"] if unknown else []
    count = report.transpositions
    parts += [f"{count} transposition{'' if count == 1 else 's'}" if count else "no transpositions"]
    status = Status.FAILED if failed or unknown else Status.DONE if report.ok else Status.IMPRECISE
    return (*MARKS[status], ", ".join(parts))


def _place(report: Report, node: NodeReport) -> str:
    """The call's name after the path of the module that it is, or else of the one that made it."""

    def found(nodes: Sequence[NodeReport], path: str) -> str | None:
        for at in nodes:
            here = at.path or path
            if at is node:
                return f"{here}: {label_of(at, at.path)}" if here else label_of(at, "")
            if (place := found(at.children, here)) is not None:
                return place
        return None

    return found(report.nodes, "") or label_of(node, "")


def _facts(report: Report) -> Iterator[tuple[str, str, str]]:
    gravest = worst(report.outputs)
    if gravest is not None:
        which = next(i for i, output in enumerate(report.outputs, 1) if output is gravest)
        of_several = f"{which} of {len(report.outputs)}: " if len(report.outputs) > 1 else ""
        yield "outputs", of_several + gravest.describe(), "" if gravest.matches else "yellow"
    for tried in report.trials:
        if not tried.ok:
            yield "tried", f"{tried.about}: {tried.describe()}", "red"
    cause, largest = report.first_bad(), report.worst_node()
    if cause is not None:
        yield "first bad", _place(report, cause), ""
        yield "", str(cause.invoked), ""
    if largest is not None and largest.accumulated is not None and largest is not cause:
        yield "worst", f"{_place(report, largest)}, {figures(largest.accumulated)}", ""
    if report.stages:
        stages = [f"{stage} {seconds:.1f} s" for stage, seconds in report.stages.items()]
        yield "time", f"{report.seconds:.1f} s: {', '.join(stages)}", ""
    for warning in report.warnings:
        yield "warning", clean(warning), "yellow"
