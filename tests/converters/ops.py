"""What a TFLite file is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import to_tflite


def _undelegated(data: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=data, experimental_op_resolver_type=resolver)


def tflite_ops(data: bytes) -> list[str]:
    """The operations of a flatbuffer's main graph, in order."""
    return [op["op_name"] for op in _undelegated(data)._get_ops_details()]


def shapes_given(data: bytes, operation: str) -> list[tuple[int, ...]]:
    """The shape of what each such operation of the main graph gives, in order."""
    interpreter = _undelegated(data)
    shapes = {tensor["index"]: tuple(tensor["shape"].tolist()) for tensor in interpreter.get_tensor_details()}
    given = (op["outputs"][0] for op in interpreter._get_ops_details() if op["op_name"] == operation)
    return [shapes[index] for index in given]


def ops_of(model: Any, *tensors: torch.Tensor, order: ChannelOrder = ChannelOrder.PYTORCH, **options: Any) -> list[str]:
    """The operations of what a PyTorch model becomes, its inputs and outputs in one channel order."""
    model = model.eval() if isinstance(model, torch.nn.Module) else model
    keras_model = nobuco.pytorch_to_keras(
        model,
        list(tensors),
        inputs_channel_order=order,
        outputs_channel_order=order,
        verbose=False,
        **options,
    )
    return tflite_ops(to_tflite(keras_model))


def check_dynamic(model: Any, traced: torch.Tensor, *others: torch.Tensor, free: tuple[int, ...] = (0,)) -> None:
    """Convert with these axes dynamic, in both channel orders, and compare on tensors of other sizes."""
    model = model.eval() if isinstance(model, torch.nn.Module) else model
    shape = [None if i in free else n for i, n in enumerate(traced.shape)]
    for order in (ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH):
        keras_model = nobuco.pytorch_to_keras(
            model,
            [traced],
            input_shapes={traced: shape},
            inputs_channel_order=order,
            outputs_channel_order=order,
            verbose=False,
        )
        for x in (traced, *others):
            got = pytree.tree_leaves(keras_model(nobuco.t_pytorch2keras(x, order)))
            with torch.no_grad():
                wanted = [t for t in pytree.tree_leaves(model(x.clone())) if isinstance(t, torch.Tensor)]
            assert len(got) == len(wanted)
            for ours, theirs in zip(got, wanted):
                torch.testing.assert_close(nobuco.t_keras2pytorch(ours, order), theirs, rtol=1e-4, atol=1e-4)
