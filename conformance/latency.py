"""The table of latencies, as Markdown: PyTorch eager, Keras, TFLite on CPU and GPU, through pytest-benchmark.

python -m conformance.latency                  # all networks
python -m conformance.latency resnet18 UNet    # some
python -m conformance.latency --from run.json  # of a --benchmark-json that is there already

Runs `pytest conformance/latency_models.py --benchmark-only` and reads what it measured. The columns of a GPU say
which adapter it was: a software one proves that the models run there, and says nothing of how fast a GPU is.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.models import CASES
from pytest_nobuco.latency.spec import GPU, KERAS, TORCH, XNNPACK

Runs = Mapping[tuple[str, int | None], Mapping[str, Any]]
SUITE = Path(__file__).with_name("latency_models.py")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks of conformance.models (default: all)")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="a --benchmark-json to read instead")
    arguments = parser.parse_args()
    names = arguments.names or [case.name for case in CASES]
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or measured(names, Path(folder, "latency.json"))
        for line in table(json.loads(source.read_text())["benchmarks"]):
            print(line)


def measured(names: Sequence[str], path: Path) -> Path:
    """Time these networks; pytest's own output goes to stderr."""
    ids = [f"{SUITE}::network"]
    wanted = " or ".join(f"{name}-latency" for name in names)
    command = [sys.executable, "-m", "pytest", *ids, "-k", wanted, "--benchmark-only", f"--benchmark-json={path}"]
    subprocess.run([*command, "-p", "no:cacheprovider", "-ra"], stdout=sys.stderr, check=False)
    return path


def table(benchmarks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line per network, medians in milliseconds."""
    networks: dict[str, dict[tuple[str, int | None], Mapping[str, Any]]] = {}
    for benchmark in benchmarks:
        info, name = benchmark["extra_info"], benchmark["params"]["network"]
        threads = info["threads"] if info["runtime"] in (TORCH, XNNPACK) else None
        networks.setdefault(name, {})[info["runtime"], threads] = benchmark
    threads = sorted({key[1] for runs in networks.values() for key in runs if key[1] is not None})
    columns = [(TORCH, n) for n in threads] + [(KERAS, None)] + [(XNNPACK, n) for n in threads] + [(GPU, None)]
    heads = [*(_head(column, benchmarks) for column in columns), "speed-up", "operations", "MB"]
    yield f"| network | {' | '.join(heads)} |"
    yield f"|---|{'---|' * len(heads)}"
    for name, runs in networks.items():
        yield f"| {name} | {' | '.join([*(_time(runs, column) for column in columns), *_facts(runs)])} |"
    yield ""
    yield "Medians in ms. speed-up: TFLite on XNNPACK against PyTorch eager, each with the threads that it is fastest"
    yield f"with. –: it does not run there. Processor: {_device(benchmarks, TORCH)}."


def _head(column: tuple[str, int | None], benchmarks: Sequence[Mapping[str, Any]]) -> str:
    runtime, threads = column
    if runtime == GPU:
        return f"TFLite GPU: {_device(benchmarks, GPU)}"
    name = {TORCH: "PyTorch eager", KERAS: "Keras", XNNPACK: "TFLite XNNPACK"}[runtime]
    return name if threads is None else f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _device(benchmarks: Sequence[Mapping[str, Any]], runtime: str) -> str:
    found = {b["extra_info"]["device"] for b in benchmarks if b["extra_info"]["runtime"] == runtime}
    return re.sub(r"\s+", " ", ", ".join(sorted(found))) or "none here"


def _time(runs: Runs, column: tuple[str, int | None]) -> str:
    if column not in runs:
        return "–"
    outside = runs[column]["extra_info"].get("operations_outside_delegate")
    note = f" ({outside} operations on the CPU)" if outside and column[0] == GPU else ""
    return f"{runs[column]['stats']['median'] * 1e3:.3g}{note}"


def _facts(runs: Runs) -> Iterator[str]:
    """Speed-up, operations (and how many are outside XNNPACK), size."""
    fastest = {
        wanted: min((run["stats"]["median"] for (runtime, _), run in runs.items() if runtime == wanted), default=None)
        for wanted in (TORCH, XNNPACK)
    }
    eager, tflite = fastest[TORCH], fastest[XNNPACK]
    yield f"{eager / tflite:.3g}×" if eager and tflite else "–"
    info = next((run["extra_info"] for (runtime, _), run in runs.items() if runtime == XNNPACK), None)
    if info is None:
        yield from ("–", "–")
        return
    notes = [
        text
        for count, text in (
            (info["operations_outside_delegate"], "outside XNNPACK"),
            (info["transpositions"], "TRANSPOSE"),
        )
        if count
        for text in [f"{count} {text}"]
    ]
    yield f"{info['operations']} ({', '.join(notes)})" if notes else str(info["operations"])
    yield f"{info['file_size'] / 2**20:.1f}"


if __name__ == "__main__":
    main()
