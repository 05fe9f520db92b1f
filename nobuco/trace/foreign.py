"""Tensors that no TensorFlow tensor can hold: what is special about them, and the way out."""

from __future__ import annotations

import torch

_DTYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip


def foreign(tensor: torch.Tensor) -> str:
    """What is special about a tensor, as a clause that ends in the way out; empty of an ordinary one."""
    if type(tensor).__name__ == "FakeTensor" or tensor.is_meta:
        return "holds no numbers (it is on the device 'meta'); give one with numbers, e.g. torch.randn(...)"
    if tensor.is_nested:
        return "is nested; give a padded one, e.g. torch.nested.to_padded_tensor(x, 0.0), and its lengths"
    if tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
        return (
            "lies in memory in oneDNN's own way, after torch.jit.optimize_for_inference or to_mkldnn(); convert the "
            "module as it was before that"
        )
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout}); give x.to_dense()"
    if tensor.is_quantized:
        return f"is quantised ({tensor.dtype}); give x.dequantize(), and quantise the converted model"
    if tensor.dtype not in _DTYPES:
        return f"is of {tensor.dtype}, in which TensorFlow does not compute; give x.to(torch.float32)"
    names = getattr(tensor, "names", ())  # PyTorch 2.13 has none any more
    if any(names):
        return f"has named dimensions {names}; give x.rename(None)"
    return ""
