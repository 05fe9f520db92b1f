"""The options of other converters and of other people's files. What checks them is imported when there are any."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class BackendOptions:
    """What was asked for.

    names: of backends; empty for nobuco alone.
    pythons: the interpreter of each backend that has one of its own.
    artifacts: files to hold against the model, by what they are called in ids.
    """

    names: tuple[str, ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()
    artifacts: tuple[tuple[str, Path], ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether nobuco alone converts."""
        return not self.names and not self.artifacts

    def words(self, only: str = "") -> list[str]:
        """The words of the command line; where `only` names one of them, what that needs."""
        pairs = [("--nobuco-backend", name) for name in self.names if only in (name, "")]
        pairs += [("--nobuco-python", f"{name}={python}") for name, python in self.pythons if only in (name, "")]
        pairs += [("--nobuco-artifact", str(path)) for label, path in self.artifacts if only in (label, "")]
        return [word for pair in pairs for word in pair]


def add_backend_options(parser: pytest.Parser, group: Any) -> None:
    """Declare the options."""
    group.addoption(
        "--nobuco-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="what converts: nobuco, litert-torch, onnx2tf, onnxruntime, or one that a package brings; several are "
        "put side by side in a table",
    )
    group.addoption(
        "--nobuco-python",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="the interpreter in which a backend is installed (default: this one); repeatable",
    )
    group.addoption(
        "--nobuco-artifact",
        action="append",
        default=[],
        metavar="FILE",
        help="a .tflite, .keras or .onnx file, or the folder of a SavedModel, that was made elsewhere: hold it against "
        "the one model that --nobuco-model names, without a conversion; repeatable",
    )
    parser.addini("nobuco_pythons", "as --nobuco-python, which goes before them: a line each", type="linelist")


def read_backend_options(config: pytest.Config, models: Collection[str]) -> BackendOptions:
    """What was given for the models of these names; `pytest.UsageError` for what there is not."""
    wanted = [("ini key nobuco_pythons:", text) for text in config.getini("nobuco_pythons")]
    wanted += [("--nobuco-python", text) for text in config.getoption("nobuco_python")]
    names, files = config.getoption("nobuco_backend"), config.getoption("nobuco_artifact")
    if not (wanted or names or files):
        return BackendOptions()
    from pytest_nobuco.backends.given import artifact_paths, backend_names, pythons_of

    return BackendOptions(backend_names(names), pythons_of(wanted, config), artifact_paths(files, models, config))
