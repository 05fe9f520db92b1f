"""A task in a backend's interpreter: what it cannot do is told in a line, and nothing of it stays behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_nobuco.backends import Backend
from pytest_nobuco.backends.process import Interpreter
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.isolation.limits import Limits
from tests import fake_converter


def run(backend: Backend, folder: Path, limits: Limits | None = None, given: bool = False) -> dict:
    np.savez(folder / "feeds.npz", input_0=np.arange(6.0).reshape(1, 3, 2))
    np.savez(folder / "net.npz", scale=np.array([1.0, 2.0, 3.0]), channels=1)
    interpreter = Interpreter(backend, sys.executable, given, limits or Limits())
    return interpreter.do("run", folder, {"artifact": str(folder / "net.npz"), "seconds": 0}, "running what it made")


def refusal(backend: Backend, folder: Path, limits: Limits | None = None, given: bool = False) -> str:
    with pytest.raises(SuiteError) as caught:
        run(backend, folder, limits, given)
    return str(caught.value)


def test_what_it_computes_comes_back(tmp_path):
    run(fake_converter.PLAIN, tmp_path)
    with np.load(tmp_path / "outputs.npz") as file:
        np.testing.assert_array_equal(file["output_0"], [[[0.0, 1.0], [4.0, 6.0], [12.0, 15.0]]])


def test_a_package_that_is_missing_is_named_with_what_installs_it(tmp_path):
    message = refusal(fake_converter.LACKING, tmp_path)
    assert message == (
        f"lacking: {sys.executable} lacks no_such_module: {sys.executable} -m pip install no-such-package; "
        "--nobuco-python lacking=PYTHON names an interpreter that has it"
    )
    assert "--nobuco-python" not in refusal(fake_converter.LACKING, tmp_path, given=True)


def test_a_death_is_told_with_the_last_words(tmp_path):
    message = refusal(fake_converter.DYING, tmp_path)
    assert message.startswith("dying's process died of SIGSEGV while running what it made\n")
    assert "\n    about to touch what is not there" in message


@pytest.mark.parametrize(
    ("backend", "limits", "words"),
    [
        (fake_converter.HANGING, Limits(seconds=2), "took longer than 2 s (--nobuco-timeout)"),
        (fake_converter.GROWING, Limits(gigabytes=0.5), "took more than 0.5 GB of memory (--nobuco-memory)"),
    ],
)
def test_limits_end_it(tmp_path, backend, limits, words):
    assert refusal(backend, tmp_path, limits) == f"{backend.name}'s process {words} while running what it made"


def test_an_exception_is_one_line(tmp_path):
    message = refusal(fake_converter.REFUSING, tmp_path)
    assert message == "refusing failed while running what it made: SystemError: not this one"


def test_a_command_lines_exit_is_one_line(tmp_path):
    assert refusal(fake_converter.LEAVING, tmp_path) == "leaving failed while running what it made: SystemExit: 3"


def test_a_function_that_no_other_interpreter_finds_is_refused(tmp_path):
    def nested(job): ...

    assert "has to be a function at the top of its file" in refusal(Backend("nested", nested), tmp_path)
    message = refusal(Backend("elsewhere", fake_converter.convert), tmp_path)
    assert message == "backend elsewhere: it has to stand at the top of tests.fake_converter, beside its convert"


def test_it_ends_with_the_session(tmp_path):
    """A session that is killed cannot end what it has started; that ends by itself."""
    script = (
        "import sys; from pathlib import Path; from tests.test_backends_process import *\n"
        f"run(fake_converter.HANGING, Path({str(tmp_path)!r}))"
    )
    session = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1])
    try:
        child = _until(lambda: _child_of(session.pid))
        assert child is not None
    finally:
        session.kill()
        session.wait()
    assert _until(lambda: not Path(f"/proc/{child}").exists() or None)


def _child_of(pid: int) -> int | None:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    if not tasks.exists():
        pytest.skip("children cannot be told here")
    return next((int(word) for word in tasks.read_text().split() if _is_started(int(word))), None)


def _is_started(pid: int) -> bool:
    return b"child.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _until(look, seconds: float = 120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        time.sleep(0.2)
    return None
