"""The plugin: a model that ends its process, hangs or fills the memory costs its own items and no more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_nobuco.distributed.scheduling import GraphScheduling
from tests.fake_project import INI

DEADLY = """
    import ctypes, os, sys, time
    from fake_backend import Broken, Net

    def aborts():
        os.abort()

    def segfaults():
        ctypes.string_at(0)

    def leaves():
        os._exit(3)

    def is_killed():
        os.kill(os.getpid(), 9)

    def exits():
        sys.exit(3)

    def interrupts():
        raise KeyboardInterrupt

    def is_interrupted():
        os.kill(os.getpid(), 2)
        time.sleep(10)

    def hangs():
        time.sleep(1000)

    def grows():
        kept = b"x" * 1_500_000_000
        time.sleep(1000)
        return kept
"""
ENDING = ["aborts", "segfaults", "leaves", "is_killed", "exits"]
SLOW = ["hangs", "grows"]
CASES = [f"{order}-{order}-static-{runtime}" for order in ("nchw", "nhwc") for runtime in ("keras", "tflite")]


@pytest.fixture
def project(pytester: pytest.Pytester, no_worker: None) -> pytest.Pytester:
    """A project with models that do harm, in front of two that do none."""
    fake = (Path(__file__).parent / "fake_backend.py").read_text()
    pytester.makepyfile(fake_backend=fake, deadly=DEADLY)
    pytester.makeini(INI)
    return pytester


def run(project: pytest.Pytester, names: list[str], *options: str) -> pytest.RunResult:
    """Of what only a limit ends, which takes long, one item."""
    options = (*options, "-k", f"not (({' or '.join(SLOW)}) and not {CASES[0]})")
    models = [word for name in [*names, "Net", "Broken"] for word in ("--nobuco-model", f"deadly.{name}")]
    files = ["--nobuco-report", "out.json", "--nobuco-results", "out.jsonl", "--junitxml", "out.xml"]
    return project.runpytest_subprocess(*models, "-rA", "-v", *files, *options, timeout=300)


def outcomes(result: pytest.RunResult) -> Counter[tuple[str, str]]:
    """How often each item was reported, and how."""
    return Counter(re.findall(r"^(PASSED|FAILED|ERROR) nobuco::(\S+\])", result.stdout.str(), re.MULTILINE))


def expected(names: list[str]) -> Counter[tuple[str, str]]:
    return Counter(
        ("PASSED" if name == "Net" else "FAILED", f"{name}[{case}]")
        for name in [*names, "Net", "Broken"]
        for case in cases_of(name)
    )


def cases_of(name: str) -> list[str]:
    return CASES[:1] if name in SLOW else CASES


def check_files(project: pytest.Pytester, names: list[str]) -> None:
    """The report, the report of the results as they came, and JUnit have every item once."""
    merge = [sys.executable, "-m", "nobuco", "report", "out.jsonl", "--to", "merged.json"]
    subprocess.run(merge, cwd=project.path, check=False)
    for file in ("out.json", "merged.json"):
        rows = json.loads((project.path / file).read_text())["models"]
        wanted = {f"deadly.{name}": len(cases_of(name)) for name in [*names, "Net", "Broken"]}
        assert {row["model"]: len(row["cases"]) for row in rows} == wanted
    junit = (project.path / "out.xml").read_text()
    assert junit.count("<testcase") == sum(wanted.values())
    assert junit.count("<failure") + junit.count("<error") == sum(wanted.values()) - len(CASES)


@pytest.mark.parametrize(
    "distribution",
    [
        "load",
        *(pytest.param(name, marks=pytest.mark.full) for name in ("loadgroup", "worksteal", "loadscope", "loadfile")),
    ],
)
def test_models_that_end_workers(project, distribution):
    result = run(project, ENDING, "-n2", "--dist", distribution)
    assert outcomes(result) == expected(ENDING)
    result.stdout.fnmatch_lines(["--nobuco-isolate shows where*"])
    check_files(project, ENDING)


@pytest.mark.parametrize(("name", "told"), [("exits", "SystemExit: 3"), ("interrupts", "KeyboardInterrupt")])
def test_what_a_model_raises_to_end_the_session_is_its_own_failure(project, name, told):
    result = run(project, [name])
    assert outcomes(result) == expected([name])
    result.stdout.fnmatch_lines([f"*its own code raised {told} (File *deadly.py*), which would end the session*"])
    alone = project.runpytest_subprocess("--nobuco-model", f"deadly.{name}")
    assert alone.ret == pytest.ExitCode.USAGE_ERROR
    alone.stderr.fnmatch_lines([f"ERROR: --nobuco-model: deadly.{name}: its own code raised {told} *"])


def test_ctrl_c_ends_the_session(project):
    # What a shell starts in the background ignores it, and hands that down.
    project.makeconftest("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)")
    result = project.runpytest_subprocess("--nobuco-model", "deadly.is_interrupted", "--nobuco-model", "deadly.Net")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*", "*deadly.py:*: KeyboardInterrupt"])


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.full)])
def test_isolated_models(project, workers):
    names = [*ENDING, *SLOW]
    result = run(project, names, workers, "--nobuco-timeout", "8", "--nobuco-memory", "1")
    assert outcomes(result) == expected(names)
    result.stdout.fnmatch_lines_random(
        [
            "its process died of SIGABRT while running the PyTorch model",
            "its process died of SIGSEGV while running the PyTorch model",
            "its process died of SIGKILL, as when memory runs out, while running the PyTorch model",
            "its process ended with exit code 3 while running the PyTorch model",
            "its process took longer than 8 s (--nobuco-timeout) while running the PyTorch model",
            "its process took more than 1 GB of memory (--nobuco-memory) while running the PyTorch model",
            "    Fatal Python error: Aborted",
            "  reproduce: pytest --nobuco-model deadly.aborts * 'nobuco::aborts[[]nchw-nchw-static-keras]'",
            "  output 0: off by 0.5; allowed 0.0001 (default of the dtype).",
        ]
    )
    check_files(project, names)
    if workers == "-n0":  # two workers have met two of the four items each
        result.stdout.fnmatch_lines_random(["not run: 2 items of this model ended their process"])


def test_an_isolated_model_is_converted_once_and_its_fixtures_end(project):
    project.makepyfile(
        test_own="""
        import pytest
        from fake_backend import Net

        @pytest.fixture(scope="module")
        def prepared():
            yield 1
            open("ended", "a").write("x")

        @pytest.mark.convert
        def net(prepared):
            return Net()

        def test_ordinary():
            pass
        """
    )
    result = project.runpytest_subprocess("test_own.py", "--nobuco-isolate", "-v", "--junitxml", "out.xml")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["2 conversions for 4 items"])
    assert (project.path / "ended").read_text() == "x"
    assert (project.path / "out.xml").read_text().count("<testcase") == 5


def test_a_model_that_dies_after_its_item(project):
    project.makepyfile(
        test_own="""
        import os, pytest
        from fake_backend import Net

        @pytest.fixture
        def prepared():
            yield
            os._exit(5)

        @pytest.mark.convert(orders=["nhwc"], runtimes=["keras"])
        def net(prepared):
            return Net()
        """
    )
    result = project.runpytest_subprocess("test_own.py", "--nobuco-isolate")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["its process ended with exit code 5 while running it in keras"])


def test_a_child_that_cannot_start_says_why(project):
    project.makepyfile(conftest="import os\nassert 'NOBUCO_PARENT' not in os.environ, 'none of that here'")
    result = run(project, [], "--nobuco-isolate")
    result.stdout.fnmatch_lines(["its process ended with exit code 4 while starting", "*none of that here*"])


@pytest.mark.parametrize("option", ["--nobuco-timeout", "--nobuco-memory"])
def test_a_limit_is_a_number_above_zero(project, option):
    result = run(project, [], option, "0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'0' is no limit; a limit is a number above 0*"])


@pytest.mark.full
def test_a_real_model_that_aborts_beside_one_that_does_not(pytester):
    pytester.makepyfile(
        nets="""
        import os
        from torch import nn

        class Aborts(nn.Linear):
            def __init__(self):
                super().__init__(3, 4)

            def forward(self, x):
                os.abort()

        class Fine(nn.Linear):
            def __init__(self):
                super().__init__(3, 4)
        """
    )
    models = ["--nobuco-model", "nets.Aborts", "--nobuco-model", "nets.Fine", "--nobuco-input", "2,3"]
    words = [*models, "--nobuco-order", "nhwc", "--nobuco-runtime", "keras", "--nobuco-dynamic", "none"]
    command = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *words, "--nobuco-isolate", "-rA"]
    result = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert re.findall(r"^(PASSED|FAILED) nobuco::(\w+)", result.stdout, re.MULTILINE) == [
        ("PASSED", "Fine"), ("FAILED", "Aborts"),
    ]  # fmt: skip
    assert 'nets.py", line 9 in forward' in result.stdout


@dataclass(eq=False)
class Worker:
    """A worker as xdist's schedulers see it; one that `has_ended` takes no work."""

    has_ended: bool = False
    given: list[int] = field(default_factory=list)
    shutting_down: bool = False
    gateway: Any = field(default_factory=lambda: SimpleNamespace(id="gw"))

    def send_runtest_some(self, numbers: list[int]) -> None:
        if self.has_ended:
            raise OSError("cannot send (already closed?)")
        self.given += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def test_work_for_a_worker_that_has_ended_goes_to_others(pytester):
    """Two workers end at once, and xdist learns of one after the other."""
    scheduler = GraphScheduling(pytester.parseconfig("--tx", "3*popen"))
    first, second, third = workers = [Worker(), Worker(), Worker()]
    ids = [f"nobuco::m{number}[nchw-nchw-static-keras]" for number in range(12)]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, ids)
    scheduler.schedule()
    second.has_ended = True
    mine = list(second.given)
    while scheduler.workqueue:  # the second would be given more than it takes
        number = next(n for n in third.given if not done(scheduler, third, ids[n]))
        scheduler._reschedule(second)
        scheduler.mark_test_complete(third, number)
    assert scheduler.remove_node(first) == ids[first.given[0]]
    assert scheduler.remove_node(second) == ids[mine[0]]
    assert second.given == mine
    left = {number for number in range(12) if number not in (first.given[0], mine[0])}
    while pending := [n for n in third.given if not done(scheduler, third, ids[n])]:
        scheduler.mark_test_complete(third, pending[0])
    assert set(third.given) == left


def done(scheduler: GraphScheduling, worker: Worker, nodeid: str) -> bool:
    return all(unit[nodeid] for unit in scheduler.assigned_work[worker].values() if nodeid in unit)


def test_a_new_worker_is_not_left_with_one_item(pytester):
    """A worker runs an item once it knows the next; the rest of a unit that ended a worker may be one item alone."""
    scheduler = GraphScheduling(pytester.parseconfig("--tx", "2*popen"))
    first, second, third = Worker(), Worker(), Worker()
    ids = [f"nobuco::m{number}[nchw-nchw-static-{runtime}]" for number in range(3) for runtime in ("keras", "tflite")]
    for worker in (first, second):
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, ids)
    scheduler.schedule()
    second.shutting_down = True
    assert scheduler.remove_node(first) == ids[first.given[0]]
    scheduler.add_node(third)
    scheduler.add_node_collection(third, ids)
    scheduler.schedule()
    assert len(third.given) > 1
