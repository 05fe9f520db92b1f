"""Changes of dtype, and the calls that change nothing of a tensor's values (device, memory, autograd)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.bridge import sizes, tf_dtype
from nobuco.converters.support import cast, elementwise
from nobuco.layout.movement import Step
from nobuco.ops.names import Tensor, aten, torch
from nobuco.registry import movement


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
    """to.dtype_layout(Tensor self, *, ScalarType? dtype=None, Device? device=None, ...) -> Tensor"""
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


@elementwise(Tensor.float)
def to_float32(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """float(Tensor self) -> Tensor"""
    return cast(self, tf.float32)


@elementwise(Tensor.double)
def to_float64(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """double(Tensor self) -> Tensor"""
    return cast(self, tf.float64)


@elementwise(Tensor.half)
def to_float16(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """half(Tensor self) -> Tensor"""
    return cast(self, tf.float16)


@elementwise(Tensor.bfloat16)
def to_bfloat16(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """bfloat16(Tensor self) -> Tensor"""
    return cast(self, tf.bfloat16)


@elementwise(Tensor.int)
def to_int32(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """int(Tensor self) -> Tensor"""
    return cast(self, tf.int32)


@elementwise(Tensor.long)
def to_int64(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """long(Tensor self) -> Tensor"""
    return cast(self, tf.int64)


@elementwise(Tensor.short)
def to_int16(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """short(Tensor self) -> Tensor"""
    return cast(self, tf.int16)


@elementwise(Tensor.char)
def to_int8(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """char(Tensor self) -> Tensor"""
    return cast(self, tf.int8)


@elementwise(Tensor.byte)
def to_uint8(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """byte(Tensor self) -> Tensor"""
    return cast(self, tf.uint8)


@elementwise(Tensor.bool)
def to_bool(self: tf.Tensor, **_: Any) -> tf.Tensor:
    """bool(Tensor self) -> Tensor"""
    return cast(self, tf.bool)


@elementwise(Tensor.copy_, aten.copy.default, operands=2, promote=False)
def copy(self: tf.Tensor, other: tf.Tensor, non_blocking: bool = False) -> tf.Tensor:
    """copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)"""
    other = cast(other, self.dtype)
    return other if other.shape == self.shape else tf.broadcast_to(other, sizes(self))


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
