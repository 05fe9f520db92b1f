"""Which TFLite operations a conversion comes down to."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ai_edge_litert.interpreter import Interpreter

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import to_tflite


def tflite_operations(
    model: Any, *args: torch.Tensor, order: ChannelOrder = ChannelOrder.TENSORFLOW, **kwargs: Any
) -> list[str]:
    """The TFLite operations, in order of execution, of a model converted with inputs in `order`."""
    model = copy.deepcopy(model).eval() if isinstance(model, torch.nn.Module) else model
    keras_model = nobuco.pytorch_to_keras(
        model,
        args=list(args),
        inputs_channel_order=order,
        outputs_channel_order=order,
        verbose=False,
        **kwargs,
    )
    details = Interpreter(model_content=to_tflite(keras_model))._get_ops_details()
    return [operation["op_name"] for operation in details if operation["op_name"] != "DELEGATE"]
