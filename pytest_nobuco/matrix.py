"""The matrix: in which forms each model is converted and run, and how a form is written in a test's id."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

ORDERS = ("nchw", "nhwc")
RUNTIMES = ("keras", "tflite")


@dataclass(frozen=True, order=True)
class Case:
    """One form: the channel order of inputs and outputs, and what runs the converted model."""

    order: str
    runtime: str

    @property
    def id(self) -> str:
        """How the case is written in a test's id."""
        return f"{self.order}-{self.runtime}"


def cases(orders: Sequence[str] = ORDERS, runtimes: Sequence[str] = RUNTIMES) -> list[Case]:
    """All combinations, sorted, so that every xdist worker has the same; `ValueError` for unknown names."""
    for what, given, known in (("order", orders, ORDERS), ("runtime", runtimes, RUNTIMES)):
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")
    return [Case(*names) for names in itertools.product(sorted(set(orders)), sorted(set(runtimes)))]
