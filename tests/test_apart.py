"""A function in a process of its own, which may end without harm."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest
import torch

import nobuco
from nobuco.errors import ExportError
from nobuco.export import quantisation, to_tflite
from nobuco.export.apart import EndedError, apart

FORKS = [pytest.param(False, id="new process", marks=pytest.mark.full)]
if hasattr(os, "fork"):
    FORKS.append(pytest.param(True, id="copy"))


@pytest.fixture(params=FORKS)
def fork(request, tmp_path, monkeypatch):
    """Whether the process is a copy; afterwards nothing is left of its files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield request.param
    assert not list(tmp_path.iterdir())


def doubled(data):
    return data * 2


def refuse(data):
    raise ExportError(f"no {data}")


def end(data):
    os.write(2, b"first\n" + data + b"\n")
    os.abort()


def test_it_gives_what_the_function_gives(fork):
    assert apart(doubled, fork)(b"12" * 10**6) == b"12" * 2 * 10**6


def test_it_raises_what_the_function_raises(fork):
    with pytest.raises(ExportError, match="no way"):
        apart(refuse, fork)("way")


def test_an_abort_is_an_error(fork):
    with pytest.raises(EndedError, match="SIGABRT, after 'last words'"):
        apart(end, fork)(b"last words")


def test_a_script_needs_no_guard(tmp_path):
    """The process that is started does not run the script, too."""
    script = tmp_path / "script.py"
    script.write_text("from nobuco.export.apart import apart\nprint(apart(bytes.upper, fork=False)(b'once'))\n")
    told = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert told == "b'ONCE'\n"


def test_a_quantiser_that_ends_its_process_is_told(monkeypatch):
    monkeypatch.setattr(quantisation, "with_ranges", lambda *_: os.abort())
    model = nobuco.pytorch_to_keras(lambda x: x * 2, [torch.randn(1, 4)], verbose=False)
    with pytest.raises(ExportError, match=r"ended its process .*SIGABRT.*'dynamic' and 'float16' need no calibration"):
        to_tflite(model, precision="int8", representative=[torch.randn(1, 4).numpy()])
