"""The files that `--nobuco-report` names: which there can be, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nobuco.errors import OutputError
from nobuco.files import replacing, writable_file_at

if TYPE_CHECKING:
    from pytest_nobuco.report.data import SuiteReport

SUFFIXES = (".json", ".html", ".md")


def check_path(name: str, directory: Path) -> Path:
    """The absolute path of a report; `pytest.UsageError`, before any test runs, for one that cannot be written."""
    path = directory / name
    if path.suffix not in SUFFIXES:
        raise pytest.UsageError(f"--nobuco-report {name}: the suffix says what to write: {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise pytest.UsageError(f"--nobuco-report {name}: there is no directory {path.parent}")
    if path.is_dir():
        raise pytest.UsageError(f"--nobuco-report {name}: that is a directory")
    try:
        return writable_file_at(path)
    except OutputError as error:
        raise pytest.UsageError(f"--nobuco-report {name}: {error.reason}") from None


def write_report(path: Path, report: SuiteReport) -> None:
    """Write a report in the form of the path's suffix, the whole of it or nothing."""
    text = _renderer(path.suffix)(report)
    with replacing(path) as draft:
        # A test's message may hold half of a surrogate pair, which no encoding has.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _renderer(suffix: str) -> Callable[[SuiteReport], str]:
    # Imported here: most sessions write no report, and every session pays for what the plugin imports.
    if suffix == ".json":
        from pytest_nobuco.report.as_json import to_json

        return to_json
    if suffix == ".md":
        from pytest_nobuco.report.as_markdown import to_markdown

        return to_markdown
    from pytest_nobuco.report.as_html import to_html

    return to_html
