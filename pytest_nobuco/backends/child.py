"""Runs in a backend's interpreter: takes a task from its folder, and leaves there what came of it.

Started by the path of this file, so that of the session's packages only nobuco's own are to be had.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

OURS = ("nobuco", "pytest_nobuco")
_HOME = str(Path(__file__).parents[2])
_WARM_UPS = 2
# Code of a command line ends its process.
_FAULTS = (Exception, SystemExit)


class TaskError(Exception):
    """The task cannot be done; the message says why in a line."""


class _Ours:
    """Finds nobuco and its plugin where the session has them, and nothing else that is there."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        return PathFinder.find_spec(name, [_HOME]) if name in OURS else None


def main(folder: Path) -> None:
    """Do the task of this folder."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = json.loads((folder / "task.json").read_text())
    sys.path[:] = [*task["paths"], *sys.path[1:]]
    sys.meta_path.insert(0, _Ours)
    try:
        result = _TASKS[task["do"]](task, folder)
    except TaskError as error:
        result = {"problem": str(error)}
    (folder / "result.json").write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a converter's threads and atexit handlers are not waited for


def _convert(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Convert the model, and tell what it took."""
    import torch

    from pytest_nobuco.backends.spec import Job

    backend = _backend(task)
    inputs = torch.load(folder / "given.pt", weights_only=True)
    model = _model(task, inputs, folder)
    _compare(_outputs(model, inputs), inputs["expected"])
    job = Job(model, tuple(inputs["args"]), inputs["kwargs"], folder / backend.artifact, **task["form"])
    started, used = time.perf_counter(), _processor_seconds()
    try:
        backend.convert(job)
    except _FAULTS as error:
        raise TaskError(f"{type(error).__name__}: {_line(error)}") from error
    facts: dict[str, Any] = {"seconds": time.perf_counter() - started, "cpu_seconds": _processor_seconds() - used}
    facts |= {"peak": _peak(), "version": _versions(task["install"])}
    if not job.artifact.exists():
        raise TaskError(f"its convert function wrote no {backend.artifact}")
    if backend.describe is not None:
        facts.update(backend.describe(job.artifact))
    return {"facts": facts}


def _run(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run an artifact on arrays; time it, too, where a number of seconds is asked for."""
    import numpy as np

    backend = _backend(task)
    with np.load(folder / "feeds.npz") as file:
        feeds = [file[name] for name in file.files]
    try:
        run = backend.load(Path(task["artifact"]))
        outputs = [np.asarray(output) for output in run(feeds)]
    except _FAULTS as error:
        raise TaskError(f"{type(error).__name__}: {_line(error)}") from error
    named: dict[str, Any] = {f"output_{place}": output for place, output in enumerate(outputs)}
    np.savez(folder / "outputs.npz", **named)
    return {"rounds": _rounds(lambda: run(feeds), task["seconds"]) if task["seconds"] else []}


_TASKS = {"convert": _convert, "run": _run}


def _backend(task: dict[str, Any]) -> Any:
    """The backend, from its file, once what it needs is known to be here."""
    for name in task["modules"]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise TaskError(f"lacks {error.name}") from error
        except _FAULTS as error:
            raise TaskError(f"cannot import {name}: {type(error).__name__}: {_line(error)}") from error
    backend: Any = _loaded(task["module"], Path(task["file"]))
    for part in task["attribute"].split("."):
        backend = getattr(backend, part)
    return backend


def _loaded(name: str, file: Path) -> Any:
    """A module by its file; ours by its name."""
    if name.partition(".")[0] in OURS:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TaskError(f"{file} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _model(task: dict[str, Any], inputs: dict[str, Any], folder: Path) -> Any:
    """The model by its import name, with the session's weights; without a name, as it was pickled."""
    import torch

    try:
        if not task["name"]:
            for name, file in task["files"].items():
                if not _is_found(name):
                    _loaded(name, Path(file))
            return torch.load(folder / "model.pt", weights_only=False).eval()
        from nobuco.subject.resolve import resolve

        torch.manual_seed(task["seed"])
        found = resolve(task["name"])
        model = found if isinstance(found, torch.nn.Module) else found()
    except _FAULTS as error:
        what = task["name"] or "the model"
        raise TaskError(f"cannot import {what}: {type(error).__name__}: {_line(error)}") from error
    if isinstance(model, torch.nn.Module):
        model.eval()
        try:
            model.load_state_dict(inputs["state"])
        except _FAULTS as error:
            raise TaskError(f"{task['name']} takes other weights than in the session: {_line(error)}") from error
    return model


def _outputs(model: Any, inputs: dict[str, Any]) -> list[Any]:
    import torch
    from torch.utils import _pytree as pytree

    args, kwargs = pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, (inputs["args"], inputs["kwargs"])
    )
    try:
        with torch.no_grad():
            results = pytree.tree_leaves(model(*args, **kwargs))
    except _FAULTS as error:
        raise TaskError(
            f"the model fails there, in PyTorch {torch.__version__}: {type(error).__name__}: {_line(error)}"
        ) from error
    return [leaf for leaf in results if isinstance(leaf, torch.Tensor)]


def _compare(got: list[Any], expected: list[Any]) -> None:
    """Refuse a model that computes something else here than in the session: no conversion could mend that."""
    import torch

    got = [tensor for tensor in got if tensor.dtype != torch.bfloat16]  # which arrays cannot hold
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (got, expected)]
    if shapes[0] != shapes[1]:
        raise TaskError(f"the model gives outputs of {shapes[0]} there, and of {shapes[1]} in the session")
    for ours, theirs in zip(got, expected):
        if not theirs.is_floating_point() or not theirs.numel():
            continue
        off = (ours.double() - theirs.double()).nan_to_num().abs().max().item()
        if off > 1e-2 * max(theirs.double().nan_to_num(posinf=0, neginf=0).abs().max().item(), 1e-30):
            raise TaskError(
                f"the model computes something else there, in PyTorch {torch.__version__}: it is off by {off:.1e}; "
                "is it random, or does it hold numbers that are not in its state_dict?"
            )


def _rounds(run: Any, seconds: float) -> list[float]:
    for _ in range(_WARM_UPS):
        run()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < until and len(times) < 1000):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return times


def _versions(install: str) -> str:
    """The versions of the packages that are said to be installed for it."""
    versions = []
    for name in install.split():
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return ", ".join(versions)


def _processor_seconds() -> float:
    return sum(os.times()[:4])  # of this process and of those that it waited for


def _peak() -> float | None:
    """The most memory that this process has had, in bytes; None where that cannot be told.

    On Linux not by `getrusage`, which begins with what the parent had.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        if sys.platform != "darwin":
            return None
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _end_with_parent() -> None:
    """Wait for the session to hang up, and leave nothing of this behind then."""
    while os.read(0, 1):  # not by `sys.stdin`, whose lock would be held at the end
        pass
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
