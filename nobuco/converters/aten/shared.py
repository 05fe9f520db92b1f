"""ATen operations that a public operation's converter serves with other arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nobuco.converters.aten.spelling import Arguments, call, spelled
from nobuco.ops.names import F, Tensor, aten, torch
from nobuco.registry import Named


@spelled(torch.softmax, aten._softmax.default)
def softmax(self: Any, dim: int, half_to_float: bool) -> Arguments:
    """_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return call(self, dim, dtype=torch.float32 if half_to_float else None)


@spelled(torch.log_softmax, aten._log_softmax.default)
def log_softmax(self: Any, dim: int, half_to_float: bool) -> Arguments:
    """_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return call(self, dim, dtype=torch.float32 if half_to_float else None)


@spelled(torch.empty, aten.empty_strided.default, aten.empty_permuted.default)
def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: Any = None) -> Arguments:
    """empty_strided(SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, ...) -> Tensor"""
    return call(size, dtype=dtype)


@spelled(Tensor.new_empty, aten.new_empty_strided.default)
def new_empty_strided(self: Any, size: Sequence[int], stride: Sequence[int], *, dtype: Any = None) -> Arguments:
    """new_empty_strided(Tensor self, SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, ...) -> Tensor"""
    return call(self, size, dtype=dtype)


@spelled(Tensor.__getitem__, aten.index.Tensor, aten._unsafe_index.Tensor)
def index(self: Any, indices: Sequence[Any]) -> Arguments:
    """index.Tensor(Tensor self, Tensor?[] indices) -> Tensor"""
    return call(self, tuple(slice(None) if index is None else index for index in indices))


@spelled(Tensor.__getitem__, aten.slice.Tensor)
def slice_(self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Arguments:
    """slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)"""
    return call(self, along(dim, len(self.shape), slice(start, end, step)))


def _resizing(mode: str, *overloads: Named, antialias: bool = False) -> None:
    """Register the overloads that resize in a mode of `F.interpolate`'s."""

    @spelled(F.interpolate, *overloads)
    def upsample(input: Any, output_size: Any, scale_factors: Any, align_corners: bool | None = None) -> Arguments:
        """upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
        return call(input, output_size, scale_factors, mode, align_corners, antialias=antialias)


_resizing("nearest", aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec)
_resizing("nearest-exact", aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec)
_resizing("linear", aten.upsample_linear1d.vec)
_resizing("bilinear", aten.upsample_bilinear2d.vec)
_resizing("bilinear", aten._upsample_bilinear2d_aa.vec, antialias=True)
_resizing("trilinear", aten.upsample_trilinear3d.vec)
_resizing("bicubic", aten.upsample_bicubic2d.vec)


@spelled(F.interpolate, aten._upsample_bilinear2d_aa.default)
def upsample_bilinear_by_scales(
    self: Any, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None, **named: Any
) -> Arguments:
    """_upsample_bilinear2d_aa(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, ...)"""
    factors = named.get("scale_factors", (scales_h, scales_w))
    given = factors is not None and None not in factors
    return call(
        self, None if given else output_size, factors if given else None, "bilinear", align_corners, antialias=True
    )


@spelled(F.pad, aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default)
def reflection_pad(self: Any, padding: Sequence[int]) -> Arguments:
    """reflection_pad2d(Tensor self, SymInt[4] padding) -> Tensor"""
    return call(self, padding, "reflect")


@spelled(F.pad, aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default)
def replication_pad(self: Any, padding: Sequence[int]) -> Arguments:
    """replication_pad2d(Tensor self, SymInt[4] padding) -> Tensor"""
    return call(self, padding, "replicate")


@spelled(F.huber_loss, aten.huber_loss.default, torch._C._nn.huber_loss)
def huber_loss(self: Any, target: Any, reduction: int = 1, delta: float = 1.0) -> Arguments:
    """huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor"""
    return call(self, target, ("none", "mean", "sum")[reduction], delta)


def along(dim: int, rank: int, key: Any) -> tuple[Any, ...]:
    """The key that takes `key` of one dimension, and all of the others."""
    return tuple(key if i == dim % max(rank, 1) else slice(None) for i in range(rank))
