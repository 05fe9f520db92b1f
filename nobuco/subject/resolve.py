"""From the name of a model, as a command line gives it, to the Python object."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from nobuco.errors import InputError


def resolve(name: str) -> Any:
    """Import what `pkg.mod.attr` or `pkg.mod:attr` names.

    Raises:
        InputError: there is no such module or attribute, or importing it fails.
    """
    module_name, colon, attribute = name.partition(":")
    item: Any = _import(module_name, name) if colon else None
    if colon:
        for part in attribute.split("."):
            item = _member(item, part, name)
        return item
    first, *rest = name.split(".")
    item, path = _import(first, name), first
    for part in rest:
        path = f"{path}.{part}"
        if isinstance(item, ModuleType) and not hasattr(item, part) and _is_module(path):
            item = _import(path, name)
        else:
            item = _member(item, part, name)
    return item


def require_module(name: str) -> None:
    """Refuse a name whose first module is not there; nothing is imported.

    Raises:
        InputError: there is no such module.
    """
    top = name.partition(":")[0].partition(".")[0]
    if top not in sys.modules and not _is_module(top):
        raise _no_module(top, name)


def _no_module(module: str, name: str) -> InputError:
    return InputError(f"{name}: there is no module {module!r}. Is it installed, or in the directory that you are in?")


def _import(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise _no_module(error.name, name) from None
        raise InputError(f"{name}: importing {module} failed: {error}") from error
    except (Exception, SystemExit) as error:  # a script that is not meant to be imported may end itself
        raise InputError(f"{name}: importing {module} failed: {type(error).__name__}: {error}") from error


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
        raise InputError(f"{name}: {owner_name} has no {part!r}.{hint}") from None
