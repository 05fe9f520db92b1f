"""The plugin: what a model leaves behind in the process that runs it does not reach the models behind it."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from nobuco.subject.mistakes import in_a_line
from pytest_nobuco.models.leftovers import Surroundings, process_kept
from tests.fake_project import fake_project

WILD = """
    import os, sys
    import fake_backend
    from fake_backend import Net

    class Fork(Net): pass
    class Elsewhere(Net): pass
    class Shallow(Net): pass
    class Behind(Net): pass

    def harm(model):
        if isinstance(model, Fork):
            os.fork()
        if isinstance(model, Elsewhere):
            os.chdir("/")
            os.environ.clear()
            sys.path.clear()
        if isinstance(model, Shallow):
            sys.setrecursionlimit(sys.getrecursionlimit() // 2)
        if isinstance(model, Behind):
            assert os.getcwd() == CWD and "PATH" in os.environ and sys.path and sys.getrecursionlimit() == LIMIT

    CWD, LIMIT = os.getcwd(), sys.getrecursionlimit()

    class Backend(fake_backend.FakeBackend):
        def convert(self, subject, *rest):
            harm(subject.model)
            return super().convert(subject, *rest)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, no_worker: None) -> pytest.Pytester:
    project = fake_project(pytester)
    project.makepyfile(wild=WILD)
    ini = project.path / "tox.ini"
    ini.write_text(ini.read_text().replace("fake_backend:FakeBackend", "wild:Backend"))
    return project


@pytest.mark.parametrize("ways", [[], ["-n2"]])
def test_each_item_is_reported_once_and_the_models_behind_are_as_alone(project, ways):
    names = ["Fork", "Elsewhere", "Shallow", "Behind"]
    models = [word for name in names for word in ("--nobuco-model", f"wild.{name}")]
    result = project.runpytest_subprocess(*models, *ways, "--nobuco-results=results.jsonl")
    result.assert_outcomes(passed=16)
    lines = (project.path / "results.jsonl").read_text().splitlines()
    assert sum('"category": "passed"' in line or '"category":"passed"' in line for line in lines) == 16


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(tmp_path)
    with process_kept():
        os.chdir(gone)
        gone.rmdir()
    assert os.getcwd() == str(tmp_path)


def test_settings_of_pytorch_are_those_of_one_model():
    surroundings = Surroundings()
    threads = torch.get_num_threads()
    surroundings.become("first")
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(threads + 1)
        surroundings.become("first")
        assert torch.get_default_dtype() is torch.float64
        surroundings.become("second")
        assert torch.get_default_dtype() is torch.float32
        assert torch.get_num_threads() == threads
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(("error", "text"), [(Mute(), "Mute"), (ValueError("\ud800"), "ValueError: \\ud800")])
def test_an_error_that_cannot_say_what_it_is(error, text):
    assert in_a_line(error) == text
    in_a_line(error).encode(sys.getfilesystemencoding())
