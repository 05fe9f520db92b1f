"""New tensors: filled, counted, masked by place.

A call that no input has a part in is folded and never gets here; what matters is what takes a tensor, or a
size that is known only when the model runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.bridge import tf_dtype, torch_dtype
from nobuco.converters.support import cast, elementwise, rank, size, sizes
from nobuco.layout.order import get_channel_order
from nobuco.layout.strategy import ChannelOrderingStrategy
from nobuco.ops.names import F, aten, torch
from nobuco.registry import converter, expression

PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
OUTPUT_IN_PYTORCH_ORDER = ChannelOrderingStrategy.OUTPUT_FORCE_PYTORCH_ORDER


def _dtype(dtype: torch.dtype | None) -> tf.DType:
    return tf_dtype(dtype or torch.get_default_dtype())


def _dtype_of(value: Any) -> tf.DType:
    """The dtype of a tensor that PyTorch makes of Python data or a traced size."""
    if tf.is_tensor(value):
        of_numbers = {tf.int32: tf.int64, tf.float64: _dtype(None)}
        return value.dtype if rank(value) else of_numbers.get(value.dtype, value.dtype)
    if isinstance(value, (list, tuple)):
        kinds = [_dtype_of(v) for v in value]
        return max(kinds, key=[tf.bool, tf.int64, _dtype(None)].index) if kinds else _dtype(None)
    return tf_dtype(torch.as_tensor(value).dtype)


def _filled(shape: Sequence[Any], value: Any, dtype: tf.DType) -> tf.Tensor:
    if isinstance(value, (int, float)):
        value = dtype.as_numpy_dtype(value).item()
    if dtype == tf.float64:  # TFLite repeats their bits alone
        return tf.bitcast(_filled(shape, tf.bitcast(cast(value, dtype), tf.int64), tf.int64), dtype)
    return tf.fill(shape or tf.zeros([0], tf.int32), cast(value, dtype))


# -- of a given size ----------------------------------------------------------------------------------


@expression(torch.zeros, torch.empty, strategy=PYTORCH_ORDER)
def zeros(size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """zeros(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), 0, _dtype(dtype))


@expression(torch.ones, strategy=PYTORCH_ORDER)
def ones(size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """ones(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), 1, _dtype(dtype))


@expression(torch.full, strategy=PYTORCH_ORDER)
def full(size: Sequence[Any], fill_value: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), fill_value, tf_dtype(dtype) if dtype else _dtype_of(fill_value))


@expression(torch.Tensor.new_zeros, torch.Tensor.new_empty, strategy=OUTPUT_IN_PYTORCH_ORDER)
def new_zeros(self: tf.Tensor, size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """new_zeros(Tensor self, SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), 0, tf_dtype(dtype) if dtype else self.dtype)


@expression(torch.Tensor.new_ones, strategy=OUTPUT_IN_PYTORCH_ORDER)
def new_ones(self: tf.Tensor, size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """new_ones(Tensor self, SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), 1, tf_dtype(dtype) if dtype else self.dtype)


@expression(torch.Tensor.new_full, strategy=OUTPUT_IN_PYTORCH_ORDER)
def new_full(
    self: tf.Tensor, size: Sequence[Any], fill_value: Any, *, dtype: torch.dtype | None = None, **_: Any
) -> tf.Tensor:
    """new_full(Tensor self, SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(list(size), fill_value, tf_dtype(dtype) if dtype else self.dtype)


# -- of the size of another ---------------------------------------------------------------------------


@elementwise(torch.zeros_like, torch.empty_like)
def zeros_like(input: tf.Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """zeros_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return tf.zeros_like(input, tf_dtype(dtype) if dtype else input.dtype)


@elementwise(torch.ones_like)
def ones_like(input: tf.Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """ones_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(sizes(input), 1, tf_dtype(dtype) if dtype else input.dtype)


@elementwise(torch.full_like)
def full_like(input: tf.Tensor, fill_value: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _filled(sizes(input), fill_value, tf_dtype(dtype) if dtype else input.dtype)


@elementwise(torch.fill)
def fill(input: tf.Tensor, value: Any) -> tf.Tensor:
    """fill.Scalar(Tensor self, Scalar value) -> Tensor"""
    return _filled(sizes(input), value, input.dtype)


@elementwise(torch.Tensor.zero_)
def zero_(input: tf.Tensor) -> tf.Tensor:
    """zero_(Tensor(a!) self) -> Tensor(a!)"""
    return tf.zeros_like(input)


# -- from data ----------------------------------------------------------------------------------------


@expression(torch.scalar_tensor, strategy=PYTORCH_ORDER)
def scalar_tensor(s: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """scalar_tensor(Scalar s, *, ScalarType? dtype=None, ...) -> Tensor, a float also of an integer"""
    return cast(s, _dtype(dtype))


@expression(torch.tensor, torch.as_tensor, torch.asarray, strategy=PYTORCH_ORDER)
def tensor(data: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """torch.tensor(data, *, dtype=None, ...) -> Tensor, of Python data that may hold sizes or tensors"""
    wanted = tf_dtype(dtype) if dtype else _dtype_of(data)

    def made(value: Any) -> tf.Tensor:
        nested = isinstance(value, (list, tuple)) and value
        return tf.stack([made(v) for v in value]) if nested else cast(value, wanted)

    return made(data)


@expression(torch.Tensor.new_tensor, strategy=PYTORCH_ORDER)
def new_tensor(self: tf.Tensor, data: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """new_tensor(Tensor self, data, *, dtype=None, ...) -> Tensor, of Python data that may hold sizes or tensors"""
    return tensor(data, dtype=dtype or torch_dtype(self.dtype))


@expression(torch.arange, strategy=PYTORCH_ORDER, in_double=True)
def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, ...) -> Tensor"""
    if end is None:
        start, end = 0, start
    natural = max((_dtype_of(v) for v in (start, end, step)), key=lambda d: d.is_floating)
    wanted = tf_dtype(dtype) if dtype else natural
    if natural.is_integer:  # counted in int32, the type of sizes, which TFLite is quicker with
        return cast(tf.range(*(tf.cast(v, tf.int32) for v in (start, end, step))), wanted)
    start, end, step = (cast(v, tf.float64) for v in (start, end, step))
    count = tf.cast(tf.math.ceil((end - start) / step), tf.int32)
    precise = tf.float64 if wanted == tf.float64 else tf.float32
    return cast(cast(start, precise) + tf.cast(tf.range(count), precise) * cast(step, precise), wanted)


@expression(torch.linspace, strategy=PYTORCH_ORDER)
def linspace(start: Any, end: Any, steps: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, ...) -> Tensor"""
    start, end = tf.cast(start, tf.float32), tf.cast(end, tf.float32)
    place = tf.cast(tf.range(steps), tf.float32)
    gaps = tf.maximum(tf.cast(steps, tf.float32) - 1, 1)
    return cast(start + (end - start) * place / gaps, _dtype(dtype))


@expression(torch.eye, strategy=PYTORCH_ORDER)
def eye(n: Any, m: Any = None, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """eye.m(SymInt n, SymInt m, *, ScalarType? dtype=None, ...) -> Tensor"""
    rows, columns = tf.range(n)[:, None], tf.range(n if m is None else m)[None, :]
    return tf.cast(tf.equal(rows, columns), _dtype(dtype))


# -- by place -----------------------------------------------------------------------------------------


def _triangle(x: tf.Tensor, diagonal: Any, lower: bool) -> tf.Tensor:
    """`x` with zeros above (or below) a diagonal of its last two dimensions, whatever order it lies in."""
    rows, columns = size(x, -2), size(x, -1)
    count: Any = np.arange if isinstance(rows, int) and isinstance(columns, int) else tf.range
    offset = count(columns)[None, :] - count(rows)[:, None]
    kept = offset <= diagonal if lower else offset >= diagonal
    logical = [1] * (rank(x) - 2) + [rows, columns]
    order = get_channel_order(x)
    mask = tf.transpose(tf.reshape(kept, logical), order.permutation(rank(x)))
    return tf.where(mask, x, tf.zeros([], x.dtype))


@expression(torch.tril)
def tril(input: tf.Tensor, diagonal: int = 0) -> tf.Tensor:
    """tril(Tensor self, SymInt diagonal=0) -> Tensor"""
    return _triangle(input, diagonal, lower=True)


@expression(torch.triu)
def triu(input: tf.Tensor, diagonal: int = 0) -> tf.Tensor:
    """triu(Tensor self, SymInt diagonal=0) -> Tensor"""
    return _triangle(input, diagonal, lower=False)


def _places(row: Any, col: Any, offset: Any, lower: bool, dtype: torch.dtype) -> tf.Tensor:
    """(2, n): the rows and the columns of the elements of a triangle."""
    along = tf.range(col)[None, :] - tf.range(row)[:, None]
    return cast(tf.transpose(tf.where(along <= offset if lower else along >= offset)), tf_dtype(dtype))


@expression(torch.tril_indices, strategy=PYTORCH_ORDER)
def tril_indices(row: Any, col: Any, offset: Any = 0, *, dtype: torch.dtype = torch.int64, **_: Any) -> tf.Tensor:
    """tril_indices(int row, int col, int offset=0, *, ScalarType? dtype=4, ...) -> Tensor"""
    return _places(row, col, offset, True, dtype)


@expression(torch.triu_indices, strategy=PYTORCH_ORDER)
def triu_indices(row: Any, col: Any, offset: Any = 0, *, dtype: torch.dtype = torch.int64, **_: Any) -> tf.Tensor:
    """triu_indices(int row, int col, int offset=0, *, ScalarType? dtype=4, ...) -> Tensor"""
    return _places(row, col, offset, False, dtype)


@expression(torch.meshgrid, aten.meshgrid.default, aten.meshgrid.indexing, strategy=PYTORCH_ORDER)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[tf.Tensor, ...]:
    """meshgrid.indexing(Tensor[] tensors, *, str indexing) -> Tensor[]"""
    given = list(tensors[0]) if isinstance(tensors[0], (list, tuple)) else list(tensors)
    places = list(range(len(given)))
    if indexing == "xy" and len(given) > 1:
        places[:2] = [1, 0]
    lengths: list[Any] = [1] * len(given)
    for x, place in zip(given, places):
        lengths[place] = sizes(x)[0] if rank(x) else 1

    def spread(x: tf.Tensor, place: int) -> tf.Tensor:
        return tf.broadcast_to(tf.reshape(x, [-1 if a == place else 1 for a in range(len(given))]), lengths)

    return tuple(spread(x, place) for x, place in zip(given, places))


@converter(F.one_hot, channel_ordering_strategy=PYTORCH_ORDER)
def one_hot(tensor: torch.Tensor, num_classes: int = -1) -> Any:
    """one_hot(Tensor self, int num_classes=-1) -> Tensor"""
    # Without a number of classes PyTorch counts those in the data: as many as were seen while tracing.
    counted = int(tensor.max()) + 1 if num_classes == -1 else num_classes

    def func(tensor: Any, num_classes: Any = -1) -> tf.Tensor:
        return tf.one_hot(tensor, num_classes if tf.is_tensor(num_classes) else counted, dtype=tf.int64)

    return func
