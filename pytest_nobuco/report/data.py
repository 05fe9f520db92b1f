"""What a session found, as plain data, worst first; JSON, Markdown, HTML and the terminal are functions of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_nobuco.results import LatencyRow, OutputResult

FAILING = ("failed", "error")
MARKS = {"passed": "✓", "failed": "✗", "error": "✗", "xfailed": "~", "xpassed": "~", "skipped": "–"}
MEANINGS = {
    "passed": "matches PyTorch",
    "failed": "fails",
    "error": "could not be set up",
    "xfailed": "known gap",
    "xpassed": "passes, though a known gap",
    "skipped": "skipped",
}
# What an output's text says where no figure can: the sentences of `nobuco.parity.Difference`.
_KINDS = (("Shape is", "shape"), ("Dtype is", "dtype"), ("NaN in", "NaN"), ("Infinity in", "inf"))
# From fine to grave; what is skipped says nothing, so it comes last in a table that begins with the worst.
_GRAVITY = {"skipped": 0, "passed": 1, "xfailed": 2, "xpassed": 3, "failed": 4, "error": 4}
_COLUMNS_AT_MOST = 8
_GAPS = ("xfailed", "xpassed")


@dataclass(frozen=True)
class Cell:
    """One item: a model or a converter in one form. The fields are those of `ItemResult` and of its test's report.

    outcome: as pytest counts it: passed, failed, error, skipped, xfailed or xpassed.
    message: the text of the failure, or the reason of a skip or of a known gap.
    duration: seconds, set-up included.
    """

    nodeid: str
    kind: str
    model: str
    case: str
    outcome: str
    axes: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[OutputResult, ...] = ()
    bound: str = ""
    message: str = ""
    duration: float = 0.0
    conversion: str = ""
    worst_node: str | None = None
    command: str = ""
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether the session fails by it."""
        return self.outcome in FAILING

    @property
    def max_abs(self) -> float | None:
        """The largest difference of any output; None where nothing was measured, or something has no measure."""
        figures = [output.max_abs for output in self.outputs]
        if any(figure is None or not math.isfinite(figure) for figure in figures):
            return None
        return max((figure for figure in figures if figure is not None), default=None)

    @property
    def snr(self) -> float | None:
        """The least signal-to-noise ratio of any output in dB, where the runtime quantises."""
        ratios = [output.snr for output in self.outputs if output.snr is not None]
        return min(ratios) if ratios and len(ratios) == len(self.outputs) else None

    @property
    def figure(self) -> str:
        """The largest difference (or the least ratio) in a few characters, or a word where there is none."""
        if self.snr is not None:
            return "0" if math.isinf(self.snr) and self.snr > 0 else f"{self.snr:.1f} dB"
        if self.max_abs is not None:
            return figure_text(self.max_abs)
        texts = " ".join(output.text for output in self.outputs)
        kinds = [word for sentence, word in _KINDS if sentence in texts]
        if self.outputs:
            return "+".join(kinds) or self.outcome
        return {"passed": "", "xfailed": "known gap"}.get(self.outcome, self.outcome)

    @property
    def rank(self) -> tuple[float, float]:
        """The larger, the worse; a failure without a figure is worse than one by any."""
        fallback = math.inf if self.fails else 0.0
        return _GRAVITY[self.outcome], fallback if self.max_abs is None else self.max_abs


@dataclass(frozen=True)
class Row:
    """All forms of one model or converter, in the order in which they stand in a table."""

    kind: str
    model: str
    cells: tuple[Cell, ...]

    @property
    def failing(self) -> tuple[Cell, ...]:
        """The cells that fail, worst first."""
        return worst_first([cell for cell in self.cells if cell.fails])

    @property
    def worst(self) -> Cell:
        """The cell to look at first."""
        return worst_first(self.cells)[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of it though it may match, each once."""
        return tuple(dict.fromkeys(text for cell in self.cells for text in cell.warnings))

    @property
    def tally(self) -> str:
        """How many forms match of those that were compared, and why the others were not."""
        numbers = Counter("gap" if cell.outcome in _GAPS else cell.outcome for cell in self.cells)
        words = [f"{self.matching} of {self.compared} match"] if self.compared else []
        words += [f"{numbers['skipped']} skipped"] if numbers["skipped"] else []
        words += [count(numbers["gap"], "known gap")] if numbers["gap"] else []
        return ", ".join(words)

    @property
    def compared(self) -> int:
        """How many forms were to match."""
        return sum(cell.outcome not in ("skipped", *_GAPS) for cell in self.cells)

    @property
    def matching(self) -> int:
        """In how many forms it matches."""
        return sum(cell.outcome == "passed" for cell in self.cells)


@dataclass(frozen=True)
class SuiteReport:
    """A whole session, rows worst first.

    conversions: how many ran; forms share them.
    graphs: `nobuco.report.report_to_dict` by `Cell.conversion`, of what fails and of each model's worst form.
    backends: of each model, the rows of the table of backends (`pytest_nobuco.backends.table.BackendRow`).
    environment: versions and processor, by what they are called.
    complete: False if the session was interrupted.
    """

    rows: tuple[Row, ...]
    conversions: int = 0
    graphs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    latency: tuple[LatencyRow, ...] = ()
    backends: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    date: str = ""
    seconds: float = 0.0
    complete: bool = True

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, by row."""
        return tuple(cell for row in self.rows for cell in row.cells)

    @property
    def fails(self) -> bool:
        """Whether any cell does."""
        return any(cell.fails for cell in self.cells)

    @property
    def totals(self) -> str:
        """How much ran, in words."""
        items = count(len(self.cells), "item")
        return f"{count(self.conversions, 'conversion')} for {items}" if self.conversions else items

    def of_kind(self, kind: str) -> tuple[Row, ...]:
        """The rows of models ("parity") or of converters ("converter")."""
        return tuple(row for row in self.rows if row.kind == kind)


def rows_of(cells: Iterable[Cell]) -> tuple[Row, ...]:
    """One row per model, worst first; a row's cells keep their order."""
    by_model: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        by_model.setdefault((cell.kind, cell.model), []).append(cell)
    rows = [Row(kind, model, tuple(members)) for (kind, model), members in by_model.items()]
    return tuple(sorted(rows, key=lambda row: (*_descending(row.worst.rank), -len(row.failing), row.model)))


def worst_first(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells by rank; equals keep their order."""
    return tuple(sorted(cells, key=lambda cell: _descending(cell.rank)))


def figure_text(number: float) -> str:
    """A difference in at most seven characters."""
    return f"{number:.1e}" if number else "0"


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Columns:
    """How the forms are laid out: a column each while they are few, else one per runtime with its worst form."""

    labels: tuple[str, ...]
    label_of: Callable[[Cell], str]
    are_cases: bool

    def cells(self, row: Row, label: str) -> tuple[Cell, ...]:
        """What a row has in a column, worst first."""
        return worst_first([cell for cell in row.cells if self.label_of(cell) == label])


def columns(rows: Sequence[Row]) -> Columns:
    """The columns of a table of these rows."""
    cells = [cell for row in rows for cell in row.cells]
    cases = tuple(dict.fromkeys(cell.case for cell in cells))
    if len(cases) <= _COLUMNS_AT_MOST:
        return Columns(cases, lambda cell: cell.case, are_cases=True)
    return Columns(tuple(dict.fromkeys(map(runtime_of, cells))), runtime_of, are_cases=False)


def runtime_of(cell: Cell) -> str:
    """The runtime, behind the backend if it is not nobuco; the whole case where the item did not say."""
    runtime, backend = cell.axes.get("runtime", cell.case), cell.axes.get("backend")
    return f"{backend}:{runtime}" if backend else runtime


def form_of(cell: Cell) -> tuple[str, ...]:
    """The parts of the case other than the runtime, the two channel orders in one."""
    rest = {name: value for name, value in cell.axes.items() if name != "runtime"}
    ends = [rest.pop(name) for name in ("inputs", "outputs") if name in rest]
    return (*(["→".join(ends)] if ends else []), *rest.values())


def _descending(rank: tuple[float, float]) -> tuple[float, float]:
    return -rank[0], -rank[1]
