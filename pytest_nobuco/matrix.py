"""The matrix: in which forms each model is converted and run, and how a form is written in a test's id."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

ORDERS = ("nchw", "nhwc")
RUNTIMES = ("keras", "keras_file", "savedmodel", "tflite")
# Not part of the matrix unless asked for: they differ from PyTorch on purpose, so their gate is another. With the least
# signal-to-noise ratio in dB that is allowed where no other is given: below what well-behaved networks reach
# (docs/plugin.md), and above what a wrong file gives, which is close to zero or less.
QUANTISED = {"tflite_fp16": 50.0, "tflite_dynamic": 25.0, "tflite_int8": 20.0, "tflite_int16x8": 25.0}
_QUICK = ("keras", "tflite")
# Known by name, so that a suite can be written for it now; its items say why they are skipped.
LATER = ("tfjs",)
STATIC = "static"
SIDE_BY_SIDE = "backends"
"""In a runtime's place: all backends that were asked for, in one table."""


@dataclass(frozen=True, order=True)
class Case:
    """One form: how inputs and outputs lie, static or with which axes dynamic, and what runs the model."""

    inputs: str
    outputs: str
    shape: str
    runtime: str
    backend: str = ""
    """What another converter is called, or somebody's file; empty for nobuco."""

    @property
    def id(self) -> str:
        """How the case is written in a test's id."""
        form = "-".join(part for part in (self.inputs, self.outputs, self.shape, self.runtime) if part)
        return f"{self.backend}:{form}" if self.backend else form

    @property
    def axes(self) -> dict[str, str]:
        """The parts by name, without those that say nothing."""
        return {name: value for name, value in asdict(self).items() if value}


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
        read_runtime(name)
    combinations = itertools.product(pairs, shapes, runtimes or RUNTIMES)
    return sorted({Case(*pair, shape, runtime) for pair, shape, runtime in combinations})


def quick(matrix: Sequence[Case]) -> list[Case]:
    """Of each backend's matrix one pair of orders, and as runtimes Keras and TFLite where there are these."""
    of_backends = [[case for case in matrix if case.backend == name] for name in {case.backend for case in matrix}]
    return sorted(case for cases_ in of_backends for case in _quick(cases_))


def _quick(matrix: Sequence[Case]) -> list[Case]:
    pairs = [(case.inputs, case.outputs) for case in matrix]
    pair = (ORDERS[1], ORDERS[1]) if (ORDERS[1], ORDERS[1]) in pairs else pairs[0]
    kept = [case for case in matrix if (case.inputs, case.outputs) == pair]
    return [case for case in kept if case.runtime in (*_QUICK, SIDE_BY_SIDE)] or kept


def read_order(text: str) -> str:
    """Check an order, or a pair of them; `ValueError` says what is wrong."""
    _pair(text)
    return text


def read_runtime(text: str) -> str:
    """Check a runtime of nobuco's own; `ValueError` says what is wrong."""
    if text not in (*RUNTIMES, *QUANTISED, *LATER):
        raise ValueError(f"unknown runtime {text!r}; there are {', '.join((*RUNTIMES, *QUANTISED))}")
    return text


def _pair(order: str) -> tuple[str, str]:
    inputs, dash, outputs = order.partition("-")
    for name in (inputs, outputs) if dash else (inputs,):
        if name not in ORDERS:
            raise ValueError(f"unknown order {name!r}; there are {', '.join(ORDERS)}, and pairs such as nchw-nhwc")
    return inputs, outputs if dash else inputs
