"""`COVERAGE.md` from what `conformance.coverage` measured, and a check that the known gaps are those that there are.

    python -m conformance.coverage --all --tflite --out operations.jsonl
    python -m conformance.coverage --modules --all --tflite --out modules.jsonl
    python -m conformance.coverage_page operations.jsonl modules.jsonl > conformance/COVERAGE.md

A line of `coverage_gaps.txt` is `NAME  # REASON`. What does not match in Keras must stand there, and what stands there
must not match: otherwise the page is not made, and the difference is told. What TFLite lacks, its converter says.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.coverage.measure import Result
from conformance.coverage.verdicts import ATOL, RTOL

GAPS = Path(__file__).with_name("coverage_gaps.txt")
_INTRODUCTION = """\
Made by `python -m conformance.coverage_page`, {date}: up to {most} float32 samples of each entry of PyTorch's own
OpInfo and ModuleInfo databases, spread over those that it has, converted and compared with PyTorch in Keras and in a
TFLite file without Flex operations (rtol {rtol:g}, atol {atol:g}); of random ones shape and dtype, and that the numbers
are not those of the trace. A TFLite file gives complex numbers as pairs (`torch.view_as_real`). Samples of which
PyTorch gives nothing but NaN are left out. *Opened*: these calls have no converter of their own, and are converted
through the ATen calls that PyTorch makes of them (`python -m nobuco coverage torch.linalg.pinv` names those)."""
_LACKS = re.compile(r"TFLite does not have ([\w, ]+)")


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", type=Path, help="what was measured of OpInfo's operations")
    parser.add_argument("modules", type=Path, help="what was measured of ModuleInfo's modules")
    options = parser.parse_args()
    parts = {"Operations": read(options.operations), "Modules": read(options.modules)}
    gaps = known_gaps(GAPS.read_text().splitlines())
    wrong = list(disagreements([result for part in parts.values() for result in part], gaps))
    if wrong:
        sys.exit("\n".join(wrong))
    print("\n".join(page(parts, gaps, datetime.date.today())))


def read(path: Path) -> list[Result]:
    """The results in a file, by name."""
    return sorted((Result(**json.loads(line)) for line in path.read_text().splitlines()), key=lambda r: r.name)


def known_gaps(lines: Sequence[str]) -> dict[str, str]:
    """The reasons by name."""
    split = (line.partition("  #") for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): reason.strip() for name, _, reason in split}


def disagreements(results: Sequence[Result], gaps: Mapping[str, str]) -> Iterator[str]:
    """Where the known gaps are not those that were measured."""
    failing = {result.name: result for result in results if not result.ok and not result.left_out}
    for name in sorted(failing.keys() - gaps.keys()):
        said = next(said for said in failing[name].keras if said != "ok")
        yield f"{name} does not match, and {GAPS.name} does not say why: {said}"
    for name in sorted(gaps.keys() - failing.keys()):
        yield f"{name} stands in {GAPS.name}, and matches, or was not measured: remove the line"


def page(parts: Mapping[str, Sequence[Result]], gaps: Mapping[str, str], date: datetime.date) -> Iterator[str]:
    """The lines of the page."""
    yield "# Coverage"
    yield ""
    most = max(len(result.keras) for results in parts.values() for result in results)
    yield _INTRODUCTION.format(date=date, most=most, rtol=RTOL, atol=ATOL)
    yield ""
    yield "| | measured | match in Keras | match in TFLite | samples in Keras | samples in TFLite |"
    yield "|---|---|---|---|---|---|"
    for title, results in parts.items():
        yield _total(title, [result for result in results if not result.left_out])
    for title, results in parts.items():
        yield from ("", f"## {title}", "", "| | Keras | TFLite | opened | gap |", "|---|---|---|---|---|")
        yield from (_row(result, gaps) for result in results if not result.left_out)
        left_out = [f"{result.name} ({result.left_out})" for result in results if result.left_out]
        yield from ("", f"Not measured: {', '.join(left_out) or 'none'}.")


def _total(title: str, results: Sequence[Result]) -> str:
    keras, tflite = sum(r.ok for r in results), sum(r.tflite_ok for r in results)
    said = [[said for r in results for said in samples(r)] for samples in (lambda r: r.keras, lambda r: r.tflite)]
    shares = [f"{said_ok} of {count} ({100 * said_ok / count:.1f} %)" for said_ok, count in (
        (keras, len(results)), (tflite, len(results)), *((one.count("ok"), len(one)) for one in said)
    )]  # fmt: skip
    return f"| {title} | {len(results)} | {' | '.join(shares)} |"


def _row(result: Result, gaps: Mapping[str, str]) -> str:
    cells = [f"{'✓' if all_ok else '✗'} {said.count('ok')}/{len(said)}" for said, all_ok in (
        (result.keras, result.ok), (result.tflite, result.tflite_ok)
    )]  # fmt: skip
    gap = gaps.get(result.name, "") or ("" if result.tflite_ok else _of_tflite(result.tflite))
    return f"| {result.name} | {' | '.join(cells)} | {', '.join(result.opened)} | {gap} |"


def _of_tflite(said: Sequence[str]) -> str:
    """Why samples fail in TFLite, in its converter's words as far as it says what is lacking."""
    failed = [one for one in said if one != "ok"]
    lacking = {name for one in failed for found in _LACKS.findall(one) for name in found.split(", ")}
    others = [one for one in failed if not _LACKS.search(one)]
    parts = [f"TFLite has no {', '.join(sorted(lacking))}"] if lacking else []
    return "; ".join([*parts, *(_brief(one) for one in others[:1])])


def _brief(said: str) -> str:
    return said.replace("|", "/")[:160]


if __name__ == "__main__":
    main()
