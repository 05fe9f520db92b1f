"""In the parent: an item of a model is run by the model's child, and what that reports is the item's outcome."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener
from typing import IO, Any

import pytest

from pytest_nobuco.distributed.deaths import GIVEN_UP, MOST_DEATHS, failing
from pytest_nobuco.isolation.child import ADDRESS, KEY
from pytest_nobuco.isolation.limits import Limits, how_ended, kill
from pytest_nobuco.isolation.words import last_words
from pytest_nobuco.matrix import SIDE_BY_SIDE
from pytest_nobuco.models.cases import case_of, label_of
from pytest_nobuco.models.collect import model_name
from pytest_nobuco.models.only_model import is_only
from pytest_nobuco.models.suite import reproducing
from pytest_nobuco.results import ItemResult, to_wire

# Seconds: how often a child is looked at, and how long one has to end by itself.
_GLANCE, _PATIENCE = 0.1, 10.0


_OF_A_WORKER = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID")


class DeathError(Exception):
    """The child has ended, or had to be; the message says how."""


class Isolation:
    """Runs the items of each model in a child of its own."""

    def __init__(self, config: pytest.Config, limits: Limits) -> None:
        self.config, self.limits = config, limits
        self._child: Process | None = None
        self._deaths: Counter[str] = Counter()
        self._is_tried = hasattr(config, "workerinput")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Have an item of a model run by its child; others run here."""
        key = _model_of(item)
        if key is None:
            return None
        self._try(key)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item, key, nextitem):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if nextitem is None or _model_of(nextitem) != key:
            self._end()
        return True

    def pytest_unconfigure(self) -> None:
        """Leave no child behind."""
        self._end()

    def _reports(self, item: pytest.Item, key: str, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
        if self._deaths[key] >= MOST_DEATHS:
            yield _failing(item, GIVEN_UP)
            return
        started, has_run = time.monotonic(), False
        try:
            child = self._child_of(key)
            for data in child.run(item.nodeid, nextitem.nodeid if nextitem else None, self._limits_of(item)):
                report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
                has_run = has_run or report.when == "call"
                yield report
        except DeathError as death:
            self._end()
            self._deaths[key] += 1
            yield _failing(item, str(death), time.monotonic() - started, "teardown" if has_run else "???")

    def _limits_of(self, item: pytest.Item) -> Limits:
        """Those of one item; what puts several backends side by side holds each of them to the limits itself."""
        case = case_of(item)
        return replace(self.limits, seconds=None) if case and case.runtime == SIDE_BY_SIDE else self.limits

    def _try(self, key: str) -> None:
        """Before the first item, where there is one model alone: end the session if it does not run in PyTorch."""
        if self._is_tried:
            return
        self._is_tried = True
        try:
            problem = self._child_of(key).mistake(self.limits) if is_only(self.config) else None
        except DeathError:
            self._end()  # the item will die as well, and say more
            return
        if problem is not None:
            raise pytest.UsageError(problem)

    def _child_of(self, key: str) -> Process:
        if self._child is None or self._child.key != key:
            self._end()
            self._child = Process(key, self.config)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None


def _model_of(item: pytest.Item) -> str | None:
    """What the items that share a child have in common; None for an item that is not of a model."""
    case = case_of(item)
    return item.nodeid.removesuffix(f"{case.id}]") if case is not None else None


def _failing(item: pytest.Item, message: str, seconds: float = 0, when: str = "???") -> pytest.TestReport:
    """The report of an item whose child did not report, with what the tables need of it."""
    case = case_of(item)
    assert case is not None
    model = model_name(item) or label_of(item, case)
    command = reproducing(item)
    report = failing(item.nodeid, item.location, f"{message}\n  reproduce: {command}", seconds, when)
    report.user_properties += [("nobuco_model", model), ("nobuco_case", case.id)]
    report.nobuco = to_wire(ItemResult("parity", model, case.id, case.axes, command=command))  # type: ignore[attr-defined]
    return report


class Process:
    """A child, and the line to it."""

    def __init__(self, key: str, config: pytest.Config) -> None:
        self.key, self._stage = key, "starting"
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  they live as long as the child
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        secret = secrets.token_bytes(16)
        with Listener(authkey=secret) as listener:
            # Of xdist's variables only the number of workers, by which threads are shared, is the child's too.
            environment = {name: text for name, text in os.environ.items() if name not in _OF_A_WORKER}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *map(str, config.invocation_params.args)],
                cwd=config.invocation_params.dir,
                env={**environment, ADDRESS: str(listener.address), KEY: secret.hex()},
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._said,
                start_new_session=True,
            )
            self._connection = self._answered(listener, secret)

    def _answered(self, listener: Listener, secret: bytes) -> Connection:
        """The line to the child, which may end before it calls."""
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(listener.accept)
            while self._process.poll() is None:
                with contextlib.suppress(NotYetError):  # the built-in one from Python 3.11 on
                    return accepted.result(_GLANCE)
            if not accepted.done():
                Client(listener.address, authkey=secret).close()  # a call of our own ends the waiting
        raise DeathError(self._told(how_ended(self._process.poll()), self._printed, self._said))

    def run(self, nodeid: str, following: str | None, limits: Limits) -> Iterator[Any]:
        """What the child reports of an item; `DeathError` if it does not come to that."""
        return self._answers([nodeid, following], limits)

    def mistake(self, limits: Limits) -> str | None:
        """What keeps the session's first model from running in PyTorch; `DeathError` if it is the child's end."""
        (mistake,) = self._answers([None, None], limits)
        return mistake

    def _answers(self, order: list[str | None], limits: Limits) -> Iterator[Any]:
        started, self._stage = time.monotonic(), "setting up"
        try:
            self._connection.send_bytes(json.dumps(order).encode())
            while True:
                if not self._connection.poll(_GLANCE):
                    problem = limits.exceeded(self._process.pid, time.monotonic() - started)
                    if problem:
                        self.kill()
                        raise DeathError(self._told(problem, self._said))
                    continue
                kind, data = json.loads(self._connection.recv_bytes())
                if kind == "end":
                    return
                if kind == "stage":
                    self._stage = data
                else:
                    yield data
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
            raise DeathError(self._told(how_ended(self._process.poll()), self._said)) from None

    def _told(self, how: str, *files: IO[bytes]) -> str:
        """How the child ended, at which stage, and what these files of it have last."""
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        words = last_words(*texts)
        return f"its process {how} while {self._stage}" + (f"\n  its last words:{words}" if words else "")

    def end(self) -> None:
        """Let the child finish, or make it."""
        with contextlib.suppress(OSError):
            self._connection.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._printed.close()
        self._said.close()

    def kill(self) -> None:
        """End the child and what it has started, at once."""
        kill(self._process)
