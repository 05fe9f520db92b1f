"""Changes of dtype, and the calls that change nothing of a tensor's values (device, memory, autograd)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters.support import agree, cast, elementwise
from nobuco.layers.sizes import sizes
from nobuco.layout.movement import Step
from nobuco.ops.names import Tensor, aten, torch
from nobuco.registry import Named, movement


def _wanted(argument: Any) -> tf.DType | None:
    """The dtype that an argument asks for: itself, a tensor's, that of a legacy tensor type or its name."""
    if tf.is_tensor(argument):
        return argument.dtype
    if isinstance(argument, torch.dtype):
        return tf_dtype(argument)
    if isinstance(argument, str) and argument.endswith("Tensor"):
        argument = getattr(torch, argument.rsplit(".", 1)[-1], None)
    legacy = getattr(argument, "dtype", None) if isinstance(argument, type(torch.FloatTensor)) else None
    return tf_dtype(legacy) if legacy is not None else None


@elementwise(Tensor.to, aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, promote=False)
def to(self: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
    """to.dtype_layout(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, ...) -> Tensor"""
    dtypes = [dtype for dtype in map(_wanted, (*args, *kwargs.values())) if dtype is not None]
    return cast(self, dtypes[0]) if dtypes else self


@elementwise(Tensor.type, promote=False)
def to_type(self: tf.Tensor, dtype: Any = None, non_blocking: bool = False, **_: Any) -> tf.Tensor:
    """type(dtype, non_blocking=False) -> Tensor"""
    return cast(self, _wanted(dtype) or self.dtype)


@elementwise(Tensor.type_as)
def type_as(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """type_as(Tensor self, Tensor other) -> Tensor"""
    return cast(self, other.dtype)


def _casting(operation: Named, dtype: tf.DType) -> None:
    """Register a method of tensors that gives one in a dtype of its own."""

    @elementwise(operation)
    def to_own_dtype(self: tf.Tensor, **_: Any) -> tf.Tensor:
        return cast(self, dtype)


for _method, _dtype in (
    (Tensor.float, tf.float32),
    (Tensor.double, tf.float64),
    (Tensor.half, tf.float16),
    (Tensor.bfloat16, tf.bfloat16),
    (Tensor.int, tf.int32),
    (Tensor.long, tf.int64),
    (Tensor.short, tf.int16),
    (Tensor.char, tf.int8),
    (Tensor.byte, tf.uint8),
    (Tensor.bool, tf.bool),
):
    _casting(_method, _dtype)


@elementwise(Tensor.copy_, aten.copy.default, operands=2, promote=False)
def copy(self: tf.Tensor, other: tf.Tensor, non_blocking: bool = False) -> tf.Tensor:
    """copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)"""
    other = cast(other, self.dtype)
    return other if agree(sizes(other), sizes(self)) else tf.broadcast_to(other, sizes(self))


@movement(
    torch.clone,
    torch.detach,
    torch.positive,
    torch.resolve_conj,
    torch.resolve_neg,
    Tensor.contiguous,
    Tensor.cpu,
    Tensor.cuda,
    Tensor.requires_grad_,
    Tensor.__deepcopy__,
    Tensor.data.__get__,  # type: ignore[attr-defined]
    aten.alias.default,
    aten.lift_fresh.default,
)
def unchanged(input: Any, *_: Any, **__: Any) -> list[Step]:
    """clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor"""
    return []


@elementwise(torch.real, Tensor.real.__get__)  # type: ignore[attr-defined]
def real(input: tf.Tensor) -> tf.Tensor:
    """real(Tensor self) -> Tensor"""
    return tf.math.real(input) if input.dtype.is_complex else input


@elementwise(torch.conj, torch.conj_physical, aten._conj.default, aten._conj_physical.default)
def conj(input: tf.Tensor) -> tf.Tensor:
    """conj(Tensor self) -> Tensor"""
    return tf.math.conj(input) if input.dtype.is_complex else input
