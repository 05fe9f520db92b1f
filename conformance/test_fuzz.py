"""Some random programs of each family: none is silently wrong, none ends in a raw traceback, none hangs.

They are the same ones each time, so that a change is judged by itself; `NOBUCO_FUZZ_SEED=fresh` draws others. The seed
is printed, and each failure comes with the command that runs its program again.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.fuzz.families import FAMILIES
from conformance.fuzz.gaps import known, unknown_failures
from conformance.fuzz.supervising import described
from conformance.fuzz.table import read

PROGRAMS = 8
FEWER = {"loops": 3}  # each is run at eighty rounds, one by one
SECONDS = 120


def _seed() -> int:
    asked = os.environ.get("NOBUCO_FUZZ_SEED", "7")
    return random.SystemRandom().randrange(10**6) if asked == "fresh" else int(asked)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_programs(family: str, tmp_path: Path):
    seed, results = _seed(), tmp_path / "results.jsonl"
    options = {
        "--seed": seed,
        "--n": FEWER.get(family, PROGRAMS),
        "--seconds": SECONDS,
        "--shrink": 0,
        "--results": results,
    }
    command = [
        sys.executable,
        "-m",
        "conformance.fuzz",
        family,
        *(str(part) for item in options.items() for part in item),
    ]
    print(" ".join(command))
    subprocess.run(command, check=False, cwd=Path(__file__).parents[1])  # its status tells of failures, too
    entries = read(results)
    assert entries, "no program was judged in the time that there was"
    failures = unknown_failures(entries, list(known()))
    assert not failures, "\n\n".join(map(described, failures))
