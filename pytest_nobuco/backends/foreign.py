"""Other converters and other people's files as the suite has its own backend."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_nobuco.backends.artifact import Opened, open_artifact, size_of
from pytest_nobuco.backends.held import Held, Tensors
from pytest_nobuco.backends.process import Interpreter, is_installed
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.models.backend import Form, Subject
from pytest_nobuco.models.judging import names_of


@dataclass(frozen=True)
class Foreign:
    """A converter in an interpreter of its own."""

    interpreter: Interpreter
    seed: int = 0

    def convert(self, subject: Subject, form: Form) -> Held:
        """Have the model converted, and hold what comes of it."""
        backend = self.interpreter.backend
        home = tempfile.TemporaryDirectory(prefix=f"nobuco-{backend.name}-")
        folder = Path(home.name)
        _written(folder, subject)
        task = {
            "name": subject.name,
            "seed": self.seed,
            "files": {} if subject.name else _files(subject.model),
            "form": {"inputs": form.inputs, "outputs": form.outputs, "free": form.free,
                     "input_names": list(input_names(subject))},
        }  # fmt: skip
        answer = self.interpreter.do("convert", folder, task, "converting")
        for name in ("given.pt", "model.pt"):
            folder.joinpath(name).unlink(missing_ok=True)
        path = folder / backend.artifact
        facts = {**answer["facts"], "size": size_of(path), **_facts(path)}
        return Held(path, lambda: self._opened(path), form.inputs, form.outputs, facts=facts, keep=home)

    def timed(self, held: Held, subject: Subject, seconds: float) -> list[float]:
        """How long runs take in the backend's interpreter, for artifacts that are not run here."""
        return self._run(held.path, held.feeds(tensors_of(subject)), seconds)[1]

    def _opened(self, path: Path) -> Opened:
        if self.interpreter.backend.load is None:
            return open_artifact(path)
        return Opened(lambda feeds: self._run(path, feeds)[0])

    def _run(self, path: Path, feeds: Sequence[Any], seconds: float = 0.0) -> tuple[list[Any], list[float]]:
        import numpy as np

        with tempfile.TemporaryDirectory(prefix="nobuco-run-") as name:
            folder = Path(name)
            named: dict[str, Any] = {f"input_{place}": feed for place, feed in enumerate(feeds)}
            np.savez(folder / "feeds.npz", **named)
            task = {"artifact": str(path), "seconds": seconds}
            answer = self.interpreter.do("run", folder, task, "running what it made")
            with np.load(folder / "outputs.npz") as file:
                return [file[name] for name in file.files], answer["rounds"]


@dataclass(frozen=True)
class Given(Foreign):
    """A file that somebody else made: nothing is converted."""

    path: Path = Path()

    def convert(self, subject: Subject, form: Form) -> Held:
        """Hold the file."""
        facts = {"size": size_of(self.path), **_facts(self.path)}
        return Held(self.path, lambda: self._opened(self.path), form.inputs, form.outputs, True, facts)

    def _opened(self, path: Path) -> Opened:
        return super()._opened(path) if path.suffix == ".onnx" else open_artifact(path)


def run_held(held: Held, subject: Subject) -> list[Any]:
    """Run an artifact on a subject's inputs; `SuiteError` where it does not run."""
    try:
        return held.run(tensors_of(subject))
    except SuiteError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        raise SuiteError(f"{held.path.name} does not run: {type(error).__name__}: {words[:300]}") from None


def arrays_of(subject: Subject) -> list[Any]:
    """The input tensors as arrays, in order."""
    import torch
    from torch.utils import _pytree as pytree

    leaves = pytree.tree_leaves((subject.args, dict(subject.kwargs)))
    return [leaf.detach().cpu().numpy() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def tensors_of(subject: Subject) -> Tensors:
    """What a file is held against: inputs and outputs, with their names."""
    return Tensors(arrays_of(subject), input_names(subject), subject.expected, names_of(subject))


def input_names(subject: Subject) -> tuple[str, ...]:
    """What PyTorch calls the input tensors; a number behind the argument's name where it holds several."""
    import torch
    from torch.utils import _pytree as pytree

    try:
        function = getattr(subject.model, "forward", subject.model)
        bound = inspect.signature(function).bind(*subject.args, **subject.kwargs).arguments
    except (TypeError, ValueError):
        return ()
    names = []
    for name, value in bound.items():
        tensors = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
        names += [name] if len(tensors) == 1 else [f"{name}_{place}" for place in range(len(tensors))]
    return tuple(names)


def _written(folder: Path, subject: Subject) -> None:
    """Write the weights and inputs, and a model without an import name as a whole."""
    import torch

    is_module = isinstance(subject.model, torch.nn.Module)
    content = {
        "args": subject.args,
        "kwargs": dict(subject.kwargs),
        "state": subject.model.state_dict() if subject.name and is_module else {},  # with the versions of its parts
        "expected": [torch.from_numpy(array.copy()) for array in subject.expected if array.dtype.kind in "biufc"],
    }
    torch.save(content, folder / "given.pt")
    if subject.name:
        return
    try:
        torch.save(copy.deepcopy(subject.model), folder / "model.pt")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        words = " ".join(str(error).split())
        raise SuiteError(
            f"the model cannot be sent to another interpreter ({words[:200]}): define its classes at the top of a "
            "module, or name the model with --nobuco-model"
        ) from None


def _files(model: Any) -> dict[str, str]:
    """The modules of the user's that the classes of a model are in, and their files."""
    parts = [type(part) for part in model.modules()] if hasattr(model, "modules") else [model]
    names = {getattr(part, "__module__", "") for part in parts}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in sorted(names)}
    return {name: file for name, file in files.items() if file and not is_installed(Path(file))}


def _facts(path: Path) -> dict[str, int]:
    """What a TFLite file consists of."""
    if path.suffix != ".tflite":
        return {}
    from nobuco.errors import ExportError
    from nobuco.export.running import tflite_operations

    try:
        operations = tflite_operations(path.read_bytes())
    except ExportError:  # such as one that needs TensorFlow's kernels; running it says so
        return {}
    return {"operations": sum(operations.values()), "transpositions": operations.get("TRANSPOSE", 0)}
