"""The rows as a page, with the known gaps and what could not be tried."""

from __future__ import annotations

import datetime
import importlib.metadata
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

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


def page(path: Path) -> str:
    """The page of the rows of a file."""
    rows = sorted(read(path).values(), key=lambda row: row.name)
    parts = [_HEAD, _made()]
    for zoo in ("timm", "transformers"):
        parts += _of_zoo(zoo, [row for row in rows if row.zoo == zoo])
    return "\n".join(parts)


def commit() -> str:
    """The commit of the code, as it is now."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


def _made() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    command = "python -m conformance.zoo --timm --transformers --page conformance/ZOO.md"
    return f"`{command}`, {datetime.date.today()}, commit {commit()}, {versions}.\n"


def _of_zoo(zoo: str, rows: Sequence[Row]) -> Iterator[str]:
    tried = [row for row in rows if row.is_network]
    yield f"## {zoo}\n"
    if not tried:
        yield "Not run.\n"
        return
    for runtime, good in (("Keras", [r.keras_ok for r in tried]), ("TFLite", [r.tflite_ok for r in tried])):
        yield f"{runtime}: {sum(good)} of {len(tried)} ({100 * sum(good) / len(tried):.1f} %) are right.\n"
    yield "| network | inputs | Keras | TFLite | operations | TRANSPOSE | MB | seconds | GB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    yield from (_line(row) for row in tried)
    untried = [row for row in rows if not row.is_network]
    if untried:
        yield f"\n{len(untried)} that no small network was found of:\n"
        yield from (f"- {row.name}: {_short(row.error, 200)}" for row in untried)
    yield ""


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
