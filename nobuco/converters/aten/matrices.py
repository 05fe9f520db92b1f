"""Linear algebra: factorizations, solutions, determinants. TensorFlow has its own; LAPACK's pivots follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.converters.aten.spelling import aten
from nobuco.converters.support import rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def matrices(*operations: Any) -> Any:
    """Register an expression that sees its tensors as in PyTorch."""
    return expression(*operations, strategy=FORCE_PYTORCH_ORDER)


def _adjoint(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.adjoint(x)


def _transposed(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.matrix_transpose(x)


def _info(x: tf.Tensor) -> tf.Tensor:
    """What LAPACK says of each matrix: that all went well."""
    return tf.zeros(sizes(x)[:-2], tf.int32)


def _real(dtype: tf.DType) -> tf.DType:
    return dtype.real_dtype


def _together(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two batches of matrices, broadcast to one shape of batch."""
    batch = tf.broadcast_dynamic_shape(tf.shape(a)[:-2], tf.shape(b)[:-2])
    if a.shape.is_fully_defined() and b.shape.is_fully_defined():
        batch = tf.broadcast_static_shape(a.shape[:-2], b.shape[:-2]).as_list()
    return tuple(tf.broadcast_to(x, tf.concat([batch, tf.shape(x)[-2:]], 0)) for x in (a, b))


# -- factorizations -----------------------------------------------------------------------------------------


@matrices(aten.linalg_cholesky_ex.default)
def cholesky_ex(self: tf.Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)"""
    return cholesky(self, upper), _info(self)


@matrices(aten.cholesky.default)
def cholesky(self: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky(Tensor self, bool upper=False) -> Tensor"""
    lower = tf.linalg.cholesky(_adjoint(self) if upper else self)
    return _adjoint(lower) if upper else lower


@matrices(aten.linalg_qr.default)
def qr(A: tf.Tensor, mode: str = "reduced") -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_qr(Tensor A, str mode="reduced") -> (Tensor Q, Tensor R)"""
    q, r = tf.linalg.qr(A, full_matrices=mode == "complete")
    return (tf.zeros([0], A.dtype) if mode == "r" else q), r


@matrices(aten._linalg_svd.default)
def svd(
    A: tf.Tensor, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """_linalg_svd(Tensor A, bool full_matrices=False, bool compute_uv=True, *, str? driver=None) -> (U, S, Vh)"""
    if not compute_uv:
        none = tf.zeros([0], A.dtype)
        return none, tf.cast(tf.linalg.svd(A, compute_uv=False), _real(A.dtype)), none
    s, u, v = tf.linalg.svd(A, full_matrices)
    return u, tf.cast(s, _real(A.dtype)), _adjoint(v)


@matrices(aten._linalg_eigh.default)
def eigh(A: tf.Tensor, UPLO: str = "L", compute_v: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    """_linalg_eigh(Tensor A, str UPLO="L", bool compute_v=True) -> (Tensor eigenvalues, Tensor eigenvectors)"""
    x = A if UPLO.upper() == "L" else _adjoint(A)
    if not compute_v:
        return tf.cast(tf.linalg.eigvalsh(x), _real(A.dtype)), tf.zeros([0], A.dtype)
    values, vectors = tf.linalg.eigh(x)
    return tf.cast(values, _real(A.dtype)), vectors


@matrices(aten.linalg_eig.default)
def eig(self: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)"""
    values, vectors = tf.linalg.eig(self)
    return values, vectors


@matrices(aten.linalg_eigvals.default, aten._linalg_eigvals.default)
def eigvals(self: tf.Tensor) -> tf.Tensor:
    """linalg_eigvals(Tensor self) -> Tensor"""
    return tf.linalg.eigvals(self)


def _factored(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """L and U in one matrix, and the row that each row comes from.

    TensorFlow's takes square matrices only; zeros beside or below change nothing of the factors.
    """
    *batch, rows, columns = sizes(x)
    side = max(rows, columns)
    square = tf.pad(x, [*([[0, 0]] * len(batch)), [0, side - rows], [0, side - columns]])
    lu, permutation = tf.linalg.lu(square)
    return lu[..., :rows, :columns], permutation[..., :rows]


def _swapped(order: tf.Tensor, i: int, j: tf.Tensor) -> tf.Tensor:
    """Rows of numbers with number `i` and number `j`, which differs from row to row, exchanged."""
    places = tf.range(sizes(order)[-1])
    at_j = tf.gather(order, j[..., None], axis=-1, batch_dims=rank(j))
    exchanged = tf.where(places == j[..., None], order[..., i : i + 1], order)
    return tf.where(places == i, at_j, exchanged)


def _pivots(permutation: tf.Tensor, count: int) -> tf.Tensor:
    """LAPACK's pivots: with which row each row was exchanged, one after the other, counted from one."""
    rows = sizes(permutation)[-1]
    order = tf.broadcast_to(tf.range(rows), sizes(permutation))
    found = []
    for i in range(count):
        j = tf.argmax(tf.cast(order == permutation[..., i : i + 1], tf.int32), -1, output_type=tf.int32)
        order = _swapped(order, i, j)
        found.append(j + 1)
    return tf.stack(found, -1) if found else tf.zeros([*sizes(permutation)[:-1], 0], tf.int32)


def _permutation(pivots: tf.Tensor, rows: int) -> tf.Tensor:
    """The row that each row comes from, by LAPACK's pivots."""
    order = tf.broadcast_to(tf.range(rows), [*sizes(pivots)[:-1], rows])
    for i in range(sizes(pivots)[-1]):
        order = _swapped(order, i, pivots[..., i] - 1)
    return order


def _unpacked(lu: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    *batch, rows, columns = sizes(lu)
    k = min(rows, columns)
    lower = tf.linalg.band_part(lu[..., :k], -1, 0)
    lower = tf.linalg.set_diag(lower, tf.ones([*batch, k], lu.dtype))
    return lower, tf.linalg.band_part(lu[..., :k, :], 0, -1)


def _as_matrix(permutation: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return _transposed(tf.one_hot(permutation, sizes(permutation)[-1], dtype=dtype))


@matrices(aten.linalg_lu_factor_ex.default)
def lu_factor_ex(A: tf.Tensor, *, pivot: bool = True, check_errors: bool = False) -> tuple[tf.Tensor, ...]:
    """linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) -> (LU, pivots, info)"""
    lu, permutation = _factored(A)
    return lu, _pivots(permutation, min(sizes(A)[-2:])), _info(A)


@matrices(aten.linalg_lu.default)
def lu(A: tf.Tensor, *, pivot: bool = True) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)"""
    packed, permutation = _factored(A)
    return (_as_matrix(permutation, A.dtype), *_unpacked(packed))


@matrices(aten.lu_unpack.default)
def lu_unpack(
    LU_data: tf.Tensor, LU_pivots: tf.Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True) -> (P, L, U)"""
    none = tf.zeros([0], LU_data.dtype)
    lower, upper = _unpacked(LU_data) if unpack_data else (none, none)
    permutation = _permutation(LU_pivots, sizes(LU_data)[-2])
    return (_as_matrix(permutation, LU_data.dtype) if unpack_pivots else none), lower, upper


# -- solutions ----------------------------------------------------------------------------------------------


@matrices(aten.linalg_inv_ex.default)
def inv_ex(A: tf.Tensor, *, check_errors: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)"""
    return tf.linalg.inv(A), _info(A)


@matrices(aten._linalg_solve_ex.default)
def solve_ex(A: tf.Tensor, B: tf.Tensor, *, left: bool = True, check_errors: bool = False) -> tuple[tf.Tensor, ...]:
    """_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, ...) -> (result, LU, pivots, info)"""
    is_vector = rank(B) == 1 or (rank(A) - 1 == rank(B) and A.shape[:-1] == B.shape)
    a, b = _together(A, B[..., None] if is_vector else B)
    found = tf.linalg.solve(a, b) if left else _transposed(tf.linalg.solve(_transposed(a), _transposed(b)))
    return (found[..., 0] if is_vector else found, *lu_factor_ex(A))


@matrices(aten.linalg_solve_triangular.default)
def solve_triangular(
    self: tf.Tensor, B: tf.Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> tf.Tensor:
    """linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, bool unitriangular=False)"""
    a, b = _together(_with_units(self) if unitriangular else self, B)
    if left:
        return tf.linalg.triangular_solve(a, b, lower=not upper)
    return _transposed(tf.linalg.triangular_solve(_transposed(a), _transposed(b), lower=upper))


def _with_units(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.set_diag(x, tf.ones(sizes(x)[:-1], x.dtype))


@matrices(aten.triangular_solve.default)
def triangular_solve(
    self: tf.Tensor, A: tf.Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False)"""
    a, b = _together(A, self)
    x = _transposed(a) if transpose else a
    return solve_triangular(x, b, upper=upper != transpose, unitriangular=unitriangular), a


@matrices(aten.cholesky_solve.default, aten._cholesky_solve_helper.default)
def cholesky_solve(self: tf.Tensor, input2: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor"""
    a, b = _together(input2, self)
    return tf.linalg.cholesky_solve(_adjoint(a) if upper else a, b)


@matrices(aten.cholesky_inverse.default)
def cholesky_inverse(self: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky_inverse(Tensor self, bool upper=False) -> Tensor"""
    lower = tf.linalg.band_part(_adjoint(self) if upper else self, -1, 0)
    identity = tf.eye(sizes(self)[-1], batch_shape=sizes(self)[:-2], dtype=self.dtype)
    return tf.linalg.cholesky_solve(lower, identity)


@matrices(aten.linalg_lu_solve.default)
def lu_solve(LU: tf.Tensor, pivots: tf.Tensor, B: tf.Tensor, *, left: bool = True, adjoint: bool = False) -> tf.Tensor:
    """linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor"""
    lower, upper = _unpacked(LU)
    a = _as_matrix(_permutation(pivots, sizes(LU)[-2]), LU.dtype) @ lower @ upper
    a, b = _together(_adjoint(a) if adjoint else a, B)
    return tf.linalg.solve(a, b) if left else _transposed(tf.linalg.solve(_transposed(a), _transposed(b)))


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
    none = tf.zeros([0], _real(self.dtype))
    singular = tf.linalg.svd(self, compute_uv=False) if driver in ("gelsd", "gelss") else none
    return (
        found[..., 0] if is_vector else found,
        residuals if full or rows > columns else none,
        tf.cast(tf.linalg.matrix_rank(self), tf.int64) if driver != "gels" else tf.zeros([0], tf.int64),
        singular,
    )


# -- numbers and functions of a matrix ------------------------------------------------------------------------


@matrices(aten._linalg_det.default)
def det(A: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)"""
    return (tf.linalg.det(A), *lu_factor_ex(A)[:2])


@matrices(aten._linalg_slogdet.default)
def slogdet(A: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)"""
    sign, logarithm = tf.linalg.slogdet(A)
    return (sign, tf.cast(tf.math.real(logarithm), _real(A.dtype)), *lu_factor_ex(A)[:2])


@matrices(aten.linalg_matrix_exp.default)
def matrix_exp(self: tf.Tensor) -> tf.Tensor:
    """linalg_matrix_exp(Tensor self) -> Tensor"""
    return tf.linalg.expm(self)


@matrices(aten.linalg_householder_product.default)
def householder_product(input: tf.Tensor, tau: tf.Tensor) -> tf.Tensor:
    """linalg_householder_product(Tensor input, Tensor tau) -> Tensor"""
    return _reflected(input, tau, tf.eye(*sizes(input)[-2:], batch_shape=sizes(input)[:-2], dtype=input.dtype))


def _reflected(vectors: tf.Tensor, tau: tf.Tensor, x: tf.Tensor, adjoint: bool = False) -> tf.Tensor:
    """`x` reflected by the product of the Householder reflections that stand below the diagonal of `vectors`."""
    rows, count = sizes(vectors)[-2], sizes(tau)[-1]
    order: Sequence[int] = range(count) if adjoint else range(count - 1, -1, -1)
    for i in order:
        column = vectors[..., i]
        place = tf.range(rows)
        v = tf.where(place > i, column, tf.cast(place == i, column.dtype))[..., None]
        factor = tau[..., i][..., None, None]
        factor = tf.math.conj(factor) if adjoint and factor.dtype.is_complex else factor
        x = x - factor * v @ (_adjoint(v) @ x)
    return x


@matrices(aten.ormqr.default)
def ormqr(
    self: tf.Tensor, input2: tf.Tensor, input3: tf.Tensor, left: bool = True, transpose: bool = False
) -> tf.Tensor:
    """ormqr(Tensor self, Tensor input2, Tensor input3, bool left=True, bool transpose=False) -> Tensor"""
    if left:
        return _reflected(self, input2, input3, transpose)
    return _adjoint(_reflected(self, input2, _adjoint(input3), not transpose))
