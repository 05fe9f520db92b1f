"""The rows as a page, with the known gaps and what could not be tried."""

from __future__ import annotations

import datetime
import importlib.metadata
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from conformance.zoo.dynamic import Dynamic
from conformance.zoo.measure import Row
from conformance.zoo.rows import read

_PACKAGES = ("torch", "tensorflow", "keras", "ai-edge-litert", "timm", "transformers")
_HEAD = """\
# Other people's networks

Small networks with random weights, converted, exported and compared with PyTorch within 1e-4 of the largest output, on
the inputs of the conversion and on others: one of each of timm's families, and every architecture of transformers that
a tiny configuration was found for. `seconds` are those of a processor, from trace to file; `GB` is the most memory that
the process had, its imports included.
"""
_DYNAMIC = """\
the column `dynamic`.
Each network is converted with those axes dynamic that PyTorch itself takes at other lengths, all at once, and compared
at one smaller, one larger and one odd size, of unequal axes where it takes these; masks are all ones in the example,
and have padding in front of one sentence and behind another when run. `right` says that nothing was warned of either;
`told` that the Keras model refuses a size with the region in which it is right, which the conversion has warned of;
`static` that PyTorch takes the example's sizes alone.
"""


def page(path: Path, dynamic_path: Path) -> str:
    """The page of the rows of two files: as converted, and with dynamic axes."""
    rows = sorted(read(path, Row).values(), key=lambda row: row.name)
    dynamic = read(dynamic_path, Dynamic)
    parts = [_HEAD, _made(), _made_dynamic(dynamic.values())]
    for zoo in ("timm", "transformers"):
        parts += _of_zoo(zoo, [row for row in rows if row.zoo == zoo], dynamic)
    return "\n".join(parts)


def commit() -> str:
    """The commit of the code, as it is now."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


def _made() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    command = "python -m conformance.zoo --timm --transformers --resume --page conformance/ZOO.md"
    return (
        f"`{command}`: the page was made on {datetime.date.today()}, at commit {commit()}, its rows before, each with "
        f"the code of its hour; {versions}.\n"
    )


def _made_dynamic(rows: Collection[Dynamic]) -> str:
    commits = ", ".join(sorted({row.commit for row in rows if row.commit}))
    return f"`python -m conformance.zoo --timm --transformers --dynamic --resume`, at commits {commits}: {_DYNAMIC}"


def _of_zoo(zoo: str, rows: Sequence[Row], dynamic: Mapping[tuple[str, str], Dynamic]) -> Iterator[str]:
    tried = [row for row in rows if row.is_network]
    yield f"## {zoo}\n"
    if not tried:
        yield "Not run.\n"
        return
    for runtime, good in (("Keras", [r.keras_ok for r in tried]), ("TFLite", [r.tflite_ok for r in tried])):
        yield f"{runtime}: {sum(good)} of {len(tried)} ({100 * sum(good) / len(tried):.1f} %) are right.\n"
    words = Counter(row.word or "error" for (where, _), row in dynamic.items() if where == zoo)
    found = ", ".join(f"{n} {word}" for word, n in words.most_common())
    yield f"Dynamic: of {words.total()} that were tried, {found}.\n"
    yield "| network | inputs | Keras | TFLite | operations | TRANSPOSE | MB | seconds | GB | dynamic |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from (f"{_line(row)} {_dynamic(dynamic.get((zoo, row.name)))} |" for row in tried)
    alone = [row for (where, name), row in dynamic.items() if where == zoo and name not in {r.name for r in tried}]
    if alone:
        yield f"\nWith dynamic axes alone: {'; '.join(f'{row.name} {_dynamic(row)}' for row in alone)}."
    untried = [row for row in rows if not row.is_network]
    if untried:
        yield f"\n{len(untried)} that no small network was found of:\n"
        yield from (f"- {row.name}: {_short(row.error, 200)}" for row in untried)
    yield ""


def _dynamic(row: Dynamic | None) -> str:
    """The word, with the axes, and what there is to say where it is not right."""
    if row is None:
        return "not run"
    axes = f" ({', '.join(row.axes)})" if row.axes else ""
    if row.is_right:
        return f"{row.word}{axes}"
    said = row.error or row.about or " ".join(row.warned)
    return f"**{row.word or 'error'}**{axes}: {_short(said, 200)}"


def _line(row: Row) -> str:
    keras = _cell(row, row.keras, row.elsewhere, row.off)
    tflite = _cell(row, row.tflite, row.tflite_elsewhere, row.tflite_off)
    seconds = sum(row.seconds.get(stage, 0) for stage in ("convert", "tflite"))
    return (
        f"| {row.name} | {', '.join(row.inputs)}; {row.described} | {keras} | {tflite} | {row.operations} "
        f"| {row.transposes} | {row.megabytes:.1f} | {seconds:.0f} | {row.gigabytes:.1f} |"
    )


def _cell(row: Row, here: str, elsewhere: str, off: float | None) -> str:
    """How far it is off where it is right, else what is wrong."""
    if here == elsewhere == "ok":
        return f"{off or 0:.0e}"
    if not here:
        return f"**{row.stage}**: {_short(row.error, 120)}"
    return f"**wrong**: {_short(here, 120)}" if here != "ok" else f"**wrong on other inputs**: {_short(elsewhere, 120)}"


def _short(text: str, length: int) -> str:
    return " ".join(text.split()).replace("|", "/")[:length]
