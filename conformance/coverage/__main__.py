"""How much of PyTorch converts: each entry of its OpInfo or ModuleInfo database, in Keras and in TFLite.

    python -m conformance.coverage                          # three samples of each entry
    python -m conformance.coverage --match 'fft.*' --tflite
    python -m conformance.coverage --modules                # modules in place of operations
    python -m conformance.coverage --all --resume --out coverage.jsonl
    python -m conformance.coverage --dtypes --samples 2     # each dtype: right, raises, or WRONG without a word

Each entry runs in a process of its own, so that one which crashes or hangs costs no other. Where a sample draws random
numbers, only shape and dtype are compared, and that other numbers come than those of the trace. Entries that do not
take float32 are left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from conformance.coverage.entries import DTYPES, name_of
from conformance.coverage.measure import Result, measured, measured_by_dtype


def measure_all(infos: Sequence[Any], jobs: int, timeout: float, measure: Callable[[Any], Result]) -> Iterator[Result]:
    """Measure entries in `jobs` processes at a time; gives each result as it comes."""
    context = multiprocessing.get_context("fork")  # all imports are done, and nothing of TensorFlow has run yet
    waiting, running = list(infos), []
    while waiting or running:
        while waiting and len(running) < jobs:
            info = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, info, measure))
            process.start()
            theirs.close()
            running.append((process, ours, info, time.monotonic()))
        multiprocessing.connection.wait([ours for _, ours, _, _ in running], timeout=1)
        for entry in list(running):
            result = _finished(*entry, timeout)
            if result is not None:
                running.remove(entry)
                yield result


def _child(pipe: Connection, info: Any, measure: Callable[[Any], Result]) -> None:
    pipe.send(measure(info))


def _finished(process: Any, pipe: Connection, info: Any, started: float, timeout: float) -> Result | None:
    """The result of a child, if it is over: what it sent, or that it crashed or took too long."""
    result = None
    if pipe.poll():
        try:
            result = pipe.recv()
        except EOFError:
            result = Result(name_of(info), keras=["crashed"])
    elif time.monotonic() - started > timeout:
        process.kill()
        result = Result(name_of(info), keras=[f"no answer in {timeout:g} s"])
    if result is not None:
        process.join()
        result.seconds = result.seconds or time.monotonic() - started
    return result


def summary(results: Sequence[Result], tflite: bool) -> str:
    """The totals, and the most frequent causes of failure."""
    counted = [r for r in results if not r.left_out]
    samples = [said for r in counted for said in r.keras]
    lines = [
        f"{len(results) - len(counted)} entries left out: {dict(Counter(r.left_out for r in results if r.left_out))}"
    ]
    for title, ok, said in (
        ("Keras", sum(r.ok for r in counted), samples),
        ("TFLite", sum(r.tflite_ok for r in counted), [said for r in counted for said in r.tflite]),
    ):
        if said and (tflite or title == "Keras"):
            matching = sum(one == "ok" for one in said)
            lines.append(
                f"{title}: {ok} of {len(counted)} operations match on every sample ({100 * ok / len(counted):.1f} %), "
                f"{matching} of {len(said)} samples ({100 * matching / len(said):.1f} %)"
            )
    return "\n".join(lines)


def dtype_row(result: Result) -> str:
    """One row of the table: each dtype that the operation takes, with what is wrong."""
    return " ".join(
        f"{dtype}{'✓' if said == 'ok' else '·' if said.startswith('raises') else '✗ (' + said + ')'}"
        for dtype, said in result.dtypes.items()
    )


def dtype_summary(results: Sequence[Result]) -> str:
    """By dtype: how many operations are right, raise, and are wrong without a word."""
    lines = []
    for dtype in (str(dtype).removeprefix("torch.") for dtype in DTYPES):
        said = [r.dtypes[dtype] for r in results if dtype in r.dtypes]
        ok, wrong = said.count("ok"), sum(one.startswith("WRONG") for one in said)
        lines.append(f"{dtype:10} {ok:4} ok, {len(said) - ok - wrong:4} raise, {wrong:4} WRONG, of {len(said)}")
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--match", default="*", help="entries whose name matches this pattern, or one of several with |"
    )
    parser.add_argument("--modules", action="store_true", help="modules in place of operations")
    parser.add_argument("--samples", type=int, default=3, help="samples of each entry, spread over those that it has")
    parser.add_argument("--all", action="store_true", help="all samples of each entry (at most 300)")
    parser.add_argument("--tflite", action="store_true", help="in TFLite, too")
    parser.add_argument("--dtypes", action="store_true", help="in each dtype, instead of in float32")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each entry")
    parser.add_argument("--out", type=Path, help="a file that gets a line of JSON for each entry")
    parser.add_argument("--resume", action="store_true", help="leave out the entries that are in --out already")
    options = parser.parse_args()
    patterns = options.match.split("|")
    database: Iterable[Any] = module_db if options.modules else op_db
    infos = [info for info in database if any(fnmatchcase(name_of(info), pattern) for pattern in patterns)]
    results = []
    if options.out and options.out.exists():
        if options.resume:
            results = [Result(**json.loads(line)) for line in options.out.read_text().splitlines()]
        else:
            options.out.unlink()
    known = {result.name for result in results}
    infos = [info for info in infos if name_of(info) not in known]
    count = None if options.all else options.samples
    in_float32 = partial(measured, count=count, tflite=options.tflite)
    measure = partial(measured_by_dtype, count=count) if options.dtypes else in_float32
    for result in measure_all(infos, options.jobs, options.timeout, measure):
        results.append(result)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
        said = result.left_out or " | ".join(dict.fromkeys((*result.keras, *result.tflite)))
        print(f"{result.name:50} {dtype_row(result) if options.dtypes else said}", flush=True)
    print(dtype_summary(results) if options.dtypes else summary(results, options.tflite))


if __name__ == "__main__":
    main()
