"""ATen operations that a public operation's converter serves as it is, or with its arguments in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nobuco.converters.aten.spelling import Arguments, aten, call, functional, share, share_by_name, spelled
from nobuco.names import F, Tensor, torch

# -- element by element -------------------------------------------------------------------------------------

share_by_name(
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 floor frac i0 "
    "isfinite isinf isnan isneginf isposinf lgamma log log10 log1p log2 logical_not logit nan_to_num neg positive "
    "rad2deg reciprocal round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan tanh trunc bitwise_not "
    "special_entr special_exp2 special_ndtr special_xlog1py"
)
share_by_name(
    "relu relu6 hardtanh leaky_relu celu selu gelu silu mish hardswish hardsigmoid hardshrink softshrink softplus glu "
    "threshold prelu"
)
share_by_name(
    "add sub rsub mul div true_divide floor_divide remainder fmod pow float_power clamp clamp_min clamp_max maximum "
    "minimum fmax fmin lerp addcmul addcdiv logaddexp logaddexp2 hypot atan2 ldexp copysign xlogy heaviside "
    "eq ne lt le gt ge isclose logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor "
    "bitwise_left_shift bitwise_right_shift where masked_fill"
)
share_by_name("real imag conj_physical complex view_as_real view_as_complex")
share(torch.conj, aten._conj.default, aten._conj_physical.default)
share(torch.neg, aten._neg_view.default)
share(Tensor.copy_, *functional(aten.copy))
share(Tensor.to, aten._to_copy.default)
share(torch.clone, aten.alias.default, aten.clone.default, aten.detach.default, aten.lift_fresh_copy.default)
share(torch.clone, aten.lift_fresh.default, aten.contiguous.default, aten.resolve_conj.default)
share(torch.clone, aten.resolve_neg.default, aten.alias_copy.default, aten.detach_copy.default)

# -- movement and pieces ------------------------------------------------------------------------------------

share_by_name(
    "permute transpose t squeeze unsqueeze expand repeat flip roll cat stack select narrow_copy split "
    "split_with_sizes unsafe_split unsafe_split_with_sizes unbind diagonal diag_embed unfold rot90 as_strided "
    "tril triu constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle meshgrid "
    "repeat_interleave"
)
share(Tensor.view, aten.view.default, aten._unsafe_view.default, aten.view_copy.default)
share(Tensor.reshape, aten.reshape.default, aten._reshape_alias.default)
for copying in ("permute", "transpose", "t", "squeeze", "unsqueeze", "expand", "select", "diagonal", "unbind"):
    share(getattr(Tensor, copying), *functional(getattr(aten, f"{copying}_copy")))

# -- reductions, order, indices -----------------------------------------------------------------------------

share_by_name(
    "sum nansum mean prod amax amin aminmax max min argmax argmin any all count_nonzero logsumexp var std var_mean "
    "std_mean median nanmedian kthvalue sort argsort topk cumsum cumprod cummax cummin logcumsumexp linalg_vector_norm dist"
)
share_by_name(
    "index_select gather index_fill index_copy index_add scatter scatter_add scatter_reduce masked_scatter "
    "masked_select nonzero take put index_put"
)
share(torch.index_put, aten._unsafe_index_put.default)

# -- products, pools, pictures ------------------------------------------------------------------------------

share_by_name("mm bmm mv dot vdot addmm baddbmm addbmm addmv addr linalg_cross avg_pool1d avg_pool2d avg_pool3d")
share(F.max_pool2d_with_indices, aten.max_pool2d_with_indices.default)
share(F.max_pool3d_with_indices, aten.max_pool3d_with_indices.default)
share(F.adaptive_avg_pool2d, aten._adaptive_avg_pool2d.default, aten.adaptive_avg_pool2d.default)
share(F.adaptive_avg_pool3d, aten._adaptive_avg_pool3d.default, aten.adaptive_avg_pool3d.default)
share(F.adaptive_max_pool2d_with_indices, aten.adaptive_max_pool2d.default)
share(F.adaptive_max_pool3d_with_indices, aten.adaptive_max_pool3d.default)
share(F.unfold, aten.im2col.default)
share(F.fold, aten.col2im.default)
share(torch.grid_sampler, aten.grid_sampler_2d.default, aten.grid_sampler_3d.default)
share(F.affine_grid, aten.affine_grid_generator.default)

# -- new tensors --------------------------------------------------------------------------------------------

share_by_name("full full_like zeros ones zeros_like ones_like new_zeros new_ones new_full new_empty fill eye linspace")
share_by_name("empty_like scalar_tensor")
share(torch.empty, aten.empty.memory_format, aten.empty_permuted.default)
share(torch.arange, aten.arange.default, aten.arange.start, aten.arange.start_step)

# -- the same with other arguments --------------------------------------------------------------------------


@spelled(torch.softmax, aten._softmax.default)
def softmax(self: Any, dim: int, half_to_float: bool) -> Arguments:
    """_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return call(self, dim, dtype=torch.float32 if half_to_float else None)


@spelled(torch.log_softmax, aten._log_softmax.default)
def log_softmax(self: Any, dim: int, half_to_float: bool) -> Arguments:
    """_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return call(self, dim, dtype=torch.float32 if half_to_float else None)


@spelled(torch.empty, aten.empty_strided.default)
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


@spelled(Tensor.__getitem__, aten.slice.Tensor, aten.slice_copy.Tensor)
def slice_(self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Arguments:
    """slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)"""
    return call(self, along(dim, len(self.shape), slice(start, end, step)))


@spelled(F.interpolate, aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec)
def upsample_nearest(input: Any, output_size: Any, scale_factors: Any) -> Arguments:
    """upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor"""
    return call(input, output_size, scale_factors, "nearest")


@spelled(F.interpolate, aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec)
def upsample_nearest_exact(input: Any, output_size: Any, scale_factors: Any) -> Arguments:
    """_upsample_nearest_exact2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor"""
    return call(input, output_size, scale_factors, "nearest-exact")


@spelled(F.interpolate, aten.upsample_linear1d.vec)
def upsample_linear(input: Any, output_size: Any, align_corners: bool, scale_factors: Any) -> Arguments:
    """upsample_linear1d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
    return call(input, output_size, scale_factors, "linear", align_corners)


@spelled(F.interpolate, aten.upsample_bilinear2d.vec)
def upsample_bilinear(input: Any, output_size: Any, align_corners: bool, scale_factors: Any) -> Arguments:
    """upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
    return call(input, output_size, scale_factors, "bilinear", align_corners)


@spelled(F.interpolate, aten._upsample_bilinear2d_aa.vec)
def upsample_bilinear_antialiased(input: Any, output_size: Any, align_corners: bool, scale_factors: Any) -> Arguments:
    """_upsample_bilinear2d_aa.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
    return call(input, output_size, scale_factors, "bilinear", align_corners, antialias=True)


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


@spelled(F.interpolate, aten.upsample_trilinear3d.vec)
def upsample_trilinear(input: Any, output_size: Any, align_corners: bool, scale_factors: Any) -> Arguments:
    """upsample_trilinear3d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
    return call(input, output_size, scale_factors, "trilinear", align_corners)


@spelled(F.interpolate, aten.upsample_bicubic2d.vec)
def upsample_bicubic(input: Any, output_size: Any, align_corners: bool, scale_factors: Any) -> Arguments:
    """upsample_bicubic2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors)"""
    return call(input, output_size, scale_factors, "bicubic", align_corners)


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
    """huber_loss(Tensor self, Tensor target, int reduction=Mean, float delta=1.0) -> Tensor"""
    return call(self, target, ("none", "mean", "sum")[reduction], delta)


@spelled(torch.cdist, aten._cdist_forward.default)
def cdist(x1: Any, x2: Any, p: float, compute_mode: int | None) -> Arguments:
    """_cdist_forward(Tensor x1, Tensor x2, float p, int? compute_mode) -> Tensor"""
    return call(x1, x2, p)


def along(dim: int, rank: int, key: Any) -> tuple[Any, ...]:
    """The key that takes `key` of one dimension, and all of the others."""
    return tuple(key if i == dim % max(rank, 1) else slice(None) for i in range(rank))
