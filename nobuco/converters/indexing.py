"""Reading and writing through `x[...]`, in all of NumPy's forms with PyTorch's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.keys import Key, is_full, is_mask, parse, strided
from nobuco.converters.slicing import is_static, takes_nothing
from nobuco.converters.support import agree, cast, laid_out, rank, sizes, static_index
from nobuco.converters.writing import counted, written
from nobuco.ir import Node, Value, leaves, map_leaves
from nobuco.layers.sizes import part
from nobuco.layout import Signature, followed, get_channel_order, set_channel_order
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import PYTORCH, TENSORFLOW, has_order, uniform
from nobuco.ops.names import aten, torch
from nobuco.registry import ChannelUse, expression

# -- reading -----------------------------------------------------------------------------------------------


def _keeps_order(key: Key) -> bool:
    """Whether dimensions stay in their places: no tensor indexes, or just one vector of integers."""
    if not key.tensors:
        return True
    (_, index), *more = key.tensors
    return not more and len(index.shape) == 1 and not is_mask(index) and None not in key.sources


def _reading(node: Node) -> list[Signature]:
    x, key = node.args[0], parse(node.args[1], node.args[0].rank)
    if not _keeps_order(key):
        return [uniform(node, PYTORCH, PYTORCH)]
    found = []
    for order in (TENSORFLOW, PYTORCH) if has_order(x) else (PYTORCH,):
        out = followed(order, x.rank, key.sources)
        if out is not None:
            found.append(Signature((order,) + (PYTORCH,) * (len(node.inputs) - 1), (out,)))
    return found


@expression(torch.Tensor.__getitem__, strategy=_reading, channels=ChannelUse.PARTS)
def getitem(input: tf.Tensor, key: Any) -> tf.Tensor:
    """Tensor.__getitem__(key) -> Tensor"""
    order, parsed = get_channel_order(input), parse(key, rank(input))
    out = followed(order, rank(input), parsed.sources)
    assert out is not None, "the rule offers no such order"
    x = set_channel_order(strided(parsed, input, order, out), out)
    return _taken(x, parsed.tensors) if parsed.tensors else x


def _taken(x: tf.Tensor, tensors: Sequence[tuple[int, Any]]) -> tf.Tensor:
    """The tensors' part of a key: their positions replaced by the dimensions that the indices broadcast to."""
    if len(tensors) == 1 and is_mask(tensors[0][1]):
        position, mask = tensors[0]
        positions = list(range(position, position + max(len(mask.shape), 1)))
        indices = _where(tf.reshape(mask, [-1]))
    else:
        positions, indices = _index_list(x, tensors)
    if len(positions) == 1:
        return tf.gather(x, indices[0], axis=get_channel_order(x).axis(positions[0], rank(x)))
    front, moved = _brought_together(x, positions)
    lies = sizes(moved)
    counts = lies[front : front + len(positions)]
    flat = tf.reshape(moved, [*lies[:front], _product(counts), *lies[front + len(positions) :]])
    return tf.gather(flat, _linear(indices, counts) if len(indices) > 1 else indices[0], axis=front)


def _index_list(x: tf.Tensor, tensors: Sequence[tuple[int, Any]]) -> tuple[list[int], list[Any]]:
    """Positions and integer indices; a mask becomes an index for each dimension that it covers."""
    positions: list[int] = []
    indices: list[Any] = []
    for position, index in tensors:
        if is_mask(index):
            indices += _where(index if len(index.shape) else tf.reshape(index, [1]))
            positions += range(position, position + max(len(index.shape), 1))
            continue
        index = tf.stack(list(index)) if isinstance(index, tuple) else index
        count = sizes(x)[get_channel_order(x).axis(position, rank(x))]
        indices.append(wrapped(static_index(index) if tf.is_tensor(index) else index, count))
        positions.append(position)
    return positions, indices


def _where(mask: Any) -> list[Any]:
    known = tf.get_static_value(mask) if tf.is_tensor(mask) else mask
    if known is not None:
        return list(np.nonzero(known))
    return list(tf.unstack(tf.where(mask), axis=1))


def wrapped(index: Any, count: Any) -> Any:
    """An index without negative entries, and of a type that TensorFlow takes."""
    if isinstance(index, np.ndarray) and isinstance(count, int):
        return np.where(index < 0, index + count, index).astype(np.int32)
    if tf.is_tensor(index) and index.dtype in (tf.uint8, tf.int8, tf.int16):
        index = tf.cast(index, tf.int32)
    if not isinstance(count, int):  # TFLite divides by zero also where there is no index
        count = tf.maximum(count, 1)
    return tf.math.floormod(index, tf.cast(count, index.dtype))


def _brought_together(x: tf.Tensor, positions: Sequence[int]) -> tuple[int, tf.Tensor]:
    """`x` with the indexed dimensions side by side: where they are if they are neighbours, else in front."""
    if list(positions) == list(range(positions[0], positions[0] + len(positions))):
        return positions[0], x
    rest = [i for i in range(rank(x)) if i not in positions]
    return 0, tf.transpose(x, [*positions, *rest])


def _linear(indices: Sequence[Any], counts: Sequence[Any]) -> Any:
    """One index into the dimensions of these sizes, flattened, from an index for each."""
    total: Any = 0
    for index, count in zip(indices, counts):
        if any(tf.is_tensor(v) for v in (total, index, count)):
            total, index, count = (tf.cast(v, tf.int32) for v in (total, index, count))
        total = total * count + index
    return total


def _product(counts: Sequence[Any]) -> Any:
    total: Any = 1
    for count in counts:
        total = total * count
    return total


# -- writing -----------------------------------------------------------------------------------------------


def _writing(node: Node) -> list[Signature]:
    """The tensor keeps its order. A mask of its rank lies like it, a value like the region that it fills."""
    x, raw, value = node.args
    key = parse(raw, x.rank)
    mask = _lone_mask(key)
    if mask is not None and not _is_per_element(value, mask, x.rank):
        same = [uniform(node, TENSORFLOW, TENSORFLOW), uniform(node, PYTORCH, PYTORCH)]
        ranks = {v.rank for v in node.inputs if v.rank}
        return same if len(ranks) == 1 and has_order(x) else same[1:]
    if key.tensors:
        return [uniform(node, PYTORCH, PYTORCH)]
    found = []
    for order in (TENSORFLOW, PYTORCH) if has_order(x) else (PYTORCH,):
        region = followed(order, x.rank, key.sources)
        if region is not None:
            found.append(Signature(_writing_orders(node, order, region, len(key.sources)), (order,)))
    return found


def _writing_orders(node: Node, order: ChannelOrder, region: ChannelOrder, rank: int) -> tuple[ChannelOrder, ...]:
    value = node.args[2]
    lies = region if isinstance(value, Value) and value.rank == rank and has_order(value) else PYTORCH
    between = len(node.inputs) - 1 - isinstance(value, Value)
    return (order, *(PYTORCH,) * between, *(lies,) * isinstance(value, Value))


def _lone_mask(key: Key) -> Any:
    if len(key.tensors) == 1 and key.takes_all and None not in key.sources:
        (position, index), *_ = key.tensors
        return index if position == 0 and is_mask(index) else None
    return None


def _is_per_element(value: Any, mask: Any, out_rank: int) -> bool:
    """Whether each element that a mask selects has a value of its own."""
    shape = tuple(getattr(value, "shape", ()))
    return len(shape) == 1 + out_rank - len(mask.shape) and shape[0] != 1


@expression(torch.Tensor.__setitem__, strategy=_writing, autocast=False)
def setitem(input: tf.Tensor, key: Any, value: Any) -> tf.Tensor:
    """Tensor.__setitem__(key, value); returns the tensor with the value written into it."""
    order, parsed = get_channel_order(input), parse(key, rank(input))
    lies = get_channel_order(value) if tf.is_tensor(value) else PYTORCH
    value = set_channel_order(cast(value, input.dtype), lies)
    mask = _lone_mask(parsed)
    if mask is not None and not _is_per_element(value, mask, rank(input)):
        return tf.where(_trailing_units(mask, rank(input)), _dropped_lead(value, rank(input), mask), input)
    if parsed.tensors:
        return scattered(input, key, value)
    region = followed(order, rank(input), parsed.sources)
    assert region is not None, "the rule offers no such order"
    return _region_written(input, order.to_physical(parsed.basic), _as_region(value, parsed, order, region))


def _trailing_units(mask: Any, out_rank: int) -> Any:
    missing = out_rank - len(mask.shape)
    return tf.reshape(mask, [*sizes(tf.convert_to_tensor(mask)), *[1] * missing]) if missing else mask


def _dropped_lead(value: tf.Tensor, out_rank: int, mask: Any) -> tf.Tensor:
    """A value for all selected elements alike, without the dimension of size one that stands for them."""
    has_lead = rank(value) == 1 + out_rank - len(mask.shape)
    return tf.reshape(value, sizes(value)[1:]) if has_lead else value


def _as_region(value: tf.Tensor, key: Key, order: ChannelOrder, region: ChannelOrder) -> tf.Tensor:
    """A value that broadcasts to what the key selects, with the axes of the whole tensor as it lies."""
    if rank(value) == 0:
        return value
    out_rank = len(key.sources)
    surplus = rank(value) - out_rank
    lies = sizes(value)[surplus:] if surplus > 0 else [1] * -surplus + sizes(value)
    if surplus or get_channel_order(value) is not region:
        value = tf.reshape(value, lies) if surplus else value
        value = laid_out(set_channel_order(value, PYTORCH), region)
    by_dim = dict(zip((key.sources[d] for d in region.permutation(out_rank)), sizes(value)))
    full = [by_dim.get(dim, 1) for dim in order.permutation(len(key.basic))]
    return value if agree(value.shape.as_list(), full) else tf.reshape(value, full)


def _region_written(x: tf.Tensor, spec: Sequence[Any], value: tf.Tensor) -> tf.Tensor:
    """`x` with `value` at `spec`, an int or slice for each axis.

    A plain slice is cut out, written to where more axes have a part in it, and put back. Else the value is spread over
    the whole tensor and selected: a padding for all axes with step one, a gather for each other, and a mask.
    """
    if any(isinstance(entry, slice) and takes_nothing(entry) for entry in spec):
        return tf.identity(x)
    lies = sizes(x)
    spans = {i: _span(e, n) for i, (e, n) in enumerate(zip(spec, lies)) if not _covers_all(e, n)}
    if not spans:
        return tf.broadcast_to(value, lies)
    if any(isinstance(n, int) and isinstance(m, int) and n >= m for n, m, _ in spans.values()):
        return tf.identity(x)
    along = _to_cut(spans, lies)
    if along is not None and (len(spans) > 1 or rank(value)):
        start, stop, _ = spans[along]
        if len(spans) > 1:
            inner = [slice(None) if i == along else entry for i, entry in enumerate(spec)]
            value = _region_written(part(x, along, start, stop), inner, value)
        return _replaced(x, value, along, start, stop)
    mask = None
    padding = [(0, 0)] * rank(x)
    for i, (start, stop, step) in spans.items():
        places, inside = _places(lies[i], start, stop, step)
        shape = [-1 if j == i else 1 for j in range(rank(x))]
        own = inside.reshape(shape) if isinstance(inside, np.ndarray) else tf.reshape(inside, shape)
        mask = own if mask is None else mask & own
        if rank(value) and value.shape[i] != 1:
            if step == 1 and isinstance(places, np.ndarray) and value.shape[i] is not None:
                padding[i] = (start, lies[i] - stop)
            else:
                if value.shape[i] is None:  # it may be one that is written everywhere
                    places = tf.maximum(tf.minimum(places, sizes(value)[i] - 1), 0)
                if tf.is_tensor(places):  # what is written may be nothing, of which nothing could be gathered
                    value = tf.pad(value, [(0, int(j == i)) for j in range(rank(value))])
                value = tf.gather(value, places, axis=i)
    if any(sum(p) for p in padding):
        value = tf.pad(value, padding)
    return tf.where(mask, value, x)


def _to_cut(spans: Mapping[int, tuple[Any, Any, Any]], lies: Sequence[Any]) -> int | None:
    """The outermost axis of a region that a plain slice of known size is taken of; None if there is none.

    Not the innermost one beside others: joining runs of so few elements is slower than selecting.
    """
    plain = (i for i, span in spans.items() if span[2] == 1 and all(isinstance(n, int) for n in (*span, lies[i])))
    return next((i for i in plain if len(spans) == 1 or i < len(lies) - 1), None)


def _covers_all(entry: Any, total: Any) -> bool:
    if is_full(entry):
        return True
    return (
        isinstance(entry, slice)
        and isinstance(total, int)
        and is_static(entry)
        and (entry.indices(total) == (0, total, 1))
    )


def _span(entry: Any, total: Any) -> tuple[Any, Any, Any]:
    """Start, stop and step within an axis; stop is where the last element ends."""
    if not isinstance(entry, slice):
        start = tf.cast(entry, tf.int32) if tf.is_tensor(entry) else entry
        if not isinstance(start, int) or start < 0:
            start = start % total
        return start, start + 1, 1
    if isinstance(total, int) and is_static(entry):
        return entry.indices(total)

    def bound(n: Any, default: Any) -> Any:
        if n is None:
            return default
        n = tf.cast(n, tf.int32)
        return tf.clip_by_value(tf.where(n < 0, n + total, n), 0, total)

    return bound(entry.start, 0), bound(entry.stop, total), entry.step or 1


def _places(total: Any, start: Any, stop: Any, step: Any) -> tuple[Any, Any]:
    """For each element of an axis, which of the region's it is (the nearest, outside), and whether it is one."""
    if all(isinstance(n, int) for n in (total, start, stop, step)):
        away = np.arange(total) - start
        inside = (away >= 0) & (np.arange(total) < stop) & (away % step == 0)
        count = max(len(range(start, stop, step)), 1)
        return np.clip(away // step, 0, count - 1).astype(np.int32), inside
    away = tf.range(total) - start
    inside = (away >= 0) & (tf.range(total) < stop) & (away % step == 0)
    count = tf.maximum((stop - start + step - 1) // step, 1)
    return tf.clip_by_value(away // step, 0, count - 1), inside


def _replaced(x: tf.Tensor, value: tf.Tensor, along: int, start: int, stop: int) -> tf.Tensor:
    """`x` with `x[start:stop]` along one axis cut out and a value put there."""
    lies = sizes(x)
    target = [stop - start if i == along else n for i, n in enumerate(lies)]
    if value.shape.as_list() != x.shape.as_list()[:along] + [stop - start] + x.shape.as_list()[along + 1 :]:
        value = tf.broadcast_to(value, target)

    before = [part(x, along, None, start)] if start > 0 else []
    behind = [part(x, along, stop, None)] if stop < lies[along] else []
    return tf.concat([*before, value, *behind], along)


def scattered(x: tf.Tensor, key: Any, value: Any, accumulate: bool = False) -> tf.Tensor:
    """`x` with a value at any key: the same key, applied to the elements' own numbers, tells where it goes."""
    if accumulate and x.dtype == tf.bool:
        return cast(scattered(cast(x, tf.int32), key, value, True), tf.bool)
    lies = sizes(x)
    key = map_leaves(lambda leaf: static_index(leaf) if tf.is_tensor(leaf) else leaf, key)
    known = not any(tf.is_tensor(leaf) for leaf in leaves(key))
    places = counted(lies, lambda numbers: getitem(set_channel_order(numbers, PYTORCH), key), known)
    value = cast(value, x.dtype)
    surplus = rank(value) - rank(places)
    if surplus > 0:
        value = tf.reshape(value, sizes(value)[surplus:])
    value = tf.broadcast_to(value, places.shape if isinstance(places, np.ndarray) else sizes(places))
    flat, value = tf.reshape(x, [-1]), tf.reshape(value, [-1])
    places = places.reshape(-1) if isinstance(places, np.ndarray) else tf.reshape(places, [-1])
    if accumulate:
        return tf.reshape(tf.tensor_scatter_nd_add(flat, places[:, np.newaxis], value), lies)
    return tf.reshape(written(flat, places, value), lies)


def _all_pytorch(node: Node) -> list[Signature]:
    return [uniform(node, PYTORCH, PYTORCH)]


@expression(torch.index_put, aten._unsafe_index_put.default, strategy=_all_pytorch)
def index_put(input: tf.Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False) -> tf.Tensor:
    """index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor"""
    key = tuple(slice(None) if index is None else index for index in indices)
    return scattered(input, key, values, accumulate)
