"""What a model changes of the process that runs it is put back, so that the next one begins as it would alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""How to read something, and how to write it."""


def _path_of_imports(value: list[str]) -> None:
    sys.path[:] = value


def _environ(value: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# What pytest itself, and xdist's worker between two items, cannot do without.
_PROCESS: tuple[Setting, ...] = (
    (os.getcwd, os.chdir),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (lambda: dict(os.environ), _environ),
    (lambda: list(sys.path), _path_of_imports),
    (sys.gettrace, sys.settrace),
    (_umask, os.umask),
)


@contextmanager
def process_kept() -> Iterator[None]:
    """The process as it was, whatever the block does to it."""
    with suppress(FileNotFoundError):  # the working directory is gone already
        before = [read() for read, _ in _PROCESS]
        try:
            yield
        finally:
            _put_back(_PROCESS, before)
        return
    yield


@dataclass
class Surroundings:
    """PyTorch's settings as they were before a model: its own items share what it sets, those of the next do not."""

    _model: str | None = None
    _before: list[Any] = field(default_factory=list)

    def become(self, model: str) -> None:
        """Those of a model whose item is about to run."""
        if model == self._model or "torch" not in sys.modules:
            return
        if self._model is not None:
            _put_back(_of_torch(), self._before)
        self._model, self._before = model, [read() for read, _ in _of_torch()]


def _of_torch() -> tuple[Setting, ...]:
    import torch

    return (
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_default_device, lambda device: torch.set_default_device(None if device.type == "cpu" else device)),
    )


def _put_back(settings: tuple[Setting, ...], before: list[Any]) -> None:
    for (read, write), value in zip(settings, before):
        try:
            is_changed = read() != value
        except FileNotFoundError:  # a working directory that is there no longer
            is_changed = True
        if is_changed:
            write(value)
