"""Which wrong converters the plugin lets through: its converter items, and its tests of models.

    python -m conformance.mutants > conformance/MUTANTS.md
    python -m conformance.mutants '*Conv2d*'      # those whose names match

Each mutant stands in the place of the built-in converter, and is tried as an item of `pytest --nobuco-converters` is:
on the same samples, by the same comparison. Only one form of it, channels-last, static, Keras: what that lets through,
the others hardly catch. Then a session of pytest converts a small network for each, with the operation inside, and its
failure has to name the operation as the culprit. The exit status is 1 if a mutant survives either.
"""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from conformance.mutants.in_models import found_by_models
from conformance.mutants.run import Verdict, verdicts
from conformance.mutants.table import MUTANTS
from pytest_nobuco.options import Options


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which mutants, as a glob on their names")
    parser.add_argument("--samples", type=int, help="how many samples an item takes, as --nobuco-samples")
    parser.add_argument("--survivors", action="store_true", help="print only those that survive")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if fnmatch.fnmatch(mutant.name, arguments.pattern)]
    start = time.monotonic()
    found = []
    for verdict in verdicts(chosen, Options(samples=arguments.samples)):
        found.append(verdict)
        print(f"{len(found)}/{len(chosen)} {verdict.mutant.name}: {_outcome(verdict)}", file=sys.stderr, flush=True)
    amiss = found_by_models((verdict.mutant, verdict.calls) for verdict in found)
    survivors = [verdict for verdict in found if not verdict.caught or amiss[verdict.mutant.name]]
    shown = survivors if arguments.survivors else found
    print("\n".join(table(found, shown, amiss, time.monotonic() - start)))
    return bool(survivors)


def table(
    found: Sequence[Verdict], shown: Sequence[Verdict], amiss: Mapping[str, str], seconds: float
) -> Iterator[str]:
    """The page; `amiss` is what models' tests say, by mutant, which is nothing where they name it."""
    caught = sum(verdict.caught for verdict in found)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    yield "# Mutants"
    yield ""
    when = f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip()}, {seconds:.0f} s"
    yield f"`python -m conformance.mutants`; {when}. Wrong converters in the places of the built-in"
    yield "ones, each tried as an item of `pytest --nobuco-converters` is, channels-last, static, in Keras, with the"
    raised = sum(verdict.raised for verdict in found)
    yield f"first sample that caught it. **{caught} of {len(found)} are caught**, {raised} of them since they raise."
    named = sum(not amiss[verdict.mutant.name] for verdict in found)
    yield "*In a model*: a network that calls the operation between two scalings is an item of `pytest`, whose failure"
    yield f"names the mutated call as the culprit. **{named} of {len(found)} are named.**"
    yield ""
    yield "| converter | fault | outcome | in a model | by |"
    yield "|---|---|---|---|---|"
    for verdict in shown:
        operation, _, kind = verdict.mutant.name.partition(": ")
        told = " ".join(amiss[verdict.mutant.name].replace("|", "/").split())
        model = f"**{told:.120}**" if told else "named"
        yield f"| `{operation}` | {kind} | {_outcome(verdict)} | {model} | {verdict.by.replace('|', '/'):.120} |"


def _outcome(verdict: Verdict) -> str:
    return "raises" if verdict.raised else "caught" if verdict.caught else "**survived**"


if __name__ == "__main__":
    sys.exit(main())
