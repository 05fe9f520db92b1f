"""What a TFLite file gives, and what it is made of."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.parity import convert, evaluated


def real(*shape: int) -> torch.Tensor:
    """Numbers that are the same in each run, whatever was drawn before."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def tflite_of(model: Any, *args: torch.Tensor, **options: Any) -> bytes:
    """The TFLite file of a program, its inputs and outputs as in PyTorch."""
    return to_tflite(convert(model, *args, **options))


def assert_tflite_matches(model: Any, *args: torch.Tensor, tolerance: float = 1e-5) -> None:
    """The file gives what PyTorch gives: integers and truth exactly, floats within a part of the largest."""
    with torch.no_grad():
        expected = model(*args).numpy()
    (got,) = run_tflite(tflite_of(model, *args), [arg.numpy() for arg in args])
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if expected.dtype.kind in "ib" or expected.dtype == bool:
        np.testing.assert_array_equal(got, expected)
    else:
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * finite.max(initial=1e-30))


def _undelegated(data: bytes) -> Any:
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=data, experimental_op_resolver_type=resolver)


def tflite_ops(data: bytes) -> list[str]:
    """The operations of a flatbuffer's main graph, in order."""
    return [op["op_name"] for op in _undelegated(data)._get_ops_details()]


def shapes_given(data: bytes, operation: str) -> list[tuple[int, ...]]:
    """The shape of what each such operation of the main graph gives, in order."""
    interpreter = _undelegated(data)
    shapes = {tensor["index"]: tuple(tensor["shape"].tolist()) for tensor in interpreter.get_tensor_details()}
    outputs = (op["outputs"][0] for op in interpreter._get_ops_details() if op["op_name"] == operation)
    return [shapes[index] for index in outputs]


def ops_of(model: Any, *args: torch.Tensor, order: ChannelOrder = ChannelOrder.TENSORFLOW, **options: Any) -> list[str]:
    """The operations of what a PyTorch model becomes, its inputs and outputs in one channel order."""
    return tflite_ops(to_tflite(convert(evaluated(copy.deepcopy(model)), *args, order=order, **options)))
