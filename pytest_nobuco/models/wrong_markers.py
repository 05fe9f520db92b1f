"""A session that wrong markers alone keep from running ends as one whose command line is wrong does."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_nobuco.errors import WrongMarkerError


class WrongMarkers:
    """Notes of each collection that fails whether a marker is why; the report tells xdist's controller."""

    def __init__(self) -> None:
        self._failed: list[bool] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """Say on the report that a marker is wrong."""
        report = yield
        excinfo = report.call.excinfo
        report.nobuco_wrong_marker = excinfo is not None and isinstance(excinfo.value, WrongMarkerError)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note it."""
        if report.failed:
            self._failed.append(getattr(report, "nobuco_wrong_marker", False))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Change the exit code."""
        if session.exitstatus == pytest.ExitCode.INTERRUPTED and self._failed and all(self._failed):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
