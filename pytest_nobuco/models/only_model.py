"""The only model of a session, and what keeps it from running in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pytest_nobuco.errors import SuiteError, outlived
from pytest_nobuco.models.cases import case_of
from pytest_nobuco.models.collect import named_model
from pytest_nobuco.models.suite import subject_of, trial_of
from pytest_nobuco.session import BENCH, cap_threads


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
        with outlived():
            trial.bench.entry(trial.key, lambda: subject_of(trial))
    except SuiteError as error:
        told = str(error).removeprefix(f"{model.name}: ")
        return f"{model.place or '--nobuco-model'}: {model.name}: {told}"
    return None
