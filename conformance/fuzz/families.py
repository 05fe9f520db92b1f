"""The families of programs by name, and a seed's programs of one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis.strategies import sampled_from

# Each is a module of this package and what its `programs` takes; imported when it is needed, with PyTorch.
FAMILIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "views": ("views", {"dynamic": False}),
    "views-dynamic": ("views", {"dynamic": True}),
    "sizes": ("sizes", {}),
    "layouts": ("layouts", {}),
    "dtypes": ("dtypes", {}),
    "control": ("control", {}),
    "modules": ("modules", {}),
    "idioms": ("idioms", {}),
    "loops": ("loops", {}),
}


ALL = "all"
"""A mixture of them."""


@dataclass(frozen=True)
class Run:
    """The programs of a family that a seed gives; each is drawn by its number, whatever came before it."""

    family: str
    seed: int

    def strategy(self) -> Any:
        """What Hypothesis draws them from."""
        if self.family == ALL:
            families = [replace(self, family=family) for family in FAMILIES]
            return sampled_from(families).flatmap(lambda run: run.strategy())
        module, options = FAMILIES[self.family]
        return importlib.import_module(f"conformance.fuzz.{module}").programs(**options)
