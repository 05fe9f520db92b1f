"""Norms, and what is made of them: normalised vectors, similarities, distances, simple losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters.rules import reducing_together, remaining
from nobuco.converters.support import (
    agree,
    aligned,
    alike,
    axes,
    axis,
    cast,
    elementwise,
    promoted,
    rank,
    sizes,
    squared,
)
from nobuco.converters.windows import known
from nobuco.ir import Value
from nobuco.layout.strategy import ChannelOrderingStrategy, keeping
from nobuco.ops.names import F, aten, torch
from nobuco.registry import expression

Dims = int | Sequence[int] | None


def vector_norm_of(x: tf.Tensor, p: float, over: list[int], keepdim: bool) -> tf.Tensor:
    """The p-norm along axes, for any real p and both infinities."""
    if x.dtype.size == 2:  # whose powers would overflow
        return cast(vector_norm_of(cast(x, tf.float32), p, over, keepdim), x.dtype)
    x = tf.abs(x) if x.dtype.is_complex else x
    if p == 2:
        return tf.sqrt(tf.reduce_sum(squared(x), over, keepdim))
    size = tf.abs(x)
    if p == 1:
        return tf.reduce_sum(size, over, keepdim)
    if p == 0:
        return tf.reduce_sum(tf.cast(tf.not_equal(x, 0), x.dtype), over, keepdim)
    if p == math.inf:
        return tf.reduce_max(size, over, keepdim)
    if p == -math.inf:
        return tf.reduce_min(size, over, keepdim)
    return tf.reduce_sum(size**p, over, keepdim) ** (1 / p)


def _norm(input: tf.Tensor, p: Any, dim: Dims, keepdim: bool, dtype: torch.dtype | None) -> tf.Tensor:
    x = input if dtype is None else cast(input, tf_dtype(dtype))
    return vector_norm_of(x, float(p), axes(input, dim), keepdim)


def _torch_norm_sources(
    input: Value, p: Any = "fro", dim: Dims = None, keepdim: bool = False, *_: Any, **__: Any
) -> Sequence[int]:
    return remaining(input.rank, dim, keepdim)


@expression(torch.norm, strategy=keeping(_torch_norm_sources))
def norm(input: tf.Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> tf.Tensor:
    """torch.norm(Tensor input, p="fro", dim=None, keepdim=False, dtype=None) -> Tensor"""
    if p == "nuc":
        return matrix_norm(input, p, dim or (-2, -1), keepdim, dtype=dtype)
    return _norm(input, 2 if p in (None, "fro") else p, dim, keepdim, dtype)


def _vector_norm_sources(x: Value, ord: float = 2, dim: Dims = None, keepdim: bool = False, **_: Any) -> Sequence[int]:
    return remaining(x.rank, dim, keepdim)


@expression(torch.linalg.vector_norm, strategy=keeping(_vector_norm_sources))
def vector_norm(
    x: tf.Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> tf.Tensor:
    """linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *,
    ScalarType? dtype=None) -> Tensor
    """
    return _norm(x, ord, dim, keepdim, dtype)


def _linalg_norm_sources(A: Value, ord: Any = None, dim: Dims = None, keepdim: bool = False, **_: Any) -> Sequence[int]:
    return remaining(A.rank, dim, keepdim)


@expression(torch.linalg.norm, strategy=keeping(_linalg_norm_sources))
def linalg_norm(
    A: tf.Tensor, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> tf.Tensor:
    """linalg_norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *,
    ScalarType? dtype=None) -> Tensor
    """
    along = axes(A, dim)
    if ord not in (None, "fro") and len(along) > 1:
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    return _norm(A, 2 if ord in (None, "fro") else ord, dim, keepdim, dtype)


def _matrix_norm_sources(
    A: Value, ord: Any = "fro", dim: Dims = (-2, -1), keepdim: bool = False, **_: Any
) -> Sequence[int]:
    return remaining(A.rank, dim, keepdim)


@expression(torch.linalg.matrix_norm, strategy=keeping(_matrix_norm_sources))
def matrix_norm(
    A: tf.Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> tf.Tensor:
    """linalg_matrix_norm(Tensor self, Scalar ord, int[] dim=[-2, -1], bool keepdim=False, *,
    ScalarType? dtype=None) -> Tensor
    """
    if ord == "fro":
        return _norm(A, 2, dim, keepdim, dtype)
    x = A if dtype is None else tf.cast(A, tf_dtype(dtype))
    rows, columns = (axis(A, d) for d in dim)
    if ord in ("nuc", 2, -2):
        return _spectral_norm(x, ord, rows, columns, keepdim)
    summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = tf.reduce_sum(tf.abs(x), summed, True)
    largest = tf.reduce_max if x.shape[chosen] != 0 else tf.reduce_sum  # the largest of none is 0
    found = (largest if ord > 0 else tf.reduce_min)(sums, chosen, True)
    return found if keepdim else tf.squeeze(found, [rows, columns])


def _spectral_norm(x: tf.Tensor, ord: Any, rows: int, columns: int, keepdim: bool) -> tf.Tensor:
    """A norm made of singular values, which TFLite cannot find."""
    others = [i for i in range(rank(x)) if i not in (rows, columns)]
    values = tf.linalg.svd(tf.transpose(x, [*others, rows, columns]), compute_uv=False)
    found = {"nuc": tf.reduce_sum, 2: tf.reduce_max, -2: tf.reduce_min}[ord](values, -1)
    found = tf.maximum(found, 0)  # which the largest of none is
    for i in sorted((rows, columns)) if keepdim else ():
        found = tf.expand_dims(found, i)
    return found


@expression(F.normalize)
def normalize(input: tf.Tensor, p: float = 2.0, dim: Dims = 1, eps: float = 1e-12) -> tf.Tensor:
    """normalize(Tensor input, float p=2.0, int dim=1, float eps=1e-12) -> Tensor"""
    over = axes(input, dim)
    if p == 2 and not input.dtype.is_complex:  # TFLite's L2_NORMALIZATION is found in this, along the last axis
        return tf.nn.l2_normalize(input, over, eps**2)
    return input / tf.cast(tf.maximum(vector_norm_of(input, p, over, True), eps), input.dtype)


def _one_dim(x1: Any, x2: Any, dim: int = 1, *_: Any, **__: Any) -> tuple[int, bool]:
    return dim, False


@expression(F.cosine_similarity, strategy=reducing_together(_one_dim))
def cosine_similarity(x1: tf.Tensor, x2: tf.Tensor, dim: int = 1, eps: float = 1e-8) -> tf.Tensor:
    """cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor"""
    over = axes(x1 if rank(x1) >= rank(x2) else x2, dim)
    x1, x2 = aligned(*promoted(x1, x2, to_float=True))
    lengths = ([sizes(x)[i] for i in over] if rank(x) == max(rank(x1), rank(x2)) else [] for x in (x1, x2))
    if not agree(*lengths):  # a repeated element counts towards the length as often as it is repeated
        x1, x2 = alike(x1, x2)
    length1, length2 = (tf.maximum(vector_norm_of(x, 2, over, True), eps) for x in (x1, x2))
    return tf.reduce_sum((x1 / length1) * (x2 / length2), over)


def _last_dim(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> tuple[int, bool]:
    return -1, keepdim


@expression(F.pairwise_distance, strategy=reducing_together(_last_dim))
def pairwise_distance(
    x1: tf.Tensor, x2: tf.Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> tf.Tensor:
    """pairwise_distance(Tensor x1, Tensor x2, float p=2, float eps=1e-06, bool keepdim=False) -> Tensor"""
    x1, x2 = aligned(*promoted(x1, x2))
    (apart,) = promoted(x1 - x2, to_float=True)  # integers have wrapped by then
    return vector_norm_of(apart + eps, p, [axis(x1 if rank(x1) >= rank(x2) else x2, -1)], keepdim)


@expression(torch.cdist, aten._cdist_forward.default, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def cdist(x1: tf.Tensor, x2: tf.Tensor, p: float = 2.0, compute_mode: Any = None) -> tf.Tensor:
    """cdist(Tensor x1, Tensor x2, float p=2, int? compute_mode=None) -> Tensor"""
    apart = tf.expand_dims(x1, -2) - tf.expand_dims(x2, -3)
    return vector_norm_of(apart, p, [-1], False)


@expression(torch.dist, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def dist(input: tf.Tensor, other: tf.Tensor, p: float = 2) -> tf.Tensor:
    """dist(Tensor self, Tensor other, Scalar p=2) -> Tensor"""
    a, b = promoted(input, other)
    return vector_norm_of(a - b, p, list(range(max(rank(input), rank(other)))), False)


@expression(torch.pdist, aten._pdist_forward.default, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def pdist(input: tf.Tensor, p: float = 2.0) -> tf.Tensor:
    """pdist(Tensor self, float p=2) -> Tensor"""
    pairs = known(lambda n: tf.where(tf.range(n)[:, tf.newaxis] < tf.range(n)), sizes(input)[0])
    return vector_norm_of(tf.gather(input, pairs[:, 0]) - tf.gather(input, pairs[:, 1]), p, [-1], False)


# -- losses -------------------------------------------------------------------------------------------


def _reduced(loss: tf.Tensor, reduction: str, weight: Any = None, average: Any = None, reduce: Any = None) -> tf.Tensor:
    """`average` and `reduce` are what `reduction` was of old."""
    if average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if average is False else "mean"
    loss = loss if weight is None else loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return tf.reduce_sum(loss)
    return tf.reduce_mean(loss) if weight is None else tf.reduce_sum(loss) / tf.reduce_sum(weight)


@elementwise(F.mse_loss, operands=2)
def mse_loss(
    input: tf.Tensor,
    target: tf.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> tf.Tensor:
    """mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return _reduced(tf.math.squared_difference(input, target), reduction, weight, size_average, reduce)


@elementwise(F.l1_loss, operands=2)
def l1_loss(
    input: tf.Tensor,
    target: tf.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> tf.Tensor:
    """l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return _reduced(tf.abs(input - target), reduction, None, size_average, reduce)


def _rounded_off(error: tf.Tensor, width: float) -> tf.Tensor:
    """Huber's loss: half the square within `width`, from there on straight."""
    return tf.where(error < width, 0.5 * tf.square(error), width * (error - 0.5 * width))


@elementwise(F.huber_loss, operands=2)
def huber_loss(
    input: tf.Tensor, target: tf.Tensor, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> tf.Tensor:
    """huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor"""
    loss = _rounded_off(tf.abs(input - target), delta)
    return _reduced(loss if weight is None else loss * weight, reduction)  # no share of the weights, as elsewhere


@elementwise(F.smooth_l1_loss, operands=2)
def smooth_l1_loss(
    input: tf.Tensor,
    target: tf.Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> tf.Tensor:
    """smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.0) -> Tensor"""
    error = tf.abs(input - target)
    return _reduced(_rounded_off(error, beta) / beta if beta else error, reduction, None, size_average, reduce)
