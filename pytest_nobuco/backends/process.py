"""A task in a backend's interpreter: started, watched, and what came of it."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_nobuco.backends.spec import Backend
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.isolation.limits import Limits, how_ended, kill
from pytest_nobuco.isolation.words import last_words

_CHILD = Path(__file__).with_name("child.py")
_GLANCE = 0.05  # seconds
# What is the session's own, and would lead another interpreter astray.
_NOT_ITS = ("PYTHONHOME", "VIRTUAL_ENV", "NOBUCO_PARENT", "NOBUCO_PARENT_KEY", "PYTEST_CURRENT_TEST")


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs a backend; `given` if the user named it."""

    backend: Backend
    python: str = sys.executable
    given: bool = False
    limits: Limits = field(default_factory=Limits)

    def do(self, what: str, folder: Path, task: Mapping[str, Any], verb: str) -> dict[str, Any]:
        """Have a task done in this folder, and give what it left; `verb` is what it is about, for messages.

        Raises:
            SuiteError: it could not be done.
        """
        task = {
            "do": what,
            "paths": own_paths(),
            "modules": self.backend.modules,
            "install": self.backend.install,
            **_home(self.backend),
            **task,
        }
        folder.joinpath("task.json").write_text(json.dumps(task))
        folder.joinpath("result.json").unlink(missing_ok=True)
        with tempfile.TemporaryFile() as said:
            ended = self._watched(folder, said)
            said.seek(0)
            words = said.read().decode(errors="replace")
        try:
            result: dict[str, Any] = json.loads(folder.joinpath("result.json").read_text())
        except (OSError, ValueError):
            raise SuiteError(f"{self.backend.name}'s process {ended} while {verb}{last_words(words)}") from None
        if "problem" in result:
            raise SuiteError(self._told(result["problem"], verb))
        return result

    def _watched(self, folder: Path, said: Any) -> str:
        """Run the process to its end, which may be a limit's; in words how it ended."""
        environment = {name: text for name, text in os.environ.items() if name not in _NOT_ITS}
        with subprocess.Popen(
            [self.python, "-X", "faulthandler", str(_CHILD), str(folder)],
            stdin=subprocess.PIPE,  # by whose end it knows that the session has ended
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        ) as process:
            started = time.monotonic()
            try:
                while process.poll() is None:
                    if problem := self.limits.exceeded(process.pid, time.monotonic() - started):
                        return problem
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_GLANCE)
            finally:
                kill(process)
        return how_ended(process.returncode)

    def _told(self, problem: str, verb: str) -> str:
        name = self.backend.name
        if problem.startswith("lacks "):
            other = "" if self.given else f"; --nobuco-python {name}=PYTHON names an interpreter that has it"
            install = f"{shlex.quote(self.python)} -m pip install {self.backend.install or name}"
            return f"{name}: {self.python} {problem}: {install}{other}"
        if problem.startswith("cannot import "):
            return f"{name}: {self.python} {problem}"
        return f"{name} failed while {verb}: {problem}"


def own_paths() -> list[str]:
    """Where the session finds what is neither Python's own nor installed: the user's code."""
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    return [str(entry) for entry in entries if entry.is_dir() and not is_installed(entry)]


def is_installed(path: Path) -> bool:
    """Whether this is in the interpreter's own folders."""
    homes = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(path.resolve().is_relative_to(Path(home).resolve()) for home in homes)


def _check_function(function: Callable[..., Any], backend: str) -> None:
    """Refuse what another interpreter could not find by its file and name; `SuiteError` says so."""
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name:
        raise SuiteError(f"backend {backend}: {name or function!r} has to be a function at the top of its file")


def _home(backend: Backend) -> dict[str, str]:
    """Where the backend's functions are, and a name that leads to the backend itself there."""
    _check_function(backend.convert, backend.name)
    module = inspect.getmodule(backend.convert)
    assert module is not None
    name = next((key for key, value in vars(module).items() if value is backend), None)
    if name is None:
        raise SuiteError(f"backend {backend.name}: it has to stand at the top of {module.__name__}, beside its convert")
    return {"module": module.__name__, "file": str(inspect.getsourcefile(module)), "attribute": name}
