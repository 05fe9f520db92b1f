"""The only model of a session runs in PyTorch before anything else, so that a mistake in it is told once, in a line.

Of several models a bad one fails by its own items: the others shall run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from nobuco.subject.mistakes import in_a_line
from pytest_nobuco.bench import BENCH, cap_threads
from pytest_nobuco.cases import case_of
from pytest_nobuco.collect import named_model
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.isolation.limits import Limits, limits_of
from pytest_nobuco.suite import subject_of, trial_of

# How long the controller of xdist waits for a verdict; then the items tell.
_PATIENCE = 60.0


def register(config: pytest.Config) -> None:
    """Add what tries the model, where there is one and nothing else to run."""
    if not is_only(config) or hasattr(config, "workerinput"):
        return
    if getattr(config.option, "dist", "no") != "no":
        config.pluginmanager.register(_Beside(config), "nobuco-preflight")
    elif limits_of(config) is None:
        config.pluginmanager.register(_Here(), "nobuco-preflight")


def is_only(config: pytest.Config) -> bool:
    """Whether there is one named model, and nothing else to run."""
    options = config.stash[BENCH].options
    return len(options.models) == 1 and not (options.converters or config.args or config.option.collectonly)


def mistake(items: Sequence[pytest.Item]) -> str | None:
    """What keeps the model of the first item that has one from running in PyTorch, in a line."""
    item = next((item for item in items if case_of(item) and named_model(item)), None)
    if not isinstance(item, pytest.Function):
        return None
    model = named_model(item)
    assert model is not None
    cap_threads(os.environ)
    trial = trial_of(item)
    try:
        trial.bench.entry(trial.key, lambda: subject_of(trial))
    except SuiteError as error:
        told = str(error).removeprefix(f"{model.name}: ")
    except Exception as error:
        told = f"making the model raised {in_a_line(error)}"
    else:
        return None
    return f"{model.place or '--nobuco-model'}: {model.name}: {told}"


class _Here:
    """Tries the model in this process, where its items run."""

    def __init__(self) -> None:
        self._tried = False

    # As if it were of the first item, which a plugin may have given a time.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        if self._tried:
            return
        self._tried = True
        with _captured(item):
            problem = mistake([item])
        if problem is not None:
            raise pytest.UsageError(problem)


@contextmanager
def _captured(item: pytest.Item) -> Iterator[None]:
    """Give what is written meanwhile to the item, as if it had been its set-up."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.resume_global_capture()
    try:
        yield
    finally:
        capture.suspend_global_capture(in_=False)
        for name, text in zip(("stdout", "stderr"), capture.read_global_capture()):
            if text:
                item.add_report_section("setup", name, text)


class _Beside:
    """Tries the model in a process of its own while xdist's workers start."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        from pytest_nobuco.isolation.parent import DeathError, Process

        limits = limits_of(self.config) or Limits()
        try:
            child = Process("", self.config)
        except DeathError:
            return  # its items will tell
        try:
            problem = child.mistake(Limits(limits.seconds or _PATIENCE, limits.gigabytes))
        except DeathError:
            return
        finally:
            child.end()
        if problem is not None:
            raise pytest.UsageError(problem)
