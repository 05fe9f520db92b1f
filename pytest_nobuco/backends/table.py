"""The table of backends side by side, as rows of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EAGER = "PyTorch eager"
HEADS = ("", "parity", "transp.", "ops", "size", "convert", "memory", "latency")
NOTE = (
    "parity: the largest difference as a fraction of the output's largest element; transp.: operations that only "
    "transpose; latency: the median on one thread, in turns in one process (*: in the backend's own)"
)


@dataclass(frozen=True)
class BackendRow:
    """One backend and one model; None where something is not known.

    problem: why there is nothing to measure; wrong: how outputs differ, beyond the bound.
    seconds, cpu_seconds, peak: of the conversion, `peak` in bytes of memory.
    median: seconds of one run. `elsewhere`: it was timed in the backend's own process.
    """

    backend: str
    problem: str = ""
    wrong: str = ""
    max_rel: float | None = None
    transpositions: int | None = None
    operations: int | None = None
    size: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak: float | None = None
    median: float | None = None
    elsewhere: bool = False
    orders: str = ""
    version: str = ""


def words_of(row: BackendRow) -> list[str]:
    """A row of the table."""
    if row.problem:
        return [row.backend, "fails", *[""] * 6]
    parity = "" if row.backend == EAGER else "broken" if row.max_rel is None else f"{row.max_rel:.1e}"
    return [
        row.backend,
        f"✗ {parity}" if row.wrong else parity,
        _told(row.transpositions),
        _told(row.operations),
        "" if row.size is None else f"{row.size / 1e6:.1f} MB" if row.size >= 1e5 else f"{row.size / 1e3:.1f} kB",
        "" if row.seconds is None else f"{row.seconds:.1f} s",
        "" if row.peak is None else f"{row.peak / 1e9:.1f} GB",
        "" if row.median is None else f"{row.median * 1e3:.3g} ms{'*' if row.elsewhere else ''}",
    ]


def lines_of(model: str, rows: Sequence[BackendRow]) -> Iterator[str]:
    """The table of one model as text."""
    yield model
    table = [HEADS, *map(words_of, rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for words in table:
        first, *rest = [
            f"{word:{'>' if place else '<'}{wide}}" for place, (word, wide) in enumerate(zip(words, widths))
        ]
        yield "  ".join(["", first, *rest]).rstrip()
    for row in rows:
        if row.problem or row.wrong:
            yield f"    {row.backend}: {(row.problem or row.wrong).splitlines()[0]}"


def _told(number: int | None) -> str:
    return "" if number is None else str(number)
