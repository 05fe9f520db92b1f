"""Factorizations of matrices, with LAPACK's conventions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.joining import part
from nobuco.converters.repeating import diagonal
from nobuco.converters.support import rank, sizes, smallest
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def matrices(*operations: Any, autocast: bool = True) -> Any:
    """Register an expression that sees its tensors as in PyTorch."""
    return expression(*operations, strategy=FORCE_PYTORCH_ORDER, autocast=autocast)


def adjointed(x: tf.Tensor) -> tf.Tensor:
    """Matrices transposed and conjugated."""
    return tf.linalg.adjoint(x)


def transposed(x: tf.Tensor) -> tf.Tensor:
    """Matrices transposed."""
    return tf.linalg.matrix_transpose(x)


def identity_like(x: tf.Tensor) -> tf.Tensor:
    """Ones on the diagonals of matrices as large as `x`, and zeros."""
    rows, columns = sizes(x)[-2:]
    return tf.broadcast_to(tf.cast(tf.range(rows)[:, tf.newaxis] == tf.range(columns), x.dtype), sizes(x))


def no_info(x: tf.Tensor) -> tf.Tensor:
    """What LAPACK says of each matrix: that all went well."""
    return tf.zeros(sizes(x)[:-2], tf.int32)


def real_of(dtype: tf.DType) -> tf.DType:
    """The dtype of the parts of a number."""
    return dtype.real_dtype


@matrices(aten.linalg_cholesky_ex.default)
def cholesky_ex(self: tf.Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)"""
    return cholesky(self, upper), no_info(self)


@matrices(aten.cholesky.default)
def cholesky(self: tf.Tensor, upper: bool = False) -> tf.Tensor:
    """cholesky(Tensor self, bool upper=False) -> Tensor"""
    lower = tf.linalg.cholesky(adjointed(self) if upper else self)
    return adjointed(lower) if upper else lower


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
        return none, tf.cast(tf.linalg.svd(A, compute_uv=False), real_of(A.dtype)), none
    s, u, v = tf.linalg.svd(A, full_matrices)
    return u, tf.cast(s, real_of(A.dtype)), adjointed(v)


@matrices(aten._linalg_eigh.default)
def eigh(A: tf.Tensor, UPLO: str = "L", compute_v: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    """_linalg_eigh(Tensor A, str UPLO="L", bool compute_v=True) -> (Tensor eigenvalues, Tensor eigenvectors)"""
    x = A if UPLO.upper() == "L" else adjointed(A)
    if not compute_v:
        return tf.cast(tf.linalg.eigvalsh(x), real_of(A.dtype)), tf.zeros([0], A.dtype)
    values, vectors = tf.linalg.eigh(x)
    return tf.cast(values, real_of(A.dtype)), vectors


@matrices(aten.linalg_eig.default)
def eig(self: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """linalg_eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)"""
    values, vectors = tf.linalg.eig(self)
    return values, vectors


@matrices(aten.linalg_eigvals.default, aten._linalg_eigvals.default)
def eigvals(self: tf.Tensor) -> tf.Tensor:
    """linalg_eigvals(Tensor self) -> Tensor"""
    return tf.linalg.eigvals(self)


def factored(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """L and U in one matrix, LAPACK's pivots, and the row that each row comes from.

    Column by column, since TensorFlow's own takes only square matrices that have an inverse.
    """
    *batch, rows, columns = sizes(x)
    count, row = smallest(rows, columns), tf.range(rows)
    a = tf.reshape(x, [-1, rows, columns])
    several = sizes(a)[0]

    def eliminate(i: tf.Tensor, a: tf.Tensor, pivots: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, ...]:
        size = _size(tf.gather(a, i, axis=2))
        pivot = tf.expand_dims(tf.argmax(tf.where(row >= i, size, -tf.ones_like(size)), 1, output_type=tf.int32), 1)
        swap = _exchanged(row, i, pivot)
        a, order = tf.gather(a, swap, batch_dims=1), tf.gather(order, swap, batch_dims=1)
        below, upper = tf.gather(a, i, axis=2), tf.gather(a, i, axis=1)
        head = tf.expand_dims(tf.gather(below, i, axis=1), 1)
        factor = tf.where((row > i) & (head != 0), tf.math.divide_no_nan(below, head), tf.zeros_like(below))
        factor = tf.expand_dims(factor, 2)
        left = a - factor * tf.expand_dims(tf.where(tf.range(columns) > i, upper, 0), 1)
        is_factor = (row > i)[:, tf.newaxis] & (tf.range(columns) == i) & tf.expand_dims(head != 0, 1)
        a = tf.where(is_factor, factor, left)
        return i + 1, a, tf.where(tf.range(count) == i, pivot + 1, pivots), order

    start = (tf.constant(0), a, tf.ones([several, count], tf.int32), tf.zeros([several, rows], tf.int32) + row)
    _, a, pivots, order = tf.while_loop(lambda i, *_: i < count, eliminate, start)
    return tf.reshape(a, sizes(x)), tf.reshape(pivots, [*batch, count]), tf.reshape(order, [*batch, rows])


def _size(x: tf.Tensor) -> tf.Tensor:
    """How LAPACK compares candidates for a pivot."""
    return tf.abs(tf.math.real(x)) + tf.abs(tf.math.imag(x)) if x.dtype.is_complex else tf.abs(x)


def _exchanged(places: tf.Tensor, i: tf.Tensor, j: tf.Tensor) -> tf.Tensor:
    """Numbers with `i` and `j` in each other's place."""
    return tf.where(places == i, j, tf.where(places == j, i, places))


def permutation_of(pivots: tf.Tensor, rows: Any) -> tf.Tensor:
    """The row that each row comes from, by LAPACK's pivots."""
    row = tf.range(rows)

    def exchange(i: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        swap = _exchanged(row, i, tf.expand_dims(tf.gather(pivots, i, axis=-1), -1) - 1)
        return i + 1, tf.gather(order, swap, axis=-1, batch_dims=rank(order) - 1)

    start = tf.constant(0), tf.broadcast_to(row, [*sizes(pivots)[:-1], rows])
    return tf.while_loop(lambda i, _: i < sizes(pivots)[-1], exchange, start)[1]


def unpacked(lu: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """L, with ones on its diagonal, and U, of both in one matrix."""
    *batch, rows, columns = sizes(lu)
    k = smallest(rows, columns)
    lower = tf.linalg.band_part(part(lu, rank(lu) - 1, None, k), -1, 0)
    lower = tf.linalg.set_diag(lower, tf.ones([*batch, k], lu.dtype))
    return lower, tf.linalg.band_part(part(lu, rank(lu) - 2, None, k), 0, -1)


def as_matrix(permutation: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The matrix P of A = P L U, by the row of A that each row comes from."""
    return transposed(tf.one_hot(permutation, sizes(permutation)[-1], dtype=dtype))


@matrices(aten.linalg_lu_factor_ex.default)
def lu_factor_ex(A: tf.Tensor, *, pivot: bool = True, check_errors: bool = False) -> tuple[tf.Tensor, ...]:
    """linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) -> (LU, pivots, info)"""
    packed, pivots, _ = factored(A)
    vanish = tf.cast(diagonal(packed, 0, -2, -1) == 0, tf.int32)
    if 0 in vanish.shape.as_list():
        return packed, pivots, no_info(A)
    first = tf.argmax(vanish, -1, output_type=tf.int32) + 1  # of the pivots that are zero, as LAPACK tells it
    return packed, pivots, first * tf.reduce_max(vanish, -1)


@matrices(aten.linalg_lu.default)
def lu(A: tf.Tensor, *, pivot: bool = True) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)"""
    packed, _, permutation = factored(A)
    return (as_matrix(permutation, A.dtype), *unpacked(packed))


@matrices(aten.lu_unpack.default)
def lu_unpack(
    LU_data: tf.Tensor, LU_pivots: tf.Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True) -> (P, L, U)"""
    none = tf.zeros([0], LU_data.dtype)
    lower, upper = unpacked(LU_data) if unpack_data else (none, none)
    permutation = permutation_of(LU_pivots, sizes(LU_data)[-2])
    return (as_matrix(permutation, LU_data.dtype) if unpack_pivots else none), lower, upper


@matrices(aten.linalg_householder_product.default)
def householder_product(input: tf.Tensor, tau: tf.Tensor) -> tf.Tensor:
    """linalg_householder_product(Tensor input, Tensor tau) -> Tensor"""
    return _reflected(input, tau, identity_like(input))


def _reflected(vectors: tf.Tensor, tau: tf.Tensor, x: tf.Tensor, backwards: bool = False) -> tf.Tensor:
    """`x` reflected by the product of the Householder reflections that stand below the diagonal of `vectors`."""
    row, count = tf.range(sizes(vectors)[-2]), sizes(tau)[-1]

    def reflect(step: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        i = step if backwards else count - 1 - step
        column = tf.gather(vectors, i, axis=-1)
        v = tf.expand_dims(tf.where(row > i, column, tf.cast(row == i, column.dtype)), -1)
        factor = tf.expand_dims(tf.expand_dims(tf.gather(tau, i, axis=-1), -1), -1)
        factor = tf.math.conj(factor) if backwards and factor.dtype.is_complex else factor
        return step + 1, x - factor * v * tf.reduce_sum(tf.math.conj(v) * x, -2, keepdims=True)

    return tf.while_loop(lambda step, _: step < count, reflect, (tf.constant(0), x))[1]


@matrices(aten.ormqr.default)
def ormqr(
    self: tf.Tensor, input2: tf.Tensor, input3: tf.Tensor, left: bool = True, transpose: bool = False
) -> tf.Tensor:
    """ormqr(Tensor self, Tensor input2, Tensor input3, bool left=True, bool transpose=False) -> Tensor"""
    if left:
        return _reflected(self, input2, input3, transpose)
    return adjointed(_reflected(self, input2, adjointed(input3), not transpose))


@matrices(aten.geqrf.default)
def geqrf(self: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """geqrf(Tensor self) -> (Tensor a, Tensor tau)"""
    *batch, rows, columns = sizes(self)
    count, row = smallest(rows, columns), tf.range(rows)
    start = tf.reshape(self, [-1, rows, columns])
    zero = tf.zeros([], self.dtype)

    def reflect(i: tf.Tensor, a: tf.Tensor, taus: tf.Tensor) -> tuple[tf.Tensor, ...]:
        column = tf.gather(a, i, axis=2)
        alpha = tf.expand_dims(tf.gather(column, i, axis=1), 1)
        tail = tf.where(row > i, column, zero)
        length = tf.norm(tf.concat([alpha, tail], 1), axis=1, keepdims=True)
        beta = tf.cast(tf.where(tf.math.real(alpha) >= 0, -1.0, 1.0), self.dtype) * length
        done = tf.reduce_all(tail == 0, 1, keepdims=True) & (tf.math.imag(alpha) == 0)
        tau = tf.where(done, zero, tf.math.divide_no_nan(beta - alpha, beta))
        v = tf.where(row == i, tf.ones([], self.dtype), tf.math.divide_no_nan(tail, alpha - beta))
        turned = a - tf.expand_dims(tf.math.conj(tau) * v, 2) * (tf.expand_dims(tf.math.conj(v), 1) @ a)
        kept = tf.where(row < i, column, tf.where(row == i, tf.where(done, alpha, beta), v))
        where = tf.range(columns)
        a = tf.where(where > i, turned, tf.where(where == i, tf.expand_dims(kept, 2), a))
        return i + 1, a, tf.where(tf.range(count) == i, tau, taus)

    first = (tf.constant(0), start, tf.zeros([sizes(start)[0], count], self.dtype))
    _, a, taus = tf.while_loop(lambda i, *_: i < count, reflect, first)
    return tf.reshape(a, sizes(self)), tf.reshape(taus, [*batch, count])
