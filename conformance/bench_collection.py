"""What the installed plugin costs a project that does not use it: `pytest --collect-only` with and without.

    python -m conformance.bench_collection [--rounds 20]

Both commands run in turn on one empty test file, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What stays loaded in both: the plugin's neighbours are not what is measured.
COMMAND = [
    sys.executable,
    "-m",
    "pytest",
    "--collect-only",
    "-q",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:cacheprovider",
]
WITHOUT = ["-p", "no:nobuco"]


def main() -> None:
    """Print the medians and their difference in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often each command runs (default: 20)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_nothing.py").write_text("def test_nothing(): pass\n")
        pairs = [(_milliseconds(COMMAND, folder), _milliseconds(COMMAND + WITHOUT, folder)) for _ in range(rounds + 1)]
    with_it, without = (statistics.median(times) for times in zip(*pairs[1:]))  # the first pair filled the caches
    added = statistics.median(a - b for a, b in pairs[1:])
    print("| pytest --collect-only | ms |\n|---|---|")
    print(
        f"| without the plugin | {without:.0f} |\n| with it | {with_it:.0f} |\n| added, median of pairs | {added:.0f} |"
    )


def _milliseconds(command: list[str], folder: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
