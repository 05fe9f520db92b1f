"""Tensors put together of runs of channels of others, as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nobuco.layers.sizes import part
from nobuco.layout.channels import Run
from nobuco.layout.order import get_channel_order
from nobuco.select import Unit


def joining(unit: Unit) -> Callable[[Sequence[Any]], list[Any]]:
    """`tensors -> tensors`: the runs of channels of each output, one behind the other.

    Of equal parts one operation gives all, in TFLite also to several layers, in less time than slices.
    """
    counts = {value.id: value.shape[1] for value in unit.inputs}
    position = {value.id: i for i, value in enumerate(unit.inputs)}

    def join(tensors: Sequence[Any]) -> list[Any]:
        def taken(run: Run) -> Any:
            x = tensors[position[run.source]]
            if (run.start, run.stop) == (0, counts[run.source]):
                return x
            axis, shares = get_channel_order(x).axis(1, len(x.shape)), unit.shares.get(run.source)
            if shares:
                return tf.split(x, shares, axis)[run.start * shares // counts[run.source]]
            return part(x, axis, run.start, run.stop)

        axis = get_channel_order(tensors[0]).axis(1, len(tensors[0].shape))
        pieces = [[taken(run) for run in runs] for runs in unit.parts]
        return [parts[0] if len(parts) == 1 else tf.concat(parts, axis) for parts in pieces]

    return join
