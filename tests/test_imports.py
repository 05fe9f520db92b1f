"""Imports of nobuco and its plugin follow the flow of data: no circle, those inside functions included."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("nobuco", "pytest_nobuco")
    for file in sorted((ROOT / package).rglob("*.py"))
}


def imported(module: str) -> set[str]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    apart = {id(node) for block in for_types for node in ast.walk(block)}
    named = {name for node in ast.walk(tree) if id(node) not in apart for name in _names(node)}
    return (named & MODULES.keys()) - {module}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name if name in MODULES else node.module for name in inside)
    elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


def test_no_circle():
    graphlib.TopologicalSorter({module: imported(module) for module in MODULES}).prepare()


def test_a_circle_would_be_found():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_imports_inside_functions_count():
    assert "nobuco.converters" in imported("nobuco.builtin")
    assert imported("nobuco.converters")
