"""`FUZZ.md`: how many programs of each family ended how."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance.fuzz.outcome import Outcome

PAGE = Path(__file__).parents[1] / "FUZZ.md"
_INTRODUCTION = """\
# Random programs

Programs that no one wrote, from `python -m conformance.fuzz FAMILY --seed S --n N`, each converted on its example and
compared with PyTorch there, on other values, and, where axes are dynamic, at smaller, odd, far larger and other sizes;
a tenth of them in TFLite, too. What PyTorch itself cannot run at a size does not count there. This page is made by
`python -m conformance.fuzz table`.

"""


def read(path: Path) -> list[dict[str, Any]]:
    """The results in a file; of a program that was run twice, the later."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return list({(e["family"], e["seed"], e["index"]): e for e in entries}.values())


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """Families by outcomes, as a table in Markdown."""
    return "\n".join(_rows(entries))


def write(results: Path) -> None:
    """Write the page from a file of results."""
    entries = read(results)
    commits = sorted({f"{e['commit']} ({e['date']})" for e in entries})
    commands = sorted({f"`python -m conformance.fuzz {f} --seed {s} --n {n}`" for (f, s), n in _runs(entries).items()})
    ran = [f"Commit {', '.join(commits)}.", "", *(f"- {command}" for command in commands)]
    PAGE.write_text(_INTRODUCTION + summary(entries) + "\n\n" + "\n".join(ran) + "\n")


def _runs(entries: Sequence[dict[str, Any]]) -> Counter[tuple[str, int]]:
    return Counter((e["family"], e["seed"]) for e in entries)


def _rows(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    counted = [outcome for outcome in Outcome if outcome is not Outcome.VOID]
    yield "| family | programs | " + " | ".join(outcome.value for outcome in counted) + " |"
    yield "|---" * (len(counted) + 2) + "|"
    for family in dict.fromkeys(e["family"] for e in entries):
        found = Counter(e["outcome"] for e in entries if e["family"] == family)
        programs = found.total() - found[Outcome.VOID.name]
        yield f"| {family} | {programs} | " + " | ".join(str(found[outcome.name]) for outcome in counted) + " |"
