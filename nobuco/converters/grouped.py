"""Products of matrices by groups, as experts of a mixture multiply the tokens that were sent to each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nobuco.converters.support import rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import F, torch
from nobuco.registry import expression


@expression("aten::_grouped_mm", torch._grouped_mm, F.grouped_mm, strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
def grouped_mm(
    input: tf.Tensor, mat2: tf.Tensor, offs: tf.Tensor | None = None, bias: Any = None, out_dtype: Any = None,
    **kwargs: Any,
) -> tf.Tensor:  # fmt: skip
    """_grouped_mm(Tensor self, Tensor mat2, Tensor? offs=None, Tensor? bias=None, ScalarType? out_dtype=None) -> Tensor

    `offs` says where each group ends: of the rows of a matrix before matrices (n, k) @ (g, k, m), of the columns of
    one behind them, or of the dimension that is summed over where both are one matrix, (n, k) @ (k, m) -> (g, n, m).
    """
    if offs is None:
        return tf.matmul(input, mat2)
    if rank(input) == rank(mat2):
        members = _members(offs, sizes(input)[1])[:, tf.newaxis]
        return tf.matmul(tf.where(members, input[tf.newaxis], tf.zeros([], input.dtype)), mat2)
    if rank(input) == 3:
        return tf.transpose(_rows_by_group(tf.transpose(mat2), tf.transpose(input, (0, 2, 1)), offs))
    return _rows_by_group(input, mat2, offs)


def _rows_by_group(rows: tf.Tensor, matrices: tf.Tensor, offs: tf.Tensor) -> tf.Tensor:
    """Each row times the matrix of its group; what lies behind the last group is unset in PyTorch."""
    count, groups = sizes(rows)[0], sizes(matrices)[0]
    if isinstance(count, int) and isinstance(groups, int) and count <= groups:
        ended = tf.cast(tf.range(count)[:, tf.newaxis] >= tf.cast(offs, tf.int32), tf.int32)
        own = tf.gather(matrices, tf.minimum(tf.reduce_sum(ended, 1), groups - 1))
        return tf.squeeze(tf.matmul(rows[:, tf.newaxis], own), 1)
    # Sizes that depend on values, one product of each group's own rows, would cost TFLite its static plan.
    members = _members(offs, count)[..., tf.newaxis]
    products = tf.matmul(rows[tf.newaxis], matrices)
    return tf.reduce_sum(tf.where(members, products, tf.zeros([], products.dtype)), 0)


def _members(offs: tf.Tensor, count: Any) -> tf.Tensor:
    """Which elements each group has, as booleans (groups, elements)."""
    ends = tf.cast(offs, tf.int32)[:, tf.newaxis]
    starts = tf.pad(ends[:-1], [[1, 0], [0, 0]])
    places = tf.range(count)[tf.newaxis]
    return (starts <= places) & (places < ends)
