"""Movements that TensorFlow's obvious form makes dear in TFLite, and other forms of the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

SHAPE = (1, 56, 56, 96)
BATCH, ROWS, COLUMNS, CHANNELS = SHAPE
Form = Callable[[Any], Any]


@dataclass(frozen=True)
class Movement:
    """One movement of a tensor of `SHAPE` in several forms, the obvious one first; `ours`: the one nobuco writes."""

    name: str
    forms: Mapping[str, Form]
    ours: str


def movements() -> Sequence[Movement]:
    """The movements of COSTS.md."""
    return (_number(), _number_inside(), _outer_steps(), _inner_steps(), _stacked(), *_spread(), _reflected())


def _number() -> Movement:
    forms: dict[str, Form] = {
        "STRIDED_SLICE that drops the axis": lambda x: x[:, 3] * 2.0,
        "STRIDED_SLICE, RESHAPE": lambda x: tf.reshape(x[:, 3:4], (BATCH, COLUMNS, CHANNELS)) * 2.0,
        "GATHER": lambda x: tf.gather(x, 3, axis=1) * 2.0,
    }
    return Movement("a number as an index: `x[:, 3]`", forms, "STRIDED_SLICE, RESHAPE")


def _number_inside() -> Movement:
    apart, left = (8, 7, 56, 3, 32), (8, 7, 56, 32)
    forms: dict[str, Form] = {
        "STRIDED_SLICE that drops the axis": lambda x: tf.reshape(x, apart)[:, :, :, 1] * 2.0,
        "STRIDED_SLICE, RESHAPE": lambda x: tf.reshape(tf.reshape(x, apart)[:, :, :, 1:2], left) * 2.0,
        "GATHER": lambda x: tf.gather(tf.reshape(x, apart), 1, axis=3) * 2.0,
    }
    return Movement("a number for the fourth of five axes", forms, "STRIDED_SLICE, RESHAPE")


def _outer_steps() -> Movement:
    blocks = (ROWS // 2, COLUMNS, 2 * CHANNELS)  # pairs of rows; pairs of columns in each
    left = (BATCH, ROWS // 2, COLUMNS // 2, CHANNELS)
    even = list(range(0, ROWS, 2))
    forms: dict[str, Form] = {
        "STRIDED_SLICE with steps": lambda x: x[:, ::2, ::2] * 2.0,
        "RESHAPE, STRIDED_SLICE of blocks": lambda x: (
            tf.reshape(tf.reshape(x, blocks)[:, : COLUMNS // 2, :CHANNELS], left) * 2.0
        ),
        "MAX_POOL_2D of one": lambda x: tf.nn.max_pool2d(x, 1, 2, "VALID") * 2.0,
        "GATHER twice": lambda x: tf.gather(tf.gather(x, even, axis=1), even, axis=2) * 2.0,
    }
    return Movement("steps on outer axes: `x[:, ::2, ::2]`, channels last", forms, "RESHAPE, STRIDED_SLICE of blocks")


def _inner_steps() -> Movement:
    left = (*SHAPE[:-1], CHANNELS // 2)
    even, odd = list(range(0, CHANNELS, 2)), list(range(1, CHANNELS, 2))

    def rows(x: Any) -> Any:
        both = tf.transpose(tf.reshape(x, (-1, 2)))
        return tf.reshape(both[0:1] + both[1:2], left)

    forms: dict[str, Form] = {
        "STRIDED_SLICE with steps": lambda x: x[..., ::2] + x[..., 1::2],
        "TRANSPOSE, STRIDED_SLICE": rows,
        "UNPACK": lambda x: tf.add_n(tf.unstack(tf.reshape(x, (*left, 2)), axis=-1)),
        "GATHER": lambda x: tf.gather(x, even, axis=3) + tf.gather(x, odd, axis=3),
    }
    name = "steps on the innermost axis: `x[..., ::2] + x[..., 1::2]`"
    return Movement(name, forms, "TRANSPOSE, STRIDED_SLICE")


def _stacked() -> Movement:
    def rows(x: Any) -> Any:
        both = tf.concat([tf.reshape(x, (1, -1)), tf.reshape(x * 2.0, (1, -1))], 0)
        return tf.reshape(tf.transpose(both), (*SHAPE, 2))

    forms: dict[str, Form] = {
        "PACK": lambda x: tf.stack([x, x * 2.0], -1),
        "CONCATENATION of units": lambda x: tf.concat([x[..., None], (x * 2.0)[..., None]], -1),
        "CONCATENATION, TRANSPOSE": rows,
    }
    return Movement("a new innermost axis: `torch.stack([x, x * 2], -1)`", forms, "CONCATENATION, TRANSPOSE")


def _spread() -> Sequence[Movement]:
    rows: dict[str, Form] = {
        "BROADCAST_TO": lambda x: tf.broadcast_to(x[:, :1], SHAPE),
        "TILE": lambda x: tf.tile(x[:, :1], (1, ROWS, 1, 1)),
        "MUL by ones": lambda x: x[:, :1] * np.ones((1, ROWS, 1, 1), np.float32),
    }
    channels: dict[str, Form] = {
        "BROADCAST_TO": lambda x: tf.broadcast_to(x[..., :1], SHAPE),
        "TILE": lambda x: tf.tile(x[..., :1], (1, 1, 1, CHANNELS)),
        "MUL by ones": lambda x: x[..., :1] * np.ones((1, 1, 1, CHANNELS), np.float32),
    }
    return (
        Movement("one row as many: `x[:, :1].expand(...)`", rows, "TILE"),
        Movement("one channel as many: `x[..., :1].expand(...)`", channels, "TILE"),
    )


def _reflected() -> Movement:
    around = [1, *range(ROWS), ROWS - 2]

    def joined(x: Any) -> Any:
        x = tf.concat([x[:, 1:2], x, x[:, -2:-1]], 1)
        return tf.concat([x[:, :, 1:2], x, x[:, :, -2:-1]], 2)

    forms: dict[str, Form] = {
        "MIRROR_PAD": lambda x: tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "REFLECT"),
        "STRIDED_SLICE, CONCATENATION": joined,
        "GATHER twice": lambda x: tf.gather(tf.gather(x, around, axis=1), around, axis=2),
    }
    return Movement("edges that reflect: `F.pad(x, (1, 1, 1, 1), 'reflect')`", forms, "STRIDED_SLICE, CONCATENATION")
