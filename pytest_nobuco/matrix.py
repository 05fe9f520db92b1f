"""The matrix: in which forms each model is converted and run, and how a form is written in a test's id."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

ORDERS = ("nchw", "nhwc")
RUNTIMES = ("keras", "keras_file", "savedmodel", "tflite")
# Known by name, so that a suite can be written for them now; each item says why it is skipped.
LATER = ("tflite_float16", "tflite_dynamic_range", "tflite_int8", "tflite_int16x8", "tfjs")
STATIC = "static"


@dataclass(frozen=True, order=True)
class Case:
    """One form: how inputs and outputs lie, static or with which axes dynamic, and what runs the model."""

    inputs: str
    outputs: str
    shape: str
    runtime: str

    @property
    def id(self) -> str:
        """How the case is written in a test's id."""
        return f"{self.inputs}-{self.outputs}-{self.shape}-{self.runtime}"


def cases(
    orders: Sequence[str] | None = None, shapes: Sequence[str] = (STATIC,), runtimes: Sequence[str] | None = None
) -> list[Case]:
    """All combinations, sorted, so that every xdist worker has the same.

    An order is one for inputs and outputs (`nhwc`) or a pair (`nchw-nhwc`); None takes all pairs, and all runtimes
    that there are.

    Raises:
        ValueError: an unknown name.
    """
    pairs = {_pair(order) for order in orders} if orders else set(itertools.product(ORDERS, ORDERS))
    for name in runtimes or ():
        if name not in RUNTIMES + LATER:
            raise ValueError(f"unknown runtime {name!r}; there are {', '.join(RUNTIMES)}")
    combinations = itertools.product(pairs, shapes, runtimes or RUNTIMES)
    return sorted({Case(*pair, shape, runtime) for pair, shape, runtime in combinations})


def _pair(order: str) -> tuple[str, str]:
    inputs, dash, outputs = order.partition("-")
    for name in (inputs, outputs) if dash else (inputs,):
        if name not in ORDERS:
            raise ValueError(f"unknown order {name!r}; there are {', '.join(ORDERS)}, and pairs such as nchw-nhwc")
    return inputs, outputs if dash else inputs
