"""Where latency is wired into the plugin: its options read, its hooks and fixtures registered, xdist turned off."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nobuco.latency import absent, fixtures
from pytest_nobuco.latency.spec import OPTIONS, has_benchmark, read_latency_options

_XDIST_OFF = "nobuco: --benchmark-only turns xdist off; benchmarks that run side by side time each other"


def register(config: pytest.Config) -> None:
    """Register what this session needs; called in `pytest_configure`."""
    options = config.stash[OPTIONS] = read_latency_options(config)
    if options.wanted:
        from pytest_nobuco.latency import items

        config.pluginmanager.register(items, "nobuco-latency")
    # A fixture that names `benchmark` cannot even be set up where there is none.
    config.pluginmanager.register(fixtures if has_benchmark(config) else absent, "nobuco-latency-fixtures")
    config.pluginmanager.register(_Table(), "nobuco-latency-table")


def turn_off_xdist(config: pytest.Config) -> None:
    """With `--benchmark-only`, run in this process and say so.

    Called before anybody is configured: pytest-benchmark would refuse the combination.
    """
    option = config.option
    if not getattr(option, "benchmark_only", False) or not hasattr(option, "numprocesses"):
        return
    if option.numprocesses or option.dist != "no":
        # Both forms, since xdist may have read `-n` already, or is about to.
        option.numprocesses, option.dist, option.tx = 0, "no", []
        config.pluginmanager.register(_XdistIsOff(), "nobuco-xdist-off")


class _Table:
    """Prints the table, of fixtures' measurements too."""

    # Last: under the tables of pytest-benchmark itself.
    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if not getattr(getattr(config, "_benchmarksession", None), "benchmarks", None):
            return
        from pytest_nobuco.latency.table import latency_rows, render_table

        rows = latency_rows(config)
        if rows:
            terminalreporter.section("latency (nobuco)")
        for line in render_table(rows):
            terminalreporter.write_line(line)


class _XdistIsOff:
    """Says so, under `-q` too."""

    def pytest_report_header(self) -> str:
        return _XDIST_OFF

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if terminalreporter.verbosity < 0:
            terminalreporter.write_line(_XDIST_OFF)
