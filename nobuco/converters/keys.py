"""Indexing keys: NumPy's notation, with PyTorch's rules, read into one entry per dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.slicing import FULL, sliced
from nobuco.ir import Value
from nobuco.layout.order import ChannelOrder
from nobuco.ops.names import torch


@dataclass(frozen=True)
class Key:
    """A key against a tensor of a known rank.

    basic: for each dimension of the tensor an int, a slice, or FULL where a tensor indexes.
    sources: the dimensions after the basic part: the tensor's own, or None for a new one.
    tensors: by position in `sources`, the tensors that index there (a boolean one covers several positions).
    """

    basic: tuple[Any, ...]
    sources: tuple[int | None, ...]
    tensors: tuple[tuple[int, Any], ...]

    @property
    def takes_all(self) -> bool:
        """Whether the basic part selects every element of every dimension that stays."""
        return all(is_full(entry) for entry in self.basic)


def is_full(entry: Any) -> bool:
    """Whether an entry is `:`."""
    if not isinstance(entry, slice):
        return False
    start, stop, step = entry.start, entry.stop, entry.step
    return (
        stop is None and all(x is None or isinstance(x, int) for x in (start, step)) and not start and step in (None, 1)
    )


def parse(key: Any, rank: int) -> Key:
    """Read a key for a tensor of this rank."""
    entries = [_entry(e) for e in (key if isinstance(key, tuple) else (key,))]
    used = sum(_covers(e) for e in entries)
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    at = next(i for i, e in enumerate(entries) if e is Ellipsis)
    entries[at : at + 1] = [FULL] * (rank - used)
    basic: list[Any] = []
    sources: list[int | None] = []
    tensors: list[tuple[int, Any]] = []
    for entry in entries:
        if entry is Ellipsis:
            continue
        if entry is None or isinstance(entry, _Flag):
            if isinstance(entry, _Flag):
                tensors.append((len(sources), entry.array))
            sources.append(None)
        elif is_index_tensor(entry):
            tensors.append((len(sources), entry))
            if len(entry.shape) == 0:  # a truth value alone: a new dimension, which it keeps or leaves without elements
                sources.append(None)
            sources += range(len(basic), len(basic) + _covers(entry))
            basic += [FULL] * _covers(entry)
        else:
            if isinstance(entry, slice):
                sources.append(len(basic))
            basic.append(entry)
    return Key(tuple(basic), tuple(sources), tuple(tensors))


@dataclass(frozen=True)
class _Flag:
    """`True` or `False` as an index: a new dimension of one or no element."""

    array: Any


def _entry(entry: Any) -> Any:
    if isinstance(entry, (bool, np.bool_)):
        return _Flag(np.array([0] * int(entry), np.int32))
    if isinstance(entry, (list, tuple, range)):
        if any(tf.is_tensor(e) or isinstance(e, Value) for e in entry):
            return entry if isinstance(entry, _Packed) else _Packed(entry)
        return np.asarray(entry, None if len(entry) else np.int64)
    if isinstance(entry, np.integer):
        return int(entry)
    if isinstance(entry, torch.Tensor):
        return entry.numpy() if entry.ndim else (int(entry) if entry.dtype != torch.bool else _entry(bool(entry)))
    if isinstance(entry, np.ndarray) and not entry.ndim:
        return _entry(entry.item())
    return entry


class _Packed(tuple):
    """A list of scalar tensors as an index."""

    shape = property(lambda self: (len(self),))
    dtype = "int64"


def is_index_tensor(entry: Any) -> bool:
    """Whether an entry indexes with a tensor; an integer without dimensions is as good as a number."""
    if isinstance(entry, (np.ndarray, _Packed)):
        return True
    return (isinstance(entry, Value) or tf.is_tensor(entry)) and (len(entry.shape) > 0 or is_mask(entry))


def is_mask(entry: Any) -> bool:
    """Whether an index tensor is boolean."""
    dtype = entry.dtype
    return dtype == "bool" or dtype == np.bool_ or (isinstance(dtype, tf.DType) and dtype == tf.bool)


def _covers(entry: Any) -> int:
    """How many dimensions of the tensor an entry takes."""
    if entry is None or entry is Ellipsis or isinstance(entry, _Flag):
        return 0
    return len(entry.shape) if is_index_tensor(entry) and is_mask(entry) else 1


def strided(key: Key, x: tf.Tensor, order: ChannelOrder, out: ChannelOrder) -> tf.Tensor:
    """The basic part of a key, on a tensor lying in `order`, its result lying in `out`: one strided slice."""
    if key.takes_all and None not in key.sources:
        return x
    spec: list[Any] = []
    waiting = list(order.permutation(len(key.basic)))
    for dim in out.permutation(len(key.sources)):
        source = key.sources[dim]
        if source is None:
            spec.append(tf.newaxis)
            continue
        while waiting[0] != source:
            spec.append(key.basic[waiting.pop(0)])
        spec.append(key.basic[waiting.pop(0)])
    spec += [key.basic[dim] for dim in waiting]
    if key.takes_all:
        return _with_units(x, spec)
    return sliced(x, spec)


def _with_units(x: tf.Tensor, spec: Sequence[Any]) -> tf.Tensor:
    for i, entry in enumerate(spec):
        if entry is None:
            x = tf.expand_dims(x, i)
    return x
