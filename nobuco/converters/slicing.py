"""`x[...]` of numbers and slices, in the operations that TFLite runs fast.

XNNPACK takes a slice without steps that drops no axis; TFLite's own kernel of the others goes element by element, which
is up to forty times slower. So a number takes a slice of one, whose axis a reshape then drops; a step on an outer axis
is a slice of blocks (rows 0, 2, 4 of six are the first halves of three blocks of two); and of a step on the innermost
axis, whose pieces would be single elements, a transposition makes pieces that lie together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import tensorflow as tf

FULL = slice(None)
# Where one of more than so many elements is wanted, a transposition moves more than the pieces are worth.
_MOST_TRANSPOSED = 4
# Fewer elements are taken one by one sooner than three operations begin.
_FEWEST_OF_BLOCKS = 1024
# So many parts, of one element of the innermost axis each, are sooner cut from rows than made at once.
_MOST_ROWS = 8


def sliced(x: tf.Tensor, spec: Sequence[Any]) -> tf.Tensor:
    """`x[spec]`, with a number, a slice or None (a new axis) for each axis, in any runtime."""
    entries = [_normal(entry) for entry in spec if entry is not None]
    if any(tf.is_tensor(entry) for entry in entries):  # where it lies only the running model knows
        return x[tuple(_normal(entry) for entry in spec)]
    numbers = [i for i, entry in enumerate(entries) if not isinstance(entry, slice)]
    taken = _cut(x, [entry if isinstance(entry, slice) else _one(entry) for entry in entries])
    new = [i for i, entry in enumerate(e for e in spec if e is None or isinstance(e, slice)) if entry is None]
    return _with_axes(taken, numbers, new, safe=all(x.shape[i] is not None for i in numbers))


def unstacked(x: tf.Tensor, axis: int) -> list[tf.Tensor]:
    """`tf.unstack`; along the innermost axis a transposition makes rows of what are single elements."""
    count, lies = x.shape[axis], x.shape[:axis].as_list()
    if axis != len(x.shape) - 1 or not _is_large(x.shape) or not 1 < count <= _MOST_ROWS:
        return tf.unstack(x, axis=axis)
    rows = tf.transpose(tf.reshape(x, [-1, count]))
    return [tf.reshape(rows[i : i + 1], [-1 if n is None else n for n in lies]) for i in range(count)]


def stacked(tensors: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """`tf.stack`; along a new innermost axis rows are joined, and transposed."""
    lies = tensors[0].shape
    if axis != len(lies) or not _is_large(lies) or any(x.shape != lies for x in tensors) or len(tensors) == 1:
        return tf.stack(tensors, axis)
    rows = tf.concat([tf.reshape(x, [1, -1]) for x in tensors], 0)
    return tf.reshape(tf.transpose(rows), [*(-1 if n is None else n for n in lies), len(tensors)])


def _is_large(shape: tf.TensorShape) -> bool:
    """Whether all sizes but one at most are known, and there are so many elements that their form matters."""
    known = [n for n in shape if n is not None]
    return len(shape) - len(known) <= 1 and prod(known) >= _FEWEST_OF_BLOCKS


def takes_nothing(entry: slice) -> bool:
    """Whether a slice is empty at any size, so also where TensorFlow does not know the size."""
    if not is_static(entry):
        return False
    start, stop = entry.start or 0, entry.stop
    if stop is None or (entry.step or 1) < 0:
        return False
    return stop == 0 or ((start < 0) == (stop < 0) and stop <= start)


def _normal(entry: Any) -> Any:
    """Index tensors of other integer types as int32, which TFLite's slices want."""

    def number(n: Any) -> Any:
        return tf.cast(n, tf.int32) if tf.is_tensor(n) else n

    if isinstance(entry, slice):
        return slice(number(entry.start), number(entry.stop), number(entry.step))
    return entry if entry is None else number(entry)


def is_static(entry: slice) -> bool:
    """Whether a slice has numbers only."""
    return all(n is None or isinstance(n, int) for n in (entry.start, entry.stop, entry.step))


def _one(index: int) -> slice:
    return slice(index, index + 1 or None)


def _with_axes(x: tf.Tensor, dropped: Sequence[int], new: Sequence[int], safe: bool) -> tf.Tensor:
    """`x` without some axes of one element, and then with new ones; `safe`: that they are of one is known."""
    shape = [n for i, n in enumerate(x.shape) if i not in dropped]
    for i in new:
        shape.insert(i, 1)
    if len(shape) == len(x.shape) and not new:
        return x
    if safe and shape.count(None) <= (0 not in shape):
        return tf.reshape(x, [-1 if n is None else n for n in shape])
    x = tf.squeeze(x, list(dropped)) if dropped else x
    for i in new:
        x = tf.expand_dims(x, i)
    return x


def _cut(x: tf.Tensor, entries: Sequence[slice]) -> tf.Tensor:
    """`x[entries]`, a slice for each axis."""
    entries = [_simplest(entry, n) for entry, n in zip(entries, x.shape)]
    blocks = _blocks(x, entries)
    if blocks:
        return _one_of_each(_cut(x, [blocks[i].whole if i in blocks else e for i, e in enumerate(entries)]), blocks)
    if all(entry == FULL for entry in entries):
        return x
    taken = x[tuple(entries)]
    if taken.shape.rank is None:  # TensorFlow gives up on the whole shape where it does not know a step
        taken.set_shape([None] * len(entries))
    return taken if taken.shape.is_fully_defined() else _nothing_taken(x, entries, taken)


def _simplest(entry: slice, size: int | None) -> slice:
    """`:` for all of an axis, and no step where there is no second element."""
    if size is None or not is_static(entry):
        return entry
    places = range(*entry.indices(size))
    if len(places) == size:
        return FULL
    return slice(places.start, places.start + 1) if len(places) == 1 else entry


def _length(entry: slice, size: int | None) -> int | None:
    return None if size is None else len(range(*entry.indices(size)))


def _nothing_taken(x: tf.Tensor, entries: Sequence[slice], taken: tf.Tensor) -> tf.Tensor:
    """What is `taken`, where that is nothing of an axis: XNNPACK's kernel takes `:0` for all of it."""
    empty = [size == 0 or takes_nothing(entry) for entry, size in zip(entries, taken.shape)]
    if not any(empty):
        return taken
    others = [FULL if nothing else entry for entry, nothing in zip(entries, empty)]
    rest = x if all(entry == FULL for entry in others) else x[tuple(others)]
    return tf.slice(rest, [0] * len(empty), [0 if nothing else -1 for nothing in empty])


@dataclass(frozen=True)
class _Blocks:
    """A slice with a step as blocks of `step` elements, `whole` all of them together, `count` in number.

    `at` is the place in each block of the element that is wanted.
    """

    whole: slice
    count: int
    step: int
    at: int


def _blocks(x: tf.Tensor, entries: Sequence[slice]) -> dict[int, _Blocks]:
    """By axis, slices with steps whose blocks fit into the axis; only where all sizes but the first are known."""
    if not all(is_static(entry) for entry in entries) or any(takes_nothing(entry) for entry in entries):
        return {}
    lengths = [_length(entry, n) for entry, n in zip(entries, x.shape)]
    if None in lengths[1:] or prod(1 if n is None else n for n in lengths) < _FEWEST_OF_BLOCKS:
        return {}
    found = {}
    for i, (entry, size) in enumerate(zip(entries, x.shape)):
        places = range(*entry.indices(size)) if size is not None and (entry.step or 1) > 1 else range(0)
        length = len(places) * places.step
        if places and length <= size:
            begin = min(places.start, size - length)
            found[i] = _Blocks(slice(begin, begin + length), len(places), places.step, places.start - begin)
    return found


def _one_of_each(x: tf.Tensor, blocks: Mapping[int, _Blocks]) -> tf.Tensor:
    """One element of each block that these axes consist of.

    The tensor is seen as a matrix, or more: what is ahead of the first axis of blocks, and they; then what is in such a
    block, up to the blocks of the next axis; and so on.
    """
    sizes = [blocks[i].count if i in blocks else n for i, n in enumerate(x.shape)]
    shape, parts = [-1], [FULL]
    for axis, following in pairwise([*sorted(blocks), len(sizes)]):
        inside = prod(sizes[axis + 1 : following + 1])
        shape.append(blocks[axis].step * inside)
        parts.append(slice(blocks[axis].at * inside, (blocks[axis].at + 1) * inside))
    x = tf.reshape(x, shape)
    last = blocks.get(len(sizes) - 1)
    if last is not None and last.step <= _MOST_TRANSPOSED:
        x = x[tuple(parts[:-1])] if len(parts) > 2 else x
        x = tf.transpose(tf.reshape(x, [-1, last.step]))[parts[-1]]
    else:
        x = x[tuple(parts)]
    return tf.reshape(x, [-1 if n is None else n for n in sizes])
