"""Every public function of nobuco with arguments that it takes, for tests that try others."""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import nn

import nobuco
import nobuco.report
from nobuco import export
from nobuco.addons.torch.depth_to_space import DepthToSpace
from nobuco.addons.torch.space_to_depth import SpaceToDepth


@dataclass(frozen=True)
class PublicCall:
    """A call that works: the function, its arguments by name, and where its signature stands if not at the function."""

    function: Callable[..., Any]
    given: Callable[[], Mapping[str, Any]]
    signature: Callable[..., Any] | None = None

    @property
    def arguments(self) -> list[str]:
        """The names of all its parameters."""
        named = inspect.signature(self.signature or self.function).parameters.values()
        return [p.name for p in named if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


X = torch.linspace(-1, 1, 48).reshape(1, 3, 4, 4)
SAMPLES = [np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)]
NET = nn.Linear(4, 2).eval()


def operation(x):
    return x * 2


@functools.cache
def model() -> Any:
    return nobuco.pytorch_to_keras(torch.relu, [X], verbose=False)


@functools.cache
def linear() -> Any:
    return nobuco.pytorch_to_keras(NET, [torch.ones(1, 4)], verbose=False)


@functools.cache
def report() -> Any:
    return nobuco.pytorch_to_keras(torch.relu, [X], verbose=False, return_report=True)[1]


@functools.cache
def flatbuffer() -> bytes:
    return export.to_tflite(model())


@functools.cache
def quantisation() -> Any:
    return export.quantisation_report(model(), SAMPLES)


@functools.cache
def coverage() -> Any:
    return nobuco.coverage(torch.relu)


def _saved() -> dict[str, Any]:
    export.to_saved_model(model(), "saved")
    return {"folder": "saved"}


def _registered(**options: Any) -> Any:
    return nobuco.converter(operation, **options)(lambda x: lambda x: x)


TENSOR = torch.ones(1, 2)
CALLS = {
    "pytorch_to_keras": PublicCall(
        nobuco.pytorch_to_keras, lambda: {"model": torch.relu, "args": [X], "verbose": False}
    ),
    "compare": PublicCall(nobuco.compare, lambda: {"model": torch.relu, "keras_model": model(), "args": [X]}),
    "bisect": PublicCall(nobuco.bisect, lambda: {"model": torch.relu, "keras_model": model(), "args": [X]}),
    "coverage": PublicCall(nobuco.coverage, lambda: {"subject": torch.relu, "args": [X]}),
    "load_state_dict": PublicCall(nobuco.load_state_dict, lambda: {"model": linear(), "state_dict": NET.state_dict()}),
    "reset_states": PublicCall(nobuco.reset_states, lambda: {"model": model()}),
    "t_pytorch2keras": PublicCall(nobuco.t_pytorch2keras, lambda: {"tensor": X}),
    "t_keras2pytorch": PublicCall(nobuco.t_keras2pytorch, lambda: {"tensor": tf.ones((1, 2))}),
    "get_channel_order": PublicCall(nobuco.get_channel_order, lambda: {"tensor": tf.ones((1, 2))}),
    "set_channel_order": PublicCall(
        nobuco.set_channel_order, lambda: {"tensor": tf.ones((1, 2)), "channel_order": nobuco.ChannelOrder.PYTORCH}
    ),
    "shape": PublicCall(nobuco.shape, lambda: {"x": TENSOR}),
    "length": PublicCall(nobuco.length, lambda: {"x": TENSOR}),
    "force_pytorch_order": PublicCall(nobuco.force_pytorch_order, lambda: {"inputs": TENSOR}),
    "force_tensorflow_order": PublicCall(nobuco.force_tensorflow_order, lambda: {"inputs": TENSOR}),
    "traceable": PublicCall(nobuco.traceable, lambda: {"function": operation}),
    "converter": PublicCall(_registered, dict, nobuco.converter),
    "locate_converter": PublicCall(nobuco.locate_converter, lambda: {"operation": torch.relu}),
    "unregister_converter": PublicCall(nobuco.unregister_converter, lambda: {"operation": torch.relu}),
    "Sample": PublicCall(nobuco.Sample, lambda: {"args": ()}),
    "keras_file": PublicCall(export.keras_file, lambda: {"model": model(), "path": "net.keras"}),
    "to_saved_model": PublicCall(export.to_saved_model, lambda: {"model": model(), "folder": "net"}),
    "to_tflite": PublicCall(export.to_tflite, lambda: {"model": model()}),
    "to_tflite, int8": PublicCall(
        export.to_tflite, lambda: {"model": model(), "precision": "int8", "representative": SAMPLES}
    ),
    "tflite": PublicCall(export.tflite, lambda: {"model": model(), "path": "net.tflite"}),
    "input_names": PublicCall(export.input_names, lambda: {"model": model()}),
    "output_names": PublicCall(export.output_names, lambda: {"model": model()}),
    "tflite_operations": PublicCall(export.tflite_operations, lambda: {"data": flatbuffer()}),
    "run_tflite": PublicCall(export.run_tflite, lambda: {"data": flatbuffer(), "feeds": SAMPLES}),
    "quantisation_report": PublicCall(
        export.quantisation_report, lambda: {"model": model(), "representative": SAMPLES}
    ),
    "render_quantisation": PublicCall(export.render_quantisation, lambda: {"report": quantisation()}),
    "unsupported_in_tfjs": PublicCall(export.unsupported_in_tfjs, _saved),
    "DepthToSpace": PublicCall(DepthToSpace, lambda: {"block_size": 2}),
    "SpaceToDepth": PublicCall(SpaceToDepth, lambda: {"block_size": 2}),
    "print_report": PublicCall(nobuco.report.print_report, lambda: {"report": report(), "file": io.StringIO()}),
    "render_text": PublicCall(nobuco.report.render_text, lambda: {"report": report()}),
    "render_html": PublicCall(nobuco.report.render_html, lambda: {"report": report()}),
    "save_html": PublicCall(nobuco.report.save_html, lambda: {"report": report(), "path": "page.html"}),
    "report_to_dict": PublicCall(nobuco.report.report_to_dict, lambda: {"report": report()}),
    "render_coverage": PublicCall(nobuco.report.render_coverage, lambda: {"coverage": coverage()}),
}
