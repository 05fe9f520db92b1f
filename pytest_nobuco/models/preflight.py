"""The only model of a session runs in PyTorch before anything else, so that a mistake in it is told once, in a line.

Of several models a bad one fails by its own items: the others shall run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nobuco.errors import InputError
from nobuco.subject.resolve import require_module
from pytest_nobuco.isolation.limits import Limits, limits_of
from pytest_nobuco.models.only_model import is_only, mistake
from pytest_nobuco.session import BENCH

# How long the controller of xdist waits for a verdict; then the items tell.
_PATIENCE = 60.0


def register(config: pytest.Config) -> None:
    """Add what tries the model, where there is one and nothing else to run.

    Raises:
        pytest.UsageError: there is not even its module; PyTorch need not be loaded to see that.
    """
    if not is_only(config) or hasattr(config, "workerinput"):
        return
    (model,) = config.stash[BENCH].options.models
    try:
        require_module(model.name)
    except InputError as error:
        raise pytest.UsageError(f"{model.place or '--nobuco-model'}: {error}") from None
    if getattr(config.option, "dist", "no") != "no":
        config.pluginmanager.register(_Beside(config), "nobuco-preflight")
    elif limits_of(config) is None:
        config.pluginmanager.register(_Here(), "nobuco-preflight")


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
