"""The command line: `python -m conformance.fuzz FAMILY --seed S --n N`, and `python -m conformance.fuzz table`.

The family `all` is a mixture of them. The status is 1 where a program failed in a way that `gaps.txt` does not know.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter
from pathlib import Path

from conformance.fuzz import table
from conformance.fuzz.families import ALL, FAMILIES, Run
from conformance.fuzz.gaps import known, unknown_failures
from conformance.fuzz.supervising import supervise

RESULTS = Path("fuzz.jsonl")


def main() -> None:
    """Run a family, or write the table."""
    options = _options()
    if options.work:
        _work(json.loads(options.work))
    elif options.family == "table":
        table.write(options.results)
    else:
        run = Run(options.family, options.seed)
        indices = range(options.first, options.first + options.n) if options.only is None else [options.only]
        print(f"seed {run.seed}", flush=True)
        supervise(run, indices, options.results, options.shrink, options.seconds, options.told)
        entries = table.read(options.results)
        print(table.summary(entries))
        mine = [e for e in entries if (e["family"], e["seed"]) == (run.family, run.seed)]
        sys.exit(bool(unknown_failures(mine, list(known()))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance.fuzz", description=__doc__)
    parser.add_argument("family", nargs="?", default="table", choices=[*FAMILIES, ALL, "table"])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what the programs are drawn from")
    parser.add_argument("--n", type=int, default=100, help="how many programs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--only", type=int, help="the number of the only one")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no program after this time")
    parser.add_argument("--shrink", type=float, default=60, help="processor seconds for Hypothesis to shrink a failure")
    parser.add_argument("--told", action="store_true", help="shrink what was warned of, too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines, to which results are added")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


def _work(task: dict[str, object]) -> None:
    from conformance.fuzz.working import work

    run = Run(str(task["family"]), int(task["seed"]))
    for entry in work(run, task["indices"], task["shrink"], Counter(task["seen"]), task["told"]):
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main()
