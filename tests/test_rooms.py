"""Imports run one way: between the modules, those inside functions included, and between the rooms of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("nobuco", "pytest_nobuco")
# The start of the command line and the lazy attributes of the package reach for everything, by their nature.
DOORS = {"nobuco", "nobuco.__main__"}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that a file imports, anywhere in it but for the sake of types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def imports() -> dict[str, set[str]]:
    known = modules()
    return {name: {other for other in imported(path, known) if other != name} for name, path in known.items()}


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: others - DOORS for name, others in imports().items()}
    list(TopologicalSorter(graph).static_order())  # raises a CycleError that names the circle


def test_no_room_of_the_library_imports_itself_by_way_of_others():
    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    graph: dict[str, set[str]] = {}
    for name, others in imports().items():
        if name.startswith("nobuco."):
            inside = {room(other) for other in others if other.startswith("nobuco.")} - {room(name)}
            graph[room(name)] = graph.get(room(name), set()) | inside
    list(TopologicalSorter(graph).static_order())
