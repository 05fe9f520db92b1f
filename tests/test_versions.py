"""What is said of versions: by the metadata, by the documentation, and where one is newer than what was tried."""

import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

import nobuco
from nobuco.environment import versions

ROOT = Path(__file__).parent.parent
ROW = torch.rand(2, 4)


def converted():
    return nobuco.pytorch_to_keras(torch.sin, [ROW], verbose=False, return_report=True)


def warned(times, action="default"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action, nobuco.NobucoWarning)
        assert all(converted()[1].ok for _ in range(times))
    return [str(warning.message) for warning in caught if "not tried" in str(warning.message)]


@pytest.mark.parametrize(("library", "older"), [("torch", (2, 3)), ("tensorflow", (2, 4))])
def test_a_library_newer_than_what_was_tried_warns_once_and_goes_on(library, older, monkeypatch):
    monkeypatch.setitem(versions.NEWEST, library, older)
    (message,) = warned(times=2)
    assert f"{library} 2." in message and f"up to {older[0]}.{older[1]}" in message


def test_what_was_tried_does_not_warn(monkeypatch):
    for library in versions.NEWEST:
        monkeypatch.setitem(versions.NEWEST, library, (99, 0))
    assert warned(times=1, action="always") == []


@pytest.mark.parametrize(("text", "release"), [("2.9.1+cu128", (2, 9)), ("2.15.0a0+git1234", (2, 15)), ("3.0", (3, 0))])
def test_a_version_is_compared_by_its_numbers(text, release):
    assert versions.release(text) == release


def test_the_metadata_bounds_nothing_above():
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)[1]
    extras = project.partition("[project.optional-dependencies]")[2].partition("[project.entry-points")[0]
    assert "torch>=2.9" in needed
    assert not re.search(
        r"<|==|~=", (needed + extras).replace("sys_platform ==", "").replace("platform_machine ==", "")
    )


def test_this_python_is_declared():
    lowest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert sys.version_info >= (3, int(lowest))
