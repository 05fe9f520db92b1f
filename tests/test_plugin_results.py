"""The plugin: results that are written as they come, sessions in parts, and reports of several together."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_project import INI

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
def project(pytester: pytest.Pytester, no_worker: None) -> pytest.Pytester:
    """A project with the models of the fake backend, each also under many names."""
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


@pytest.mark.full
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


# --- balance


def shard_seconds(project: pytest.Pytester, count: int, models: int, *options: str) -> list[tuple[float, set[str]]]:
    """How long each shard takes by the results of earlier sessions, and its items."""
    lines = [json.loads(line) for line in (project.path / "old.jsonl").read_text().splitlines()]
    took = {line["nodeid"]: line["seconds"] for line in lines if line.get("when") == "call"}
    shards = []
    for i in range(1, count + 1):
        found = project.runpytest(*words(models, "--nobuco-shard", f"{i}/{count}", *options, "--collect-only", "-q"))
        ids = {line for line in found.outlines if line.startswith("nobuco::")}
        shards.append((sum(took.get(nodeid, 0.0) for nodeid in ids), ids))
    return shards


def test_shards_take_as_long_by_earlier_results(project):
    project.runpytest_subprocess(*words(8, "--nobuco-results", "old.jsonl"))
    path = project.path / "old.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "seconds" in line:  # the first model takes as long as all others together
            line["seconds"] = (7.0 if "Net0[" in line["nodeid"] else 1.0) * (line["when"] == "call")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    balanced = shard_seconds(project, 2, 10, "--nobuco-durations", "old.jsonl")
    assert [seconds for seconds, _ in balanced] == [28, 28], "Net8 and Net9 are new"
    assert not balanced[0][1] & balanced[1][1]
    assert len(balanced[0][1] | balanced[1][1]) == 40
    plain = shard_seconds(project, 2, 10)
    assert [len(ids) for _, ids in plain] == [20, 20]
    options = ["--nobuco-shard", "1/2", "--nobuco-durations", "old.jsonl"]
    for workers in ("-n0", "-n2"):
        result = project.runpytest_subprocess(*words(10, *options, workers, "-rA", "-v"))
        ran = {
            line.partition(" ")[2].partition(" - ")[0]
            for line in result.outlines
            if line.startswith(("PASSED nob", "FAILED nob"))
        }
        assert ran == balanced[0][1]


def test_durations_of_no_results(project):
    result = project.runpytest(*words(1, "--nobuco-shard", "1/2", "--nobuco-durations", "nets.py"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --nobuco-durations *nets.py: this is no file of --nobuco-results: *"])


# --- memory

MEASURED = """
    import gc, sys, tracemalloc
    import pytest
    from fake_backend import FakeBackend

    class LargeGraphs(FakeBackend):
        def graph(self, converted):
            return {"nodes": ["x" * 1_000_000], "ok": True}

    class Watch:
        count, sizes = 0, {}

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_logfinish(self):
            self.count += 1
            if self.count in (60, 240):
                gc.collect()
                self.sizes[self.count] = tracemalloc.get_traced_memory()[0]

    if __name__ == "__main__":
        tracemalloc.start()
        watch = Watch()
        pytest.main(sys.argv[1:], plugins=[watch])
        print("BYTES", (watch.sizes[240] - watch.sizes[60]) // 180)
"""


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [[], ["--nobuco-report", "out.json", "--nobuco-results", "out.jsonl"]],
    ids=len,
)
def test_models_that_are_done_leave_little_behind(project, options):
    """With what pytest itself keeps of an item's report; a graph, 1 MB here, is gone."""
    project.makepyfile(measured=MEASURED)
    project.makeini(INI.replace("fake_backend:FakeBackend", "measured:LargeGraphs"))
    result = project.run(sys.executable, "measured.py", *words(60, "-q", *options))
    (size,) = [int(line.split()[1]) for line in result.outlines if line.startswith("BYTES")]
    assert size < 4000
