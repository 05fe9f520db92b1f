"""Which wrong converters the plugin lets through: its converter items, and its tests of models.

    python -m conformance.mutants                 # writes conformance/MUTANTS.md; an hour
    python -m conformance.mutants '*Conv2d*'      # those whose names match; the page's other rows stay
    python -m conformance.mutants --missing       # those that have no row yet: goes on where a run was stopped

Each mutant stands in the place of the built-in converter, and is tried as an item of `pytest --nobuco-converters` is:
on the same samples, by the same comparison. Only one form of it, channels-last, static, Keras, unless the fault is one
of another form: what that lets through, the others hardly catch. Then a session of pytest converts a small network for
each, with the operation inside, and its failure has to name the operation as the culprit. The exit status is 1 if a
mutant survives either.
"""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from conformance.mutants.in_models import found_by_models
from conformance.mutants.rules import Mutant
from conformance.mutants.run import Verdict, form_of, verdicts
from conformance.mutants.table import MUTANTS
from pytest_nobuco.options import Options

TABLE = Path(__file__).parents[1] / "MUTANTS.md"
# After so many the page is written, so that a run that is stopped loses few.
_AT_ONCE = 20
# How a row says it.
_CAUGHT, _RAISED, _SURVIVED, _NAMED = "| caught |", "| raises |", "| **survived** |", "| named |"


def main() -> int:
    """Try the mutants, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="which mutants, as globs on their names")
    parser.add_argument("--missing", action="store_true", help="only mutants that have no row in the page")
    parser.add_argument("--samples", type=int, help="how many samples an item takes, as --nobuco-samples")
    arguments = parser.parse_args()
    known = {_name(line): line for line in TABLE.read_text().splitlines() if line.startswith("| `")}
    chosen = [
        mutant
        for mutant in MUTANTS
        if any(fnmatch.fnmatch(mutant.name, pattern) for pattern in arguments.patterns)
        and not (arguments.missing and mutant.name in known)
    ]
    chosen.sort(key=lambda mutant: repr(form_of(mutant)))  # which share their samples
    start = time.monotonic()
    rows: dict[str, str] = {}
    for place in range(0, len(chosen), _AT_ONCE):
        rows |= tried_rows(chosen[place : place + _AT_ONCE], Options(samples=arguments.samples))
        known |= rows
        in_order = {mutant.name: known[mutant.name] for mutant in MUTANTS if mutant.name in known}
        TABLE.write_text("\n".join(page(in_order, len(rows), time.monotonic() - start)) + "\n")
        print(f"{len(rows)}/{len(chosen)}", file=sys.stderr, flush=True)
    survivors = [row for row in rows.values() if _SURVIVED in row or _NAMED not in row]
    print("\n".join(survivors))
    return bool(survivors)


def tried_rows(mutants: Sequence[Mutant], options: Options) -> dict[str, str]:
    """The page's row of each mutant, by its name."""
    found = []
    for verdict in verdicts(mutants, options):
        found.append(verdict)
        print(f"{verdict.mutant.name}: {_outcome(verdict)}", file=sys.stderr, flush=True)
    amiss = found_by_models((verdict.mutant, verdict.calls) for verdict in found)
    return {verdict.mutant.name: _row(verdict, amiss[verdict.mutant.name]) for verdict in found}


def page(rows: Mapping[str, str], count: int, seconds: float) -> Iterator[str]:
    """The page, `count` of whose rows are new."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    yield "# Mutants"
    yield ""
    caught, raised = (sum(text in row for row in rows.values()) for text in (_CAUGHT, _RAISED))
    named = sum(_NAMED in row for row in rows.values())
    yield "`python -m conformance.mutants`. Wrong converters in the places of the built-in ones, each tried as an"
    yield "item of `pytest --nobuco-converters` is, channels-last, static, in Keras, unless the fault is one of another"
    yield f"form, with the first sample that caught it. **{caught + raised} of {len(rows)} are caught**, {raised} of"
    yield "them since they raise. *In a model*: a network that calls the operation between two scalings is an item of"
    yield f"`pytest`, whose failure names the mutated call as the culprit. **{named} of {len(rows)} are named.**"
    when = f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip()}"
    yield f"The last run ({when}) tried {count} in {seconds:.0f} s."
    yield ""
    yield "| converter | fault | outcome | in a model | by |"
    yield "|---|---|---|---|---|"
    yield from rows.values()


def _row(verdict: Verdict, amiss: str) -> str:
    """The row of a mutant; `amiss` is what the model's test says, nothing where it names the mutant."""
    operation, _, kind = verdict.mutant.name.partition(": ")
    told = f"**{' '.join(amiss.replace('|', '/').split()):.120}**" if amiss else "named"
    return f"| `{operation}` | {kind} | {_outcome(verdict)} | {told} | {verdict.by.replace('|', '/'):.120} |"


def _name(row: str) -> str:
    operation, kind, *_ = row.removeprefix("| ").split(" | ")
    return f"{operation.strip('`')}: {kind}"


def _outcome(verdict: Verdict) -> str:
    return "raises" if verdict.raised else "caught" if verdict.caught else "**survived**"


if __name__ == "__main__":
    sys.exit(main())
