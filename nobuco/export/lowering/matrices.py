"""Systems of linear equations and factors of small matrices, in loops of what TFLite has.

A step of a loop works on whole rows or columns of a batch, chosen by a mask, since TFLite cannot write into a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def cholesky(a: Any) -> Any:
    """The lower factor, column by column, each taken from what is left of the matrix."""
    n = _rows(a)
    index = tf.range(n)

    def step(k: Any, rest: Any, lower: Any) -> tuple[Any, Any, Any]:
        column = _column(rest, k)
        root = tf.sqrt(_element(column, k))
        scaled = tf.where(index < k, tf.zeros_like(column), column / root[..., None])
        rest = rest - scaled[..., :, None] * scaled[..., None, :]
        return k + 1, rest, lower + scaled[..., :, None] * _one(index, k, a.dtype)

    return _loop(n, step, a, tf.zeros_like(a))[1]


def triangular_solve(a: Any, b: Any, lower: bool, adjoint: bool) -> Any:
    """Substitution, row by row, from the first or from the last."""
    if adjoint:
        a, lower = tf.linalg.matrix_transpose(a), not lower
    a, b = _broadcast(a, b)
    n = _rows(a)
    index = tf.range(n)

    def step(turn: Any, rest: Any, solution: Any) -> tuple[Any, Any, Any]:
        k = turn if lower else n - 1 - turn
        row = _row(rest, k) / _element(_row(a, k), k)[..., None]
        mask = _one(index, k, a.dtype)[:, None]
        rest = rest - _column(a, k)[..., :, None] * row[..., None, :]
        return turn + 1, rest, solution + mask * row[..., None, :]

    return _loop(n, step, b, tf.zeros_like(b))[1]


def solve(a: Any, b: Any, adjoint: bool = False) -> Any:
    """Gauss and Jordan's elimination, the largest element of a column as its pivot."""
    a, b = _broadcast(tf.linalg.matrix_transpose(a) if adjoint else a, b)
    n = _rows(a)
    index = tf.range(n)

    def step(k: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
        pivot = _pivot(a, index, k)
        a, b = (_exchanged(x, index, k, pivot) for x in (a, b))
        factors = _column(a, k) / _element(_column(a, k), k)[..., None]
        mask = tf.where(index == k, tf.zeros_like(factors), factors)[..., None]
        return k + 1, a - mask * _row(a, k)[..., None, :], b - mask * _row(b, k)[..., None, :]

    a, b = _loop(n, step, a, b)
    return b / _diagonal(a, index)[..., None]


def inverse(a: Any, adjoint: bool = False) -> Any:
    """What solves for the identity."""
    return solve(a, tf.eye(_rows(a), dtype=a.dtype), adjoint)


def determinant(a: Any) -> Any:
    """The product of the pivots of Gauss' elimination, with a sign for each exchange of rows."""
    n = _rows(a)
    index = tf.range(n)

    def step(k: Any, a: Any, total: Any) -> tuple[Any, Any, Any]:
        pivot = _pivot(a, index, k)
        a = _exchanged(a, index, k, pivot)
        value = _element(_column(a, k), k)
        below = tf.where(index > k, _column(a, k) / tf.where(value == 0, tf.ones_like(value), value)[..., None], 0.0)
        total = total * tf.where(pivot[..., 0] == k, value, -value)
        return k + 1, a - below[..., None] * _row(a, k)[..., None, :], total

    return _loop(n, step, a, tf.ones_like(a[..., 0, 0]))[1]


def orthogonal_factors(a: Any, is_full: bool) -> tuple[Any, Any]:
    """Q and R by Householder's reflections, with LAPACK's signs; `is_full` for a square Q."""
    m, n = a.shape[-2], a.shape[-1]
    index = tf.range(m)
    square = tf.zeros_like(a[..., :, :1]) + tf.eye(m, dtype=a.dtype)

    def step(k: Any, r: Any, q: Any) -> tuple[Any, Any, Any]:
        column = tf.where(index < k, tf.zeros([], a.dtype), _column(r, k))
        tail = tf.reduce_sum(tf.where(index > k, column * column, tf.zeros_like(column)), -1)
        first = _element(column, k)
        size = tf.where(first < 0, -1.0, 1.0) * tf.sqrt(first * first + tail)
        v = column + _one(index, k, a.dtype) * size[..., None]
        length = tf.reduce_sum(v * v, -1)
        # LAPACK leaves a column as it is where nothing stands below its diagonal.
        factor = tf.where(tail > 0, 2 / tf.where(length > 0, length, tf.ones_like(length)), tf.zeros_like(length))
        v, scaled = v[..., :, None], factor[..., None, None] * v[..., :, None]
        r = r - scaled * tf.reduce_sum(v * r, -2, keepdims=True)
        q = q - tf.reduce_sum(q * tf.linalg.matrix_transpose(v), -1, keepdims=True) * tf.linalg.matrix_transpose(scaled)
        return k + 1, r, q

    r, q = _loop(min(m, n), step, a, square)
    r = tf.where(index[:, None] > tf.range(n), tf.zeros_like(r), r)
    return (q, r) if is_full else (q[..., :, : min(m, n)], r[..., : min(m, n), :])


def _loop(count: Any, step: Callable[..., Any], *values: Any) -> list[Any]:
    """So many turns; the counter comes first."""
    shapes = [tf.TensorShape([]), *(value.shape for value in values)]
    _, *results = tf.while_loop(lambda k, *_: k < count, step, [tf.constant(0), *values], shape_invariants=shapes)
    return results


def _rows(a: Any) -> Any:
    return a.shape[-1] if a.shape[-1] is not None else tf.shape(a)[-1]


def _one(index: Any, k: Any, dtype: tf.DType) -> Any:
    return tf.cast(index == k, dtype)


def _column(a: Any, k: Any) -> Any:
    return tf.gather(a, k, axis=-1)


def _row(a: Any, k: Any) -> Any:
    return tf.gather(a, k, axis=len(a.shape) - 2)


def _element(x: Any, k: Any) -> Any:
    return tf.gather(x, k, axis=-1)


def _diagonal(a: Any, index: Any) -> Any:
    return tf.reduce_sum(tf.where(index[:, None] == index, a, tf.zeros_like(a)), -1)


def _pivot(a: Any, index: Any, k: Any) -> Any:
    """The row of the largest element of a column, from row `k` on."""
    column = _column(a, k)
    return tf.argmax(tf.where(index < k, -tf.ones_like(column), tf.abs(column)), -1, tf.int32)[..., None]


def _exchanged(x: Any, index: Any, k: Any, pivot: Any) -> Any:
    """Two rows exchanged; which, may differ in each matrix of a batch."""
    chosen = tf.cast(index == pivot, x.dtype)[..., None]
    upper, lower = _row(x, k)[..., None, :], tf.reduce_sum(chosen * x, -2, keepdims=True)
    x = tf.where((index == pivot)[..., None], upper, x)
    return tf.where((index == k)[:, None], lower, x)


def _broadcast(a: Any, b: Any) -> tuple[Any, Any]:
    """Two batches made one."""
    if a.shape[:-2] == b.shape[:-2] and a.shape[:-2].is_fully_defined():
        return a, b
    lead = tf.broadcast_dynamic_shape(tf.shape(a)[:-2], tf.shape(b)[:-2])
    return tuple(tf.broadcast_to(x, tf.concat([lead, tf.shape(x)[-2:]], 0)) for x in (a, b))


_RULES: Mapping[str, Rule] = {
    "Cholesky": lambda operation, a: [cholesky(a)],
    "MatrixTriangularSolve": lambda operation, a, b: [
        triangular_solve(a, b, operation.get_attr("lower"), operation.get_attr("adjoint"))
    ],
    "MatrixSolve": lambda operation, a, b: [solve(a, b, operation.get_attr("adjoint"))],
    "MatrixInverse": lambda operation, a: [inverse(a, operation.get_attr("adjoint"))],
    "MatrixDeterminant": lambda operation, a: [determinant(a)],
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for an operation on matrices of float32, which is what TFLite computes in."""
    if not operation.inputs or operation.inputs[0].dtype != tf.float32:
        return None
    if operation.type == "Qr" and operation.inputs[0].shape[-2:].is_fully_defined():
        return lambda operation, a: list(orthogonal_factors(a, operation.get_attr("full_matrices")))
    return _RULES.get(operation.type)
