"""The report in a terminal: colours, streams that cannot hold its marks, the progress bar."""

from __future__ import annotations

import io
import re
import sys

import pytest

from nobuco.report import (
    Status,
    TraceLevel,
    print_report,
    progress,
    render_text,
)
from tests.reports import call, report

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestColor:
    net = report(call("f"), call("g", status=Status.FAILED), call("h", constant=True))

    @pytest.fixture(autouse=True)
    def _plain_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")

    def printed(self, file: io.StringIO) -> str:
        print_report(self.net, file)
        return file.getvalue()

    def test_says_nothing_that_the_plain_text_does_not(self) -> None:
        colored, plain = render_text(self.net, color=True), render_text(self.net, color=False)
        assert ANSI.sub("", colored) == plain
        assert "\x1b" not in plain

    def test_of_the_marks(self) -> None:
        lines = render_text(self.net, color=True).splitlines()
        assert any("\x1b[1;32m✓ f" in line for line in lines), "green, and bold as converted directly"
        assert any("\x1b[1;31m✗ g" in line for line in lines)
        assert any("\x1b[2m· h" in line for line in lines)

    def test_only_in_a_terminal(self) -> None:
        assert "\x1b" in self.printed(Terminal())
        assert "\x1b" not in self.printed(io.StringIO())

    def test_not_where_the_user_wants_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b" not in self.printed(Terminal())

    def test_not_in_a_dumb_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "dumb")
        assert "\x1b" not in self.printed(Terminal())

    def test_in_a_log_where_the_user_wants_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b" in self.printed(io.StringIO())


class TestStreams:
    def test_standard_error_is_the_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_report(report(call("f")))
        out, err = capsys.readouterr()
        assert out == ""
        assert "✓ Net: 1 call converted" in err

    def test_a_stream_that_cannot_hold_the_marks_gets_others(self) -> None:
        raw = io.BytesIO()
        net = call("Net", "", call("fé"), call("g", status=Status.FAILED), call("h", transposed=3))
        stream = io.TextIOWrapper(raw, "ascii")
        print_report(report(net), stream, detail=TraceLevel.NEVER)
        lines = raw.getvalue().decode("ascii").split("\n\n")[1].splitlines()
        assert lines == ["v Net", "| + f?", "| x g  (failed)", "` + h  %3"]


class TestProgress:
    def test_shows_how_far_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(3, "converting") as advance:
            advance()
            advance(2)
        shown = ANSI.sub("", terminal.getvalue())
        assert "converting" in shown
        assert "3/3" in shown

    @pytest.mark.parametrize(("file", "enabled"), [(io.StringIO(), True), (Terminal(), False)])
    def test_is_silent_where_nobody_looks(
        self, monkeypatch: pytest.MonkeyPatch, file: io.StringIO, enabled: bool
    ) -> None:
        monkeypatch.setattr(sys, "stderr", file)
        with progress(1, "converting", enabled) as advance:
            advance()
        assert file.getvalue() == ""

    def test_lets_an_error_through(self) -> None:
        with pytest.raises(KeyError), progress(1, "converting"):
            raise KeyError("x")
