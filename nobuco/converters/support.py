"""What converters share: axes under a channel order, shapes, dtype promotion, broadcasting.

Each rule is written here once. Inside a converter's callable every tensor knows its channel order
(`get_channel_order`), dimensions in arguments are PyTorch's, and `axis` and its friends translate.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.bridge import tf_dtype, torch_dtype
from nobuco.ir import Node, values
from nobuco.layers.sizes import sizes
from nobuco.layout.order import ChannelOrder, get_channel_order, set_channel_order
from nobuco.layout.strategy import broadcasting
from nobuco.ops.names import torch
from nobuco.registry import ChannelUse, Converter, Named, registry


def rank(x: Any) -> int:
    """Number of dimensions."""
    return len(x.shape)


def axis(x: tf.Tensor, dim: int) -> int:
    """The axis of `x` that holds PyTorch's dimension `dim`, which may be negative."""
    return get_channel_order(x).axis(dim, rank(x))


def axes(x: tf.Tensor, dims: int | Iterable[int] | None) -> list[int]:
    """The axes of `x` that hold these dimensions; all of them for None or an empty list, as in PyTorch.

    PyTorch lets a tensor without dimensions pass for a vector; it has no axis.
    """
    if not rank(x):
        return []
    if isinstance(dims, int):
        return [axis(x, dims)]
    return [axis(x, dim) for dim in (list(dims) if dims is not None else []) or range(rank(x))]


def scalar_as_vector(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function of a tensor and a dimension see a tensor without dimensions as a vector, as PyTorch does."""

    @functools.wraps(function)
    def call(input: tf.Tensor, *args: Any, **kwargs: Any) -> Any:
        if rank(input):
            return function(input, *args, **kwargs)
        results = function(tf.reshape(input, [1]), *args, **kwargs)
        return tf.nest.map_structure(lambda x: tf.reshape(x, []), results)

    return call


def size(x: tf.Tensor, dim: int) -> Any:
    """The size of PyTorch's dimension `dim`: an int where static, a scalar int32 tensor where dynamic."""
    return sizes(x)[axis(x, dim)]


def agree(sizes: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists of sizes are known to be equal; dynamic sizes are so only if they are one tensor."""
    return len(sizes) == len(others) and all(
        n is m or (isinstance(n, int) and isinstance(m, int) and n == m) for n, m in zip(sizes, others)
    )


def smallest(*sizes: Any) -> Any:
    """The smallest of several sizes: an int where all are static."""
    return min(sizes) if all(isinstance(n, int) for n in sizes) else functools.reduce(tf.minimum, sizes)


def laid_out(x: tf.Tensor, order: ChannelOrder) -> tf.Tensor:
    """`x`, transposed into `order` where it is not yet."""
    before = get_channel_order(x)
    if before is order or rank(x) < 3:
        return x
    return set_channel_order(tf.transpose(x, before.transposition_to(order, rank(x))), order)


def result_dtype(*operands: Any) -> tf.DType:
    """The dtype that PyTorch computes in for these tensors and numbers (`torch.result_type` for any count).

    Tensors with dimensions outrank those without, which outrank Python numbers, within one kind of dtype.
    """
    with_dims = [torch_dtype(x.dtype) for x in operands if tf.is_tensor(x) and rank(x)]
    without = [torch_dtype(x.dtype) for x in operands if tf.is_tensor(x) and not rank(x)]
    numbers = [x for x in operands if isinstance(x, (bool, int, float, complex))]
    stand_ins: list[Any] = []
    if with_dims:
        stand_ins.append(torch.empty(1, dtype=functools.reduce(torch.promote_types, with_dims)))
    if without:
        stand_ins.append(torch.empty((), dtype=functools.reduce(torch.promote_types, without)))
    if numbers:
        stand_ins.append(max(numbers, key=_kind))
    dtype = torch.result_type(stand_ins[0], stand_ins[0])
    carrier = stand_ins[0]
    for stand_in in stand_ins[1:]:
        dtype = torch.result_type(carrier, stand_in)
        carrier = torch.empty(getattr(carrier, "shape", ()), dtype=dtype)
    return tf_dtype(dtype)


def _kind(number: Any) -> int:
    """The rank of a Python number among the kinds of dtype: bool, int, float, complex."""
    return 0 if isinstance(number, bool) else 1 if isinstance(number, int) else 2 if isinstance(number, float) else 3


def promoted(*operands: Any, to_float: bool = False) -> list[tf.Tensor]:
    """Tensors and numbers as tensors of the dtype that PyTorch computes in; `to_float` lifts integers to float32."""
    dtype = result_dtype(*operands)
    if to_float and not (dtype.is_floating or dtype.is_complex):
        dtype = tf_dtype(torch.get_default_dtype())
    return [cast(x, dtype) for x in operands]


def cast(x: Any, dtype: tf.DType) -> tf.Tensor:
    """`x` in `dtype`, its channel order kept; a number becomes a scalar tensor."""
    if not tf.is_tensor(x):
        # Through NumPy, which rounds 0.6 to an integer as PyTorch does, and to bool, and counts 300 as 44 in uint8.
        return tf.constant(np.asarray(x).astype(dtype.as_numpy_dtype) if isinstance(x, (int, float)) else x, dtype)
    return x if x.dtype == dtype else set_channel_order(tf.cast(x, dtype), get_channel_order(x))


def as_summed(x: tf.Tensor, dtype: torch.dtype | None) -> tf.Tensor:
    """`x` in the dtype that PyTorch sums it in: the one asked for, or int64 for truth values and integers."""
    if dtype is not None:
        return cast(x, tf_dtype(dtype))
    return cast(x, tf.int64) if x.dtype.is_integer or x.dtype == tf.bool else x


def static_index(index: tf.Tensor) -> Any:
    """An index as an array where its values are known before the model runs."""
    value = tf.get_static_value(index)
    return index if value is None else value


def squared(x: tf.Tensor) -> tf.Tensor:
    """A product of two equals. TFLite takes a division by the root of summed `tf.square`s for one along the last axis.

    So `x / x.norm()` of a matrix would be wrong in the file, and nothing for zeros, whose quotient is NaN.
    """
    return x * x


def wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function compute in float32 where its first tensor has 16 bits, and give back its dtype.

    For what TensorFlow has for 32 bits and more only, or rounds at steps between which PyTorch does not.
    """

    @functools.wraps(function)
    def call(first: tf.Tensor, *args: Any, **kwargs: Any) -> Any:
        if first.dtype not in (tf.float16, tf.bfloat16):
            return function(first, *args, **kwargs)

        def in_dtype(dtype: tf.DType) -> Callable[[Any], Any]:
            return lambda x: cast(x, dtype) if tf.is_tensor(x) and x.dtype.is_floating else x

        args, kwargs = tf.nest.map_structure(in_dtype(tf.float32), (args, kwargs))
        return tf.nest.map_structure(in_dtype(first.dtype), function(cast(first, tf.float32), *args, **kwargs))

    return call


def aligned(*tensors: Any) -> list[Any]:
    """Tensors that broadcast in PyTorch, made to broadcast as they lie; numbers and scalars pass.

    The tensor of highest rank gives the order. Others of that rank are expected in it (the `broadcasting` rule
    sees to that); one of lower rank gets leading axes and is laid out like the rest.
    """
    full = max((x for x in tensors if tf.is_tensor(x)), key=rank)
    order, out_rank = get_channel_order(full), rank(full)

    def align(x: Any) -> Any:
        if not tf.is_tensor(x) or rank(x) in (0, out_rank) or order is ChannelOrder.PYTORCH:
            return x
        lifted = tf.reshape(x, [1] * (out_rank - rank(x)) + sizes(x))
        return laid_out(set_channel_order(lifted, ChannelOrder.PYTORCH), order)

    return [align(x) for x in tensors]


def alike(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Both in the shape that they broadcast to, for operations that do not broadcast."""
    if a.shape.is_fully_defined() and a.shape == b.shape:
        return a, b
    shape: Any = tf.broadcast_static_shape(a.shape, b.shape)
    if not shape.is_fully_defined():
        shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
    order = get_channel_order(a if rank(a) >= rank(b) else b)
    first, second = (set_channel_order(tf.broadcast_to(x, shape), order) for x in (a, b))
    return first, second


def elementwise(
    *operations: Named, operands: int = 1, to_float: bool = False, promote: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a TensorFlow expression that works element by element, with broadcasting and promotion.

    The first `operands` parameters are aligned and (with `promote`) brought to the dtype that PyTorch computes
    in, numbers among them made tensors; the rest pass as they are.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            names = [name for i, name in enumerate(parameters[:operands]) if i < len(args) or name in kwargs]
            given = [args[i] if i < len(args) else kwargs.pop(name) for i, name in enumerate(names)]
            if any(tf.is_tensor(x) for x in given):
                given = aligned(*(promoted(*given, to_float=to_float) if promote else given))
            by_place = len(args[:operands])
            by_name = dict(zip(names[by_place:], given[by_place:]))
            return function(*given[:by_place], *args[operands:], **by_name, **kwargs)

        parameters = list(inspect.signature(function).parameters)

        def channels(node: Node) -> ChannelUse | None:
            named = {name: value for name, value in node.kwargs.items() if name in parameters[:operands]}
            aligned = values((node.args[:operands], named))
            return ChannelUse.EACH if set(node.inputs) <= set(aligned) else None

        make = lambda *args, **kwargs: call  # noqa: E731
        registry.add(Converter(operations, function, make, broadcasting, autocast=False, channels=channels))
        return function

    return register


def pair(value: int | Sequence[int], n: int) -> tuple[Any, ...]:
    """A number for each of `n` spatial dimensions, from one number or a sequence (a sequence of one repeats)."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values * n if len(values) == 1 else values
