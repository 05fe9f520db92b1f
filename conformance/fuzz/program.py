"""A random program as data: its source text, its inputs, and the occasions on which it is run."""

from __future__ import annotations

import copy
import hashlib
import itertools
import linecache
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from conformance.fuzz.values import filled


@dataclass(frozen=True)
class Input:
    """A tensor that a program takes; a dimension with a name is dynamic, and a trial says how long it is."""

    name: str
    dims: tuple[int | str, ...]
    dtype: str = "float32"
    values: str = "whole"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)


@dataclass(frozen=True)
class Trial:
    """An occasion to run a program: the lengths of dynamic axes, and the kind of values of each call in a row."""

    name: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    variants: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Program:
    """Source text that defines `f`, a function or an `nn.Module` class; the first trial is the example."""

    source: str
    inputs: tuple[Input, ...]
    trials: tuple[Trial, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    tflite: bool = False

    @property
    def text(self) -> str:
        """All that a reader needs to run it by hand, as Python."""
        example = self.trials[0]
        inputs = [f"# {i.name}: {i.dtype} {_sized(i, example)} of {i.values} values" for i in self.inputs]
        options = [f"# pytorch_to_keras(…, {_options(self.options)})"] if self.options else []
        trials = [f"# {t.name}: {_trial(t)}" for t in self.trials]
        return "\n".join([*inputs, *options, *trials, self.source])

    @property
    def key(self) -> str:
        """The same for the same program."""
        return hashlib.sha1(self.text.encode()).hexdigest()[:12]

    def made(self) -> Callable[..., Any]:
        """The program itself; a module always has the same weights."""
        filename = f"<fuzz {self.key}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(keepends=True), filename)
        space: dict[str, Any] = {**namespace(), "__name__": "fuzz"}
        exec(compile(self.source, filename, "exec"), space)
        if not isinstance(space["f"], type):
            return space["f"]
        torch.manual_seed(0)
        return _used(space["f"]().eval())

    def feeds(self, trial: Trial) -> list[list[torch.Tensor]]:
        """The arguments of each call of a trial."""
        return [
            [
                filled(given.values, given.shape(trial.sizes), given.dtype, variant, seed=10 * call + place)
                for place, given in enumerate(self.inputs)
            ]
            for call, variant in enumerate(trial.variants)
        ]

    def free(self, given: Input) -> tuple[int | None, ...]:
        """The shape of an input as `input_shapes` takes it."""
        return tuple(None if isinstance(dim, str) else dim for dim in given.dims)


class First(nn.Module):
    """The first of what a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)[0]


class Attention(nn.MultiheadAttention):
    """Of a sequence to itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x)[0]


def _used(module: nn.Module) -> nn.Module:
    """The module with statistics as training leaves them, not as a new one has them."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if name == "running_mean":
                buffer.normal_()
            elif name == "running_var":
                buffer.uniform_(0.5, 2)
    return module


def namespace() -> dict[str, Any]:
    """The names that a program may use."""
    return {
        "First": First,
        "Attention": Attention,
        "math": math,
        "np": np,
        "torch": torch,
        "F": F,
        "nn": nn,
        "itertools": itertools,
        "copy": copy,
    }


def _sized(given: Input, example: Trial) -> str:
    dims = [f"{dim}={example.sizes[dim]}" if isinstance(dim, str) else str(dim) for dim in given.dims]
    return f"({', '.join(dims)})"


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _trial(trial: Trial) -> str:
    sizes = ", ".join(f"{name}={size}" for name, size in trial.sizes.items())
    values = f"values {', '.join(map(str, trial.variants))}"
    return f"{sizes}; {values}" if sizes else values
