"""The hooks by which items' results become reports: on the workers they are sent, on the controller gathered.

Every session loads this module, also one that only collects, so what makes the reports is imported by what needs it.
"""

from __future__ import annotations

import datetime
import json
import re
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_nobuco.distributed.parts import DONE, results_path
from pytest_nobuco.isolation.child import is_child
from pytest_nobuco.report.alike import Folding
from pytest_nobuco.report.files import check_path, write_report
from pytest_nobuco.results import ABOVE_LIMIT, RESULT, ItemResult, to_wire
from pytest_nobuco.session import BENCH

if TYPE_CHECKING:
    from pytest_nobuco.report.gather import Gathered
    from pytest_nobuco.report.lines import ResultsFile


def register(config: pytest.Config) -> None:
    """Add the hooks to a session; `pytest.UsageError` if a report could not be written where it is wanted."""
    config.pluginmanager.register(Sender(), "nobuco-sender")
    if hasattr(config, "workerinput") or is_child():
        return
    paths = [check_path(name, config.invocation_params.dir) for name in config.getoption("nobuco_report")]
    reporter = Reporter(config, tuple(dict.fromkeys(paths)), results_path(config))
    config.pluginmanager.register(reporter, "nobuco-reporter")
    config.pluginmanager.register(Folding(), "nobuco-folding")


# Information and warnings of TensorFlow's and TFLite's loggers, as they write them.
_NOISE = re.compile(
    r"^(WARNING: All log messages before absl::.*|[IW]\d{4} [\d:.]+ .*|[\d-]+ [\d:.]+: [IW] .*"
    r"|INFO: (Created|Initialized|Applying) .*TensorFlow Lite.*)\n?",
    re.MULTILINE,
)
_UNFINISHED = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)


class Sender:
    """Puts what an item found on its test report, as `report.nobuco`, which xdist carries along."""

    def __init__(self) -> None:
        self.sent: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """Send the result with the call, or with the set-up if there will be no call."""
        result = _result(item)
        if result is not None and call.when == "call":
            known = dict(item.user_properties)
            item.user_properties += [entry for entry in _scalars(result) if entry[0] not in known]
        report = yield
        if report.when == "call":
            _hold_to_limit(item, report)
        if result is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
            report.nobuco = self._wire(result)
        if result is not None:
            report.sections = list(_without_noise(report.sections))
            _summarize_by_the_first_line(report)
        if result is not None and call.when == "teardown":
            _forget(item)  # which pytest keeps to the end
        return report

    def _wire(self, result: ItemResult) -> dict[str, Any]:
        data = to_wire(result)
        # A graph can be megabytes, and every failing item of a conversion has it.
        if data["graph"] is not None and result.conversion in self.sent:
            data["graph"] = None
        elif data["graph"] is not None:
            self.sent.add(result.conversion)
        # Plain types only, or execnet refuses it in the depths of a worker: here the error names the item.
        plain: dict[str, Any] = json.loads(json.dumps(data))
        return plain


class Reporter:
    """Gathers the results of all workers, writes the files, prints the section."""

    def __init__(self, config: pytest.Config, paths: tuple[Path, ...], results: Path | None) -> None:
        self.config, self.paths, self.results = config, paths, results
        self._lines: ResultsFile | None = None
        self.written: dict[Path, str | None] = {}  # each file with what went wrong
        self.started = time.perf_counter()
        self._gathered: Gathered | None = None

    @property
    def gathered(self) -> Gathered:
        """What the items have told so far, in the session that is resumed too."""
        if self._gathered is None:
            from pytest_nobuco.report.gather import Gathered

            self._gathered = Gathered()
            if self.config.stash[DONE] and self.results is not None:
                from pytest_nobuco.report.lines import read_lines

                read_lines([self.results]).into(self._gathered)
        return self._gathered

    @property
    def command(self) -> str:
        """The command line of the session."""
        return shlex.join(["pytest", *map(str, self.config.invocation_params.args)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the file of results; `pytest.UsageError` if it cannot be written."""
        if self.results is None or self.config.option.collectonly:
            return
        from pytest_nobuco.report.environment import environment
        from pytest_nobuco.report.lines import ResultsFile

        _ = self.gathered  # read before the file grows
        try:
            self._lines = ResultsFile(self.results)
            self._lines.begin({"command": self.command, "environment": environment(), "date": _now()})
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            raise pytest.UsageError(f"{self.results}: {reason}") from None

    # Last, since the report is slimmed.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a report."""
        from pytest_nobuco.report.gather import Told

        # Whoever knows another outcome says so there; without a terminal none does.
        status = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        phase = Told.by(report, status[0] if status else report.outcome)
        self.gathered.add(phase if self.paths else phase.without_graph())
        if self._lines is not None:
            self._lines.add(phase)
        self._slim(report)

    def _slim(self, report: Any) -> None:
        """Take from a report what has been read: pytest keeps each to the end, and there are three for each item."""
        result = getattr(report, "nobuco", None)
        if result:
            report.nobuco = {name: result[name] for name in ("model", "case", "axes")} if report.failed else {}
            report.keywords = {}
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        uncounted = terminal.stats.get("", ()) if terminal and report.nodeid in self.gathered.results else ()
        # Set-up and tear-down that passed, which only --durations looks at again.
        if uncounted and uncounted[-1] is report and not self.config.option.durations:
            uncounted.pop()

    # Last, since what other plugins measured belongs into the report too.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the files that were asked for."""
        complete = exitstatus not in _UNFINISHED
        if self._lines is not None:
            self._lines.end(complete)
        if self.config.option.collectonly:
            return
        self._write_baseline(session)
        if not self.paths:
            return
        from pytest_nobuco.latency.table import latency_rows
        from pytest_nobuco.report.environment import environment

        report = self.gathered.report(
            latency=latency_rows(self.config),
            environment=environment(),
            command=self.command,
            date=_now(),
            seconds=time.perf_counter() - self.started,
            complete=complete,
        )
        for path in self.paths:
            try:
                write_report(path, report)
                self.written[path] = None
            except OSError as error:
                self.written[path] = str(error)
                # A job that uploads a report of an earlier run must not be green.
                session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _write_baseline(self, session: pytest.Session) -> None:
        baseline = self.config.stash[BENCH].baseline
        if baseline.written is None:
            return
        try:
            baseline.write(self.gathered.report().cells)
            self.written[baseline.written] = None
        except OSError as error:
            self.written[baseline.written] = str(error)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print a line per model, and where the reports are."""
        if self.config.option.collectonly:
            return
        from pytest_nobuco.summary import summarize

        width = self.config.get_terminal_writer().fullwidth
        lines = list(summarize(self.gathered.report(), self.config.get_verbosity(), width))
        for path, problem in self.written.items():
            lines.append(("red", f"report not written: {problem}") if problem else ("", f"report: {path}"))
        if lines:
            terminalreporter.section("nobuco")
        for colour, line in lines:
            terminalreporter.write_line(line, **({colour: True} if colour else {}))


def _hold_to_limit(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail what is above the ceiling, though it is a known gap."""
    above = item.stash.get(ABOVE_LIMIT, [])
    if above and hasattr(report, "wasxfail"):
        reason = report.wasxfail.removeprefix("reason: ")
        del report.wasxfail
        report.outcome = "failed"
        lines = [f"{item.name}: a known gap ({reason}), but above the ceiling", *(f"  {text}" for text in above)]
        report.longrepr = "\n".join(lines)


def _summarize_by_the_first_line(report: pytest.TestReport) -> None:
    """In CI pytest's short summary repeats a message whole, many lines long; the section of failures has it already."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = crash.message.partition("\n")[0]


def _forget(item: pytest.Item) -> None:
    """Let go of what an item has found, once it is reported."""
    item.user_properties.clear()
    if RESULT in item.stash:
        del item.stash[RESULT]


def _without_noise(sections: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What an item has written to standard error, without what TensorFlow says of itself on every machine."""
    for name, text in sections:
        kept = _NOISE.sub("", text) if "stderr" in name else text
        if kept.strip():
            yield name, kept


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _result(item: pytest.Item) -> ItemResult | None:
    """What the item found; if it did not come to that, at least whose result it would have been."""
    if RESULT in item.stash:
        return item.stash[RESULT]
    said = dict(item.user_properties)
    if "nobuco_model" not in said or "nobuco_case" not in said:
        return None
    return ItemResult(str(said.get("nobuco_kind", "parity")), str(said["nobuco_model"]), str(said["nobuco_case"]))


def _scalars(result: ItemResult) -> list[tuple[str, object]]:
    """What JUnit shows of a result; infinite where something has no measure."""
    properties: list[tuple[str, object]] = [("nobuco_model", result.model), ("nobuco_case", result.case)]
    for name in ("max_abs", "max_rel") if result.outputs else ():
        figures = [getattr(output, name) for output in result.outputs]
        properties.append((f"nobuco_{name}_diff", float("inf") if None in figures else max(figures)))
    for name in ("snr", "cosine"):
        least = [figure for output in result.outputs if (figure := getattr(output, name)) is not None]
        properties += [(f"nobuco_{name}", min(least))] if least else []
    for name in ("bound", "worst_node"):
        if value := getattr(result, name):
            properties.append((f"nobuco_{name}", value))
    return properties
