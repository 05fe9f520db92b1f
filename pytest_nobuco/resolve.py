"""From the name that `--nobuco-model` gives to the Python object."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from types import ModuleType
from typing import Any

from pytest_nobuco.errors import SuiteError


def resolve(name: str) -> Any:
    """Import what `pkg.mod.attr` or `pkg.mod:attr` names.

    Raises:
        SuiteError: there is no such module or attribute, or importing it fails.
    """
    module_name, colon, attribute = name.partition(":")
    found: Any = _import(module_name, name) if colon else None
    if colon:
        for part in attribute.split("."):
            found = _member(found, part, name)
        return found
    first, *rest = name.split(".")
    found, path = _import(first, name), first
    for part in rest:
        path = f"{path}.{part}"
        if isinstance(found, ModuleType) and not hasattr(found, part) and _is_module(path):
            found = _import(path, name)
        else:
            found = _member(found, part, name)
    return found


def _import(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise SuiteError(
                f"--nobuco-model {name}: there is no module {error.name!r}. "
                "Is it installed, or in the directory that pytest was started from?"
            ) from None
        raise SuiteError(f"--nobuco-model {name}: importing {module} failed: {error}") from error
    except Exception as error:
        raise SuiteError(
            f"--nobuco-model {name}: importing {module} failed: {type(error).__name__}: {error}"
        ) from error


def _is_module(path: str) -> bool:
    try:
        return importlib.util.find_spec(path) is not None
    except (ImportError, ValueError):
        return False


def _member(owner: Any, part: str, name: str) -> Any:
    try:
        return getattr(owner, part)
    except AttributeError:
        owner_name = getattr(owner, "__name__", repr(owner))
        close = difflib.get_close_matches(part, dir(owner), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise SuiteError(f"--nobuco-model {name}: {owner_name} has no {part!r}.{hint}") from None
