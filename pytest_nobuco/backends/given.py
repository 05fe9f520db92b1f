"""What the options of backends say, checked before anything is loaded."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from nobuco.files import is_there
from pytest_nobuco.backends.artifact import FORMS, runtime_of
from pytest_nobuco.backends.registry import check_name
from pytest_nobuco.errors import SuiteError


def backend_names(names: Sequence[str]) -> tuple[str, ...]:
    """The backends, each once; `pytest.UsageError` for one that there is not."""
    for name in names:
        try:
            check_name(name)
        except SuiteError as error:
            raise pytest.UsageError(f"--nobuco-backend {name}: {error}") from None
    return tuple(dict.fromkeys(names))


def pythons_of(given: Sequence[tuple[str, str]], config: pytest.Config) -> tuple[tuple[str, str], ...]:
    """The interpreters by backend, of texts behind where they stand; `pytest.UsageError` for one that is not there."""
    interpreters = {}
    for where, text in given:
        name, equals, python = text.partition("=")
        option = f"{where} {text}"
        if not equals or not python:
            raise pytest.UsageError(f"{option}: give NAME=PYTHON, e.g. litert-torch=/venv/bin/python")
        try:
            check_name(name)
        except SuiteError as error:
            raise pytest.UsageError(f"{option}: {error}") from None
        path = shutil.which(str(config.invocation_params.dir / python)) or shutil.which(python)
        if path is None:
            raise pytest.UsageError(f"{option}: there is no interpreter {python}")
        interpreters[name] = path
    return tuple(interpreters.items())


def artifact_paths(
    texts: Sequence[str], models: Collection[str], config: pytest.Config
) -> tuple[tuple[str, Path], ...]:
    """The files by their labels; `pytest.UsageError` for one that nothing runs, or without the one model."""
    if texts and len(set(models)) != 1:
        raise pytest.UsageError("--nobuco-artifact: name the model that the file is held against, by --nobuco-model")
    paths = [Path(config.invocation_params.dir, name) for name in dict.fromkeys(texts)]
    for path in paths:
        if not is_there(path):
            raise pytest.UsageError(f"--nobuco-artifact {path}: there is no such file")
        if runtime_of(path) is None:
            raise pytest.UsageError(f"--nobuco-artifact {path}: give {FORMS}")
    count = Counter(path.name for path in paths)
    return tuple((path.name if count[path.name] == 1 else str(path), path) for path in paths)
