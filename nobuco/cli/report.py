"""Make reports of results that pytest wrote as they came, of one session or of several together.

The files are those of `pytest --nobuco-results FILE` and `--nobuco-resume FILE`; an item that several tell of counts as
the last says.

  python -m nobuco report shard1.jsonl shard2.jsonl --to all.html --to all.md
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from nobuco.errors import InputError, NobucoError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `report`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results of --nobuco-results")
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="PATH",
        help="write a report here: .json, .html or .md; repeatable. Left out: the table is printed.",
    )


def run(options: argparse.Namespace) -> int:
    """Write the reports and print a line per model; 1 if something failed, or the results are not whole."""
    try:
        import pytest

        from pytest_nobuco.report.files import check_path, write_report
        from pytest_nobuco.report.lines import merged
        from pytest_nobuco.summary import summarize
    except ImportError as error:
        raise InputError(f"reports need pytest ({error}): pip install 'nobuco[pytest]'") from None
    try:
        paths = [check_path(name, Path.cwd()) for name in options.to]
    except pytest.UsageError as error:
        raise InputError(str(error).replace("--nobuco-report", "--to")) from None
    report = merged(options.files)
    for path in paths:
        write_report(path, report)
    for _, line in summarize(report, 0, min(shutil.get_terminal_size().columns, 120)):
        print(line)
    if not report.complete:
        raise NobucoError("a session has not come to its end: pytest --nobuco-resume FILE runs what is left")
    return 1 if report.fails else 0
