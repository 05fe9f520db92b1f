"""The backends there are: those that are delivered, and those that packages have as entry points."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any

from pytest_nobuco.backends.spec import Backend
from pytest_nobuco.errors import SuiteError

GROUP = "nobuco.backends"
NOBUCO = "nobuco"
_DELIVERED = {
    NOBUCO: "pytest_nobuco.backends.delivered.nobuco",
    "litert-torch": "pytest_nobuco.backends.delivered.litert_torch",
    "onnx2tf": "pytest_nobuco.backends.delivered.onnx2tf",
    "onnxruntime": "pytest_nobuco.backends.delivered.onnxruntime",
}


def names() -> list[str]:
    """What backends are called, the delivered ones first."""
    return list(dict.fromkeys([*_DELIVERED, *sorted(entry.name for entry in entry_points(group=GROUP))]))


def check_name(name: str) -> None:
    """Refuse a name that no backend has; `SuiteError` names those that there are."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SuiteError(f"there is no backend {name!r}; there are {', '.join(names())}.{hint}")


def backend_named(name: str) -> Backend:
    """The backend of this name; one of an entry point stands in for one that is delivered.

    Raises:
        SuiteError: there is none, or it is none.
    """
    check_name(name)
    entry = next((entry for entry in entry_points(group=GROUP) if entry.name == name), None)
    backend: Any
    if entry is None:
        backend = importlib.import_module(_DELIVERED[name]).BACKEND
    else:
        try:
            backend = entry.load()
        except Exception as error:
            raise SuiteError(f"backend {name} ({entry.value}): {type(error).__name__}: {error}") from error
    if not isinstance(backend, Backend):
        raise SuiteError(f"backend {name}: {getattr(entry, 'value', name)} is no pytest_nobuco.backends.Backend")
    return backend
