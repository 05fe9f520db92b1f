"""Telling the suites' items from anybody else's; all that a session without suites needs of them."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_nobuco.matrix import Case


def case_of(item: pytest.Item) -> Case | None:
    """The case that an item of a suite runs; None for anybody else's item."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("nobuco_case") if callspec else None


def label_of(item: pytest.Item, case: Any) -> str:
    """What a marked factory is called in reports: the item's id without the case."""
    stem = item.nodeid.removesuffix(f"{case.id}]")
    return stem[:-1] if stem.endswith("[") else f"{stem[:-1]}]"


def marked_factory(obj: object) -> Any:
    """The function or `torch.nn.Module` class that has the `convert` marker itself; None for anything else."""
    # Exact types and no getattr: a test file may hold proxies that do surprising things when asked.
    factory = obj.__func__ if type(obj) is staticmethod or type(obj) is classmethod else obj
    if type(factory) is not FunctionType and not isinstance(factory, type):
        return None
    if vars(factory).get("__test__") is True or not any(mark.name == "convert" for mark in marks_of(factory)):
        return None
    if isinstance(factory, type) and not hasattr(factory, "forward"):
        return None  # a test class: the marker sets what its functions inherit
    return factory


def marks_of(factory: object) -> list[pytest.Mark]:
    """The marks that a function or class has itself."""
    marks = vars(factory).get("pytestmark", [])
    return marks if isinstance(marks, list) else [marks]
