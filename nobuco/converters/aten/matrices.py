"""Linear algebra: what is solved with matrices, and what is told of them. TensorFlow has its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.aten.factors import (
    FORCE_PYTORCH_ORDER,
    adjointed,
    as_matrix,
    identity_like,
    lu_factor_ex,
    matrices,
    no_info,
    permutation_of,
    real_of,
    transposed,
    unpacked,
)
from nobuco.converters.repeating import diagonal
from nobuco.converters.support import cast, sizes, wide
from nobuco.ops.names import Tensor, aten
from nobuco.registry import converter


def _together(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two batches of matrices, broadcast to one shape of batch."""
    batch = tf.broadcast_dynamic_shape(tf.shape(a)[:-2], tf.shape(b)[:-2])
    if a.shape.is_fully_defined() and b.shape.is_fully_defined():
        batch = tf.broadcast_static_shape(a.shape[:-2], b.shape[:-2]).as_list()
    return tuple(tf.broadcast_to(x, tf.concat([batch, tf.shape(x)[-2:]], 0)) for x in (a, b))


# -- solutions ----------------------------------------------------------------------------------------------


@matrices(aten.linalg_inv_ex.default)
def inv_ex(A: tf.Tensor, *, check_errors: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)"""
    return tf.linalg.inv(A), no_info(A)


def _are_vectors(A: Tensor, B: Tensor) -> bool:
    """Whether what stands on the right is a vector for each matrix; sizes tell, so those of the trace do."""
    return B.dim() == 1 or A.shape[:-1] == B.shape


@converter(aten._linalg_solve_ex.default, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, ...) -> (result, LU, pivots, info)"""
    is_vector = _are_vectors(A, B)

    def solve(A: tf.Tensor, B: tf.Tensor, **_: bool) -> tuple[tf.Tensor, ...]:
        a, b = _together(A, B[..., tf.newaxis] if is_vector else B)
        found = tf.linalg.solve(a, b) if left else transposed(tf.linalg.solve(transposed(a), transposed(b)))
        return (found[..., 0] if is_vector else found, *lu_factor_ex(A))

    return solve


@matrices(aten.linalg_solve_triangular.default)
def solve_triangular(
    self: tf.Tensor, B: tf.Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> tf.Tensor:
    """linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, bool unitriangular=False)"""
    a, b = _together(_with_units(self) if unitriangular else self, B)
    if left:
        return tf.linalg.triangular_solve(a, b, lower=not upper)
    return transposed(tf.linalg.triangular_solve(transposed(a), transposed(b), lower=upper))


def _with_units(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.set_diag(x, tf.ones(sizes(x)[:-1], x.dtype))


@matrices(aten.triangular_solve.default)
def triangular_solve(
    self: tf.Tensor, A: tf.Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False)"""
    a, b = _together(A, self)
    x = transposed(a) if transpose else a
    return solve_triangular(x, b, upper=upper != transpose, unitriangular=unitriangular), a


@matrices(aten.cholesky_solve.default, aten._cholesky_solve_helper.default)
def cholesky_solve(self: tf.Tensor, input2: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor"""
    a, b = _together(input2, self)
    return tf.linalg.cholesky_solve(adjointed(a) if upper else a, b)


@matrices(aten.cholesky_inverse.default)
def cholesky_inverse(self: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky_inverse(Tensor self, bool upper=False) -> Tensor"""
    lower = tf.linalg.band_part(adjointed(self) if upper else self, -1, 0)
    return tf.linalg.cholesky_solve(lower, identity_like(self))


@matrices(aten.linalg_lu_solve.default)
def lu_solve(LU: tf.Tensor, pivots: tf.Tensor, B: tf.Tensor, *, left: bool = True, adjoint: bool = False) -> tf.Tensor:
    """linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor"""
    if not left:
        return adjointed(lu_solve(LU, pivots, adjointed(B), adjoint=not adjoint))
    order = as_matrix(permutation_of(pivots, sizes(LU)[-2]), LU.dtype)
    lower, upper = unpacked(LU)
    solved = tf.linalg.triangular_solve
    if adjoint:
        upper, b = _together(upper, B)
        x = solved(upper, b, lower=False, adjoint=True)
        return order @ solved(_together(lower, x)[0], x, lower=True, adjoint=True)
    upper, b = _together(upper, transposed(order) @ B)
    return solved(upper, solved(_together(lower, b)[0], b, lower=True), lower=False)


def _tall(x: tf.Tensor, expected: bool) -> tf.Tensor:
    """Matrices that have more rows than columns, or not, as in the trace; at other sizes the model says so."""
    rows, columns = sizes(x)[-2:]
    rule = "linalg.lstsq gives residuals only if there are more rows than columns: convert it at such sizes"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.greater(rows, columns), expected, rule)]):
        return tf.identity(x)


@converter(aten.linalg_lstsq.default, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def lstsq(self: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """linalg_lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None)
    -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)
    """
    is_vector, chosen = _are_vectors(self, b), driver or "gelsy"
    has_residuals = self.shape[-2] > self.shape[-1] and chosen != "gelsy"

    def solve(self: tf.Tensor, b: tf.Tensor, *_: Any, **__: Any) -> tuple[tf.Tensor, ...]:
        self = self if chosen == "gelsy" else _tall(self, has_residuals)
        right, none = b[..., tf.newaxis] if is_vector else b, tf.zeros([0], real_of(self.dtype))
        found = pinv(self, rtol=rcond) @ right
        residuals = tf.reduce_sum(tf.square(tf.abs(self @ found - right)), -2) if has_residuals else none
        found = found[..., 0] if is_vector else found
        if chosen == "gels":
            return found, residuals, tf.zeros([0], tf.int64), none
        singular = tf.linalg.svd(self, compute_uv=False)
        number = tf.math.count_nonzero(_counts(self, singular, rtol=rcond), -1)
        return found, residuals, number, none if chosen == "gelsy" else singular

    return solve


@matrices(aten.linalg_pinv.atol_rtol_tensor, aten.linalg_pinv.atol_rtol_float, autocast=False)
def pinv(self: tf.Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> tf.Tensor:
    """linalg_pinv.atol_rtol_tensor(Tensor self, *, Tensor? atol=None, Tensor? rtol=None, bool hermitian=False)"""
    rows, columns = sizes(self)[-2:]
    if 0 in self.shape.as_list():
        return tf.zeros([*sizes(self)[:-2], columns, rows], self.dtype)
    if hermitian:
        s, u = tf.linalg.eigh(self)
        s, v = tf.math.real(s), u
    else:
        s, u, v = tf.linalg.svd(self)
    inverse = tf.where(_counts(self, s, atol, rtol), tf.math.divide_no_nan(tf.ones([], s.dtype), s), 0)
    return (v * tf.expand_dims(cast(inverse, self.dtype), -2)) @ adjointed(u)


def _counts(x: tf.Tensor, s: tf.Tensor, atol: Any = None, rtol: Any = None) -> tf.Tensor:
    """Which singular values of a matrix count, the others being zero but for rounding."""
    given = cast(0.0 if atol is None else atol, s.dtype)
    least = cast(tf.maximum(*sizes(x)[-2:]), s.dtype) * np.finfo(s.dtype.as_numpy_dtype).eps
    relative = tf.where(given > 0, tf.zeros([], s.dtype), least) if rtol is None else cast(rtol, s.dtype)
    cutoff = tf.maximum(given, relative * tf.reduce_max(tf.abs(s), -1))
    return tf.abs(s) > tf.expand_dims(cutoff, -1)


# -- numbers and functions of a matrix ------------------------------------------------------------------------


def _factors_of(A: Tensor) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The factors that PyTorch finds a determinant by, and a backward pass reads.

    They are the transpose's of real matrices that lie row by row, since LAPACK reads those by columns.
    """
    turned = A.is_contiguous() and not A.is_complex()
    return lambda x: lu_factor_ex(transposed(x) if turned else x)[:2]


def _parity(pivots: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """1 for an even number of rows exchanged, -1 for an odd one."""
    stays = pivots == tf.range(sizes(pivots)[-1]) + 1
    return tf.reduce_prod(tf.where(stays, tf.ones([], dtype), -tf.ones([], dtype)), -1)


@converter(aten._linalg_det.default, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def det(A: Tensor) -> Any:
    """_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)"""
    factors = _factors_of(A)

    def find(A: tf.Tensor) -> tuple[tf.Tensor, ...]:
        packed, pivots = factors(A)
        return _parity(pivots, A.dtype) * tf.reduce_prod(diagonal(packed, 0, -2, -1), -1), packed, pivots

    return find


@converter(aten._linalg_slogdet.default, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def slogdet(A: Tensor) -> Any:
    """_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)"""
    factors = _factors_of(A)

    def find(A: tf.Tensor) -> tuple[tf.Tensor, ...]:
        packed, pivots = factors(A)
        along = diagonal(packed, 0, -2, -1)
        sign = _parity(pivots, A.dtype) * tf.reduce_prod(tf.sign(along), -1)
        return sign, tf.reduce_sum(tf.math.log(tf.abs(along)), -1), packed, pivots

    return find


@matrices(aten.linalg_matrix_exp.default)
@wide
def matrix_exp(self: tf.Tensor) -> tf.Tensor:
    """linalg_matrix_exp(Tensor self) -> Tensor"""
    identity = identity_like(self)
    if 0 in self.shape.as_list():
        return identity
    # Taylor's series of a small part of each matrix, squared as often as the part was halved: no more often, since
    # each time costs a bit of precision.
    size = tf.reduce_max(tf.reduce_sum(tf.abs(self), -1), -1)[..., tf.newaxis, tf.newaxis]
    halvings = tf.maximum(tf.math.ceil(tf.math.log(size + 1e-30) / math.log(2)) + 1, 0)
    # Of what is no number there is no small part, and the loop would have no end for it.
    halvings = tf.where(tf.math.is_finite(size), halvings, tf.zeros_like(halvings))
    part = self * tf.cast(tf.pow(tf.constant(0.5, size.dtype), halvings), self.dtype)
    series = identity
    for k in range(18 if size.dtype == tf.float64 else 9, 0, -1):
        series = identity + part @ series / k
    most = tf.reduce_max(halvings)
    start = tf.zeros([], size.dtype), series
    return tf.while_loop(lambda i, _: i < most, lambda i, x: (i + 1, tf.where(i < halvings, x @ x, x)), start)[1]
