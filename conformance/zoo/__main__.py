"""Convert one small network of each family of timm or architecture of transformers, with random weights.

python -m conformance.zoo --timm                       # to conformance/ZOO.md by --page
python -m conformance.zoo --transformers --resume      # goes on where the rows of an earlier run end
python -m conformance.zoo --timm --only resnet18 -v    # some, with what went wrong
python -m conformance.zoo --timm --dynamic             # at other sizes, with dynamic axes, to --dynamic-rows
python -m conformance.zoo --page conformance/ZOO.md    # the page of all rows
python -m conformance.zoo --check                      # fails where a row is not as conformance/zoo_gaps.txt says

Nothing is downloaded. Each network has a process of its own with a limit of time and of memory, so that one that
crashes costs its row. The rows, one JSON object a line, are added to `--rows`.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Convert what was asked for and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", action="store_true", help="one network of each of timm's families")
    parser.add_argument("--transformers", action="store_true", help="every architecture of transformers")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="these alone")
    parser.add_argument(
        "--rows", type=Path, default=Path(__file__).parent.parent / "zoo.jsonl", help="where the rows are kept"
    )
    parser.add_argument("--dynamic", action="store_true", help="with dynamic axes, at other sizes and with padding")
    parser.add_argument(
        "--dynamic-rows", type=Path, default=Path(__file__).parent.parent / "zoo_dynamic.jsonl", help="where these are"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what has a row")
    parser.add_argument("--retry", action="store_true", help="leave out what has a row that is right")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of the rows")
    parser.add_argument("--check", action="store_true", help="fail for what is wrong and no known gap, or the reverse")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="processes at once")
    parser.add_argument("--seconds", type=int, default=240, help="the most that a network may take")
    parser.add_argument("--gigabytes", type=float, default=6, help="the most memory that a network may take")
    parser.add_argument("-v", "--verbose", action="store_true", help="say where an error was raised")
    given = parser.parse_args()
    from conformance.zoo import dynamic, measure
    from conformance.zoo.page import commit
    from conformance.zoo.run import Limits, Way, run

    way: Way[Any] = Way(measure.Row, measure.measure)
    path = given.rows
    if given.dynamic:
        way, path = Way(dynamic.Dynamic, partial(dynamic.measure, commit=commit())), given.dynamic_rows
    for zoo in (zoo for zoo in ("timm", "transformers") if getattr(given, zoo)):
        done = "any" if given.resume else "right" if given.retry else ""
        run(zoo, given.only, path, done, Limits(given.seconds, given.gigabytes, given.j), way, given.verbose)
    if given.page:
        from conformance.zoo.page import page

        given.page.write_text(page(given.rows, given.dynamic_rows), encoding="utf-8")
    if given.check:
        from conformance.zoo.gaps import GAPS, known_gaps, surprises
        from conformance.zoo.rows import read

        gaps = known_gaps(GAPS.read_text(encoding="utf-8").splitlines())
        sys.exit("\n".join(surprises(read(given.rows, measure.Row).values(), gaps)) or 0)


if __name__ == "__main__":
    main()
