"""The plugin: results that are written as they come, sessions in parts, and reports of several together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_plugin import INI

SLOW = """
    import time
    from fake_backend import Broken, Net

    class Slow(Net):
        def __init__(self):
            super().__init__()
            time.sleep(0.03)
"""
CASES = 4


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the models of the fake backend, each also under many names."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    fake = (Path(__file__).parent / "fake_backend.py").read_text()
    pytester.makepyfile(fake_backend=fake, nets=SLOW)
    with (pytester.path / "nets.py").open("a") as file:
        file.writelines(f"\nclass Net{i}({'Broken' if i % 10 == 3 else 'Slow'}): ..." for i in range(300))
    pytester.makeini(INI)
    return pytester


def words(count: int, *options: str) -> list[str]:
    models = [word for i in range(count) for word in ("--nobuco-model", f"nets.Net{i}")]
    return [*models, "-p", "no:hypothesispytest", *options]


def report(project: pytest.Pytester, *files: str) -> dict:
    made = project.run(sys.executable, "-m", "nobuco", "report", *files, "--to", "all.json", "--to", "all.html")
    assert made.ret in (0, 1), made.stderr.str()
    return json.loads((project.path / "all.json").read_text())


def outcomes(found: dict) -> dict[str, list[str]]:
    return {row["model"]: sorted(cell["outcome"] for cell in row["cases"]) for row in found["models"]}


def expected(count: int) -> dict[str, list[str]]:
    return {f"nets.Net{i}": ["failed" if i % 10 == 3 else "passed"] * CASES for i in range(count)}


def test_shards_that_are_killed_and_resumed(project):
    """Three hundred models on four machines, two of which stop in the middle."""
    count = 300
    for i in range(1, 5):
        options = ["--nobuco-shard", f"{i}/4", "--nobuco-resume", f"results/{i}.jsonl", "-q"]
        command = [sys.executable, "-m", "pytest", *words(count, *options)]
        if i in (2, 3):
            process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
            file = project.path / "results" / f"{i}.jsonl"
            while not file.exists() or file.read_bytes().count(b"\n") < 60:
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL if i == 2 else signal.SIGINT)
            process.wait()
        subprocess.run(command, cwd=project.path, stdout=subprocess.DEVNULL, check=False)
    found = report(project, *(f"results/{i}.jsonl" for i in range(1, 5)))
    assert outcomes(found) == expected(count)
    assert found["complete"]


def test_the_report_of_a_session_and_that_of_its_results_are_the_same(project):
    project.runpytest_subprocess(*words(4, "-n2", "--nobuco-results", "out.jsonl", "--nobuco-report", "out.json"))
    ours, theirs = report(project, "out.jsonl"), json.loads((project.path / "out.json").read_text())
    for found in (ours, theirs):
        assert outcomes(found) == expected(4)
        for row in found["models"]:
            row["cases"].sort(key=lambda cell: cell["nodeid"])
    assert ours["models"] == theirs["models"]
    assert ours["graphs"] == theirs["graphs"]
    assert ours["conversions"] == theirs["conversions"]


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_resumed_session_runs_what_is_left_and_reports_all(project, workers):
    first = project.runpytest_subprocess(*words(3, "--nobuco-resume", "out.jsonl", "-k", "Net0 or Net1"))
    first.assert_outcomes(passed=8, deselected=4)
    options = [workers, "--nobuco-resume", "out.jsonl", "--nobuco-report", "out.json"]
    second = project.runpytest_subprocess(*words(3, *options))
    second.stdout.fnmatch_lines(["*4 passed*"])
    assert outcomes(json.loads((project.path / "out.json").read_text())) == expected(3)


def test_a_line_cut_short_costs_its_item_alone(project):
    project.runpytest_subprocess(*words(2, "--nobuco-results", "out.jsonl"))
    file = project.path / "out.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-2]) + lines[-2][:40])
    again = project.runpytest_subprocess(*words(2, "--nobuco-resume", "out.jsonl"))
    again.stdout.fnmatch_lines(["*1 passed, 7 deselected*"])
    assert outcomes(report(project, "out.jsonl")) == expected(2)


def test_a_message_with_ends_of_lines_of_all_kinds(project):
    project.makepyfile(test_own=r"""def test_own(): assert "a\u2028b\x85c\x0bd\udcff" == 1""")
    project.runpytest_subprocess(*words(1, "test_own.py", "--nobuco-results", "out.jsonl"))
    again = project.runpytest_subprocess(*words(1, "test_own.py", "--nobuco-resume", "out.jsonl"))
    again.stdout.fnmatch_lines(["*5 deselected*"])
    assert outcomes(report(project, "out.jsonl")) == expected(1)


def test_an_interrupted_session_is_told(project):
    project.runpytest_subprocess(*words(1, "--nobuco-results", "out.jsonl"))
    file = project.path / "out.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-3]))
    made = project.run(sys.executable, "-m", "nobuco", "report", "out.jsonl")
    assert made.ret == 1
    made.stderr.fnmatch_lines(["nobuco report: a session has not come to its end: pytest --nobuco-resume FILE *"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nobuco-shard", "5/4"], "*'5/4' is no shard; the first of four is 1/4*"),
        (["--nobuco-resume", "a", "--nobuco-results", "b"], "*--nobuco-resume FILE writes to FILE, too*"),
        (["--nobuco-resume", "nets.py"], "*nets.py: this is no file of --nobuco-results: *"),
        (["--nobuco-results", "nets.py/out.jsonl"], "*out.jsonl: *"),
    ],
)
def test_wrong_options_end_the_session_before_it_begins(project, options, message):
    result = project.runpytest_subprocess(*words(1, *options))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "passed" not in result.stdout.str()


@pytest.mark.parametrize(
    ("name", "message"), [("absent.jsonl", "*absent.jsonl: No such file*"), ("nets.py", "*no file of*")]
)
def test_a_report_of_what_is_no_results_is_refused(project, name, message):
    made = project.run(sys.executable, "-m", "nobuco", "report", name)
    assert made.ret == 2
    made.stderr.fnmatch_lines([message])
