"""Linear algebra: what is solved with matrices, and what is told of them. TensorFlow has its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.aten.factors import (
    adjointed,
    as_matrix,
    lu_factor_ex,
    matrices,
    no_info,
    permutation_of,
    real_of,
    transposed,
    unpacked,
)
from nobuco.converters.aten.spelling import aten
from nobuco.converters.support import cast, rank, sizes


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


@matrices(aten._linalg_solve_ex.default)
def solve_ex(A: tf.Tensor, B: tf.Tensor, *, left: bool = True, check_errors: bool = False) -> tuple[tf.Tensor, ...]:
    """_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, ...) -> (result, LU, pivots, info)"""
    is_vector = rank(B) == 1 or (rank(A) - 1 == rank(B) and A.shape[:-1] == B.shape)
    a, b = _together(A, B[..., None] if is_vector else B)
    found = tf.linalg.solve(a, b) if left else transposed(tf.linalg.solve(transposed(a), transposed(b)))
    return (found[..., 0] if is_vector else found, *lu_factor_ex(A))


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
    identity = tf.eye(sizes(self)[-1], batch_shape=sizes(self)[:-2], dtype=self.dtype)
    return tf.linalg.cholesky_solve(lower, identity)


@matrices(aten.linalg_lu_solve.default)
def lu_solve(LU: tf.Tensor, pivots: tf.Tensor, B: tf.Tensor, *, left: bool = True, adjoint: bool = False) -> tf.Tensor:
    """linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor"""
    lower, upper = unpacked(LU)
    a = as_matrix(permutation_of(pivots, sizes(LU)[-2]), LU.dtype) @ lower @ upper
    a, b = _together(adjointed(a) if adjoint else a, B)
    return tf.linalg.solve(a, b) if left else transposed(tf.linalg.solve(transposed(a), transposed(b)))


@matrices(aten.linalg_lstsq.default)
def lstsq(self: tf.Tensor, b: tf.Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """linalg_lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None)
    -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)
    """
    rows, columns = sizes(self)[-2:]
    is_vector = rank(self) - 1 == rank(b) and self.shape[:-1] == b.shape
    right = b[..., None] if is_vector else b
    found = tf.linalg.pinv(self, rcond) @ right
    residuals = tf.reduce_sum(tf.square(tf.abs(self @ found - right)), -2)
    full = rows > columns and driver != "gelsy"
    none = tf.zeros([0], real_of(self.dtype))
    singular = tf.linalg.svd(self, compute_uv=False) if driver in ("gelsd", "gelss") else none
    return (
        found[..., 0] if is_vector else found,
        residuals if full or rows > columns else none,
        tf.cast(tf.linalg.matrix_rank(self), tf.int64) if driver != "gels" else tf.zeros([0], tf.int64),
        singular,
    )


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
    given = cast(0.0 if atol is None else atol, s.dtype)
    least = s.dtype.as_numpy_dtype(np.finfo(s.dtype.as_numpy_dtype).eps * max(rows, columns))
    relative = tf.where(given > 0, tf.zeros([], s.dtype), least) if rtol is None else cast(rtol, s.dtype)
    cutoff = tf.maximum(given, relative * tf.reduce_max(tf.abs(s), -1))
    inverse = tf.where(tf.abs(s) > cutoff[..., tf.newaxis], tf.math.divide_no_nan(tf.ones([], s.dtype), s), 0)
    return (v * cast(inverse, self.dtype)[..., tf.newaxis, :]) @ adjointed(u)


# -- numbers and functions of a matrix ------------------------------------------------------------------------


@matrices(aten._linalg_det.default)
def det(A: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)"""
    return (tf.linalg.det(A), *lu_factor_ex(A)[:2])


@matrices(aten._linalg_slogdet.default)
def slogdet(A: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)"""
    sign, logarithm = tf.linalg.slogdet(A)
    return (sign, tf.cast(tf.math.real(logarithm), real_of(A.dtype)), *lu_factor_ex(A)[:2])


@matrices(aten.linalg_matrix_exp.default)
def matrix_exp(self: tf.Tensor) -> tf.Tensor:
    """linalg_matrix_exp(Tensor self) -> Tensor"""
    identity = tf.eye(sizes(self)[-1], batch_shape=sizes(self)[:-2], dtype=self.dtype)
    if 0 in self.shape.as_list():
        return identity
    # Taylor's series of a small part of the matrix, squared as often as the part was halved.
    size = tf.reduce_max(tf.reduce_sum(tf.abs(self), -1))
    halvings = tf.cast(tf.maximum(tf.math.ceil(tf.math.log(size + 1e-30) / math.log(2)) + 1, 0), tf.int32)
    part = self * tf.cast(tf.pow(tf.constant(0.5, size.dtype), tf.cast(halvings, size.dtype)), self.dtype)
    series = identity
    for k in range(18 if size.dtype == tf.float64 else 9, 0, -1):
        series = identity + part @ series / k
    return tf.while_loop(lambda i, _: i < halvings, lambda i, x: (i + 1, x @ x), (tf.constant(0), series))[1]
