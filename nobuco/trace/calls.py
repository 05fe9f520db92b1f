"""What kinds of calls PyTorch knows: those that only ask, those that take a value into Python, NumPy's spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_QUERIES = {
    "size", "dim", "numel", "stride", "is_contiguous", "storage_offset", "data_ptr", "nelement", "ndimension",
    "element_size", "is_floating_point", "is_complex", "get_device", "untyped_storage", "__len__", "__hash__",
    "__repr__", "__format__", "is_same_size", "has_names", "__dir__",
}  # fmt: skip
_QUERY_GETTERS = {
    "shape", "dtype", "device", "ndim", "is_cuda", "is_nested", "requires_grad", "grad_fn", "grad", "layout",
    "is_sparse", "is_quantized", "is_leaf", "is_mkldnn", "is_meta", "is_mps", "itemsize", "nbytes", "names",
}  # fmt: skip
_BAKING = {
    "__bool__", "__int__", "__float__", "__index__", "__complex__", "item", "tolist", "numpy", "__array__",
}  # fmt: skip


def name_of(func: Any) -> str:
    """The name of a function of PyTorch's; of a getter, what Python calls it."""
    return getattr(func, "__name__", "")


def is_query(func: Any) -> bool:
    """Whether a call only asks about a tensor: nothing to record."""
    if type(func).__name__ == "method-wrapper":
        return name_of(func.__self__) in _QUERY_GETTERS
    return name_of(func) in _QUERIES


def is_baking(func: Any) -> bool:
    """Whether a call takes a tensor's elements into Python."""
    return name_of(func) in _BAKING


def is_decision(func: Any, result: Any) -> bool:
    """Whether a call has given Python a truth value to decide by."""
    return isinstance(result, bool) and name_of(func) in ("__bool__", "item")


def torch_spelled(func: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's `axis` and `keepdims`, which PyTorch's own parser of arguments takes too, as `dim` and `keepdim`."""
    if hasattr(func, "__code__"):
        return dict(kwargs)
    spelled = {"axis": "dim", "keepdims": "keepdim"}
    return {spelled.get(name, name): value for name, value in kwargs.items()}
