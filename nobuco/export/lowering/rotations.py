"""Eigenvalues and singular values of small matrices, by the rotations of C. G. J. Jacobi (1846) and M. Hestenes (1958).

Each turn makes two columns orthogonal; after some sweeps over all pairs of columns all are, to float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.matrices import orthogonal_factors
from nobuco.export.lowering.operation import Rule

_SWEEPS = 10


def eigenvalues(a: Any) -> tuple[Any, Any]:
    """Those of symmetric matrices (the lower half counts) in ascending order, and the vectors as columns."""
    index = tf.range(a.shape[-1])
    a = tf.where(index[:, None] >= index, a, tf.linalg.matrix_transpose(a))

    def step(p: Any, q: Any, a: Any, vectors: Any) -> tuple[Any, Any]:
        turn = _rotation(_at(a, p, p), _at(a, q, q), _at(a, p, q))
        a = _rotated(tf.linalg.matrix_transpose(_rotated(a, p, q, turn)), p, q, turn)
        return a, _rotated(vectors, p, q, turn)

    a, vectors = _sweeps(a.shape[-1], step, a, _identity(a))
    return _sorted(tf.reduce_sum(a * _identity(a), -1), vectors)


def singular_values(a: Any) -> tuple[Any, Any, Any]:
    """Singular values in descending order, and as many left and right vectors as columns.

    Of a singular value of zero the left vector is zero.
    """
    if a.shape[-2] < a.shape[-1]:
        values, right, left = singular_values(tf.linalg.matrix_transpose(a))
        return values, left, right

    def step(p: Any, q: Any, a: Any, vectors: Any) -> tuple[Any, Any]:
        x, y = (tf.gather(a, place, axis=-1) for place in (p, q))
        turn = _rotation(*(tf.reduce_sum(u * v, -1) for u, v in ((x, x), (y, y), (x, y))))
        return _rotated(a, p, q, turn), _rotated(vectors, p, q, turn)

    a, vectors = _sweeps(a.shape[-1], step, a, _identity(a))
    values, columns = _sorted(-tf.sqrt(tf.reduce_sum(a * a, -2)), tf.concat([a, vectors], -2))
    size = -values[..., None, :]
    left = columns[..., : a.shape[-2], :] / tf.where(size > 0, size, tf.ones_like(size))
    return -values, left, columns[..., a.shape[-2] :, :]


def whole_singular_values(a: Any) -> tuple[Any, Any, Any]:
    """The same with square matrices of vectors."""
    values, left, right = singular_values(a)
    return values, _completed(left), _completed(right)


def _completed(vectors: Any) -> Any:
    """Orthogonal columns, with others for those of zeros and for those that a square matrix has more."""
    others, _ = orthogonal_factors(vectors, True)
    missing = tf.zeros_like(others[..., vectors.shape[-1] :])
    vectors = tf.concat([vectors, missing], -1)
    return tf.where(tf.reduce_sum(vectors * vectors, -2, keepdims=True) > 0.5, vectors, others)


def _rotation(pp: Any, qq: Any, pq: Any) -> tuple[Any, Any]:
    """The cosine and sine of the smaller angle that makes `pq` zero."""
    is_zero = tf.equal(pq, 0)
    theta = (qq - pp) / (2 * tf.where(is_zero, tf.ones_like(pq), pq))
    size = tf.abs(theta)
    t = tf.where(theta < 0, -1.0, 1.0) / (size + tf.sqrt(1 + size * size))
    t = tf.where(is_zero, tf.zeros_like(t), t)
    cosine = 1 / tf.sqrt(1 + t * t)
    return cosine[..., None], (t * cosine)[..., None]


def _rotated(a: Any, p: Any, q: Any, turn: tuple[Any, Any]) -> Any:
    """Two columns of a matrix, mixed."""
    (cosine, sine), index = turn, tf.range(a.shape[-1])
    x, y = (tf.gather(a, place, axis=-1) for place in (p, q))
    at_p, at_q = (new[..., None] for new in (cosine * x - sine * y, sine * x + cosine * y))
    return tf.where(index == p, at_p, tf.where(index == q, at_q, a))


def _sweeps(n: int, step: Callable[..., Any], *values: Any) -> Any:
    pairs = list(itertools.combinations(range(n), 2))
    if not pairs:
        return values
    first, second = (tf.constant([pair[side] for pair in pairs]) for side in range(2))

    def turn(k: Any, *values: Any) -> tuple[Any, ...]:
        place = k % len(pairs)
        return k + 1, *step(tf.gather(first, place), tf.gather(second, place), *values)

    shapes = [tf.TensorShape([]), *(value.shape for value in values)]
    start = [tf.constant(0), *values]
    _, *results = tf.while_loop(lambda k, *_: k < _SWEEPS * len(pairs), turn, start, shape_invariants=shapes)
    return results


def _identity(a: Any) -> Any:
    """For each matrix of a batch."""
    n = a.shape[-1]
    return tf.zeros_like(a[..., :1, :]) + tf.eye(n, dtype=a.dtype)


def _at(a: Any, row: Any, column: Any) -> Any:
    return tf.gather(tf.gather(a, column, axis=-1), row, axis=-1)


def _sorted(values: Any, columns: Any) -> tuple[Any, Any]:
    """Values in ascending order, and the columns that belong to them."""
    descending, order = tf.math.top_k(-values, values.shape[-1])
    places = tf.cast(order[..., :, None] == tf.range(values.shape[-1]), columns.dtype)
    return -descending, tf.matmul(columns, places, transpose_b=True)


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a decomposition of matrices of float32 and known size."""
    if operation.type not in ("SelfAdjointEigV2", "Svd") or operation.inputs[0].dtype != tf.float32:
        return None
    rows, columns = operation.inputs[0].shape[-2:]
    if rows is None or columns is None:
        return None
    if operation.type == "SelfAdjointEigV2":
        return lambda operation, a: list(eigenvalues(a))
    is_whole = operation.get_attr("compute_uv") and operation.get_attr("full_matrices")
    return lambda operation, a: list((whole_singular_values if is_whole else singular_values)(a))
