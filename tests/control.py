"""Control flow converted on one side, and compared with PyTorch on all: in Keras, in a reloaded model and in TFLite."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layers.output import called
from tests.parity import assert_close, convert, evaluated, tensors_of

TENSORFLOW = ChannelOrder.TENSORFLOW
Tensors = tuple[torch.Tensor, ...]


def converted(model: Any, *args: torch.Tensor, **options: Any) -> Any:
    """The Keras model, which matches on the example."""
    keras_model, report = convert(evaluated(model), *args, order=TENSORFLOW, return_report=True, **options)
    assert report.ok
    return keras_model


def compare(model: Any, run: Callable[[Sequence[Any]], Sequence[Any]], inputs: Sequence[Tensors]) -> None:
    """`run(feeds) -> tensors`, one after the other, on the same inputs as a fresh copy of the PyTorch model."""
    model = copy.deepcopy(model)
    for args in inputs:
        got = run([nobuco.t_pytorch2keras(x, TENSORFLOW) for x in args])
        with torch.compiler.set_stance("force_eager"):  # without the compiler that `torch.cond` would call
            assert_close(got, tensors_of(model, *args), TENSORFLOW)


def check_ways(
    model: Any, traced: Tensors, *others: Tensors, folder: Path | None = None, tflite: bool = True, **options: Any
) -> Any:
    """Convert on the first inputs; compare on all."""
    keras_model = converted(model, *traced, **options)
    inputs = [traced, *others]
    compare(model, partial(called, keras_model), inputs)
    if folder is not None:
        keras_model.save(folder / "model.keras")
        compare(model, partial(called, keras.models.load_model(folder / "model.keras")), inputs)
    if tflite:
        data = to_tflite(keras_model)
        assert b"Flex" not in data
        compare(model, partial(run_tflite, data), inputs)
    return keras_model


class ControlIf(nn.Module):
    """A Python `if` on a tensor between convolutions, one of which both sides and the end share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_pre = nn.Conv2d(3, 16, kernel_size=(1, 1))
        self.conv_true = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_false = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_shared = nn.Conv2d(32, 32, kernel_size=(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(x)
        if x.mean() > 0:
            x = self.conv_true(x)
            x = torch.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = torch.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


class Enclosing(nn.Module):
    """A module around another one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x))
