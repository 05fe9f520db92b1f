"""Operations on (batch, channel, *spatial): one body for one to three dimensions, with a batch or without."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
import torch

from nobuco.ir import Node
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature, has_order, uniform
from nobuco.registry import ChannelRule, ChannelUse, Converter, Folding, Operation, registry


def spatial(
    *by_rank: Operation | Sequence[Operation], folding: Folding | None = None, channels: ChannelRule = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register one body for the forms of an operation in one, two, three dimensions.

    The decorated function is a converter with the number of dimensions `n` as its first parameter. What it
    returns sees a batch of channels-last tensors, also where PyTorch's input has no batch dimension; other
    tensors among the arguments arrive as in PyTorch. `folding` and `channels` are of batches only, and the `make` of
    `folding` is given `n`, too.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own_place, *parameters = inspect.signature(function).parameters.values()
        assert own_place.name == "n"
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what calls are bound by
        for n, operations in enumerate(by_rank, 1):
            given = tuple(operations) if isinstance(operations, Sequence) else (operations,)
            make, rule = functools.partial(_make, function, n), functools.partial(first_channels_last, n)
            own = folding and replace(folding, make=functools.partial(folding.make, n))
            converter = Converter(given, function, make, rule, folding=own, channels=channels)
            registry.add(replace(converter, channels=functools.partial(_of_batches, converter.use_of_channels, n)))
        return function

    return register


def _of_batches(use: Callable[[Node], ChannelUse | None], n: int, node: Node) -> ChannelUse | None:
    return use(node) if node.inputs[0].rank == n + 2 else None


def first_channels_last(n: int, node: Node) -> list[Signature]:
    """Layout rule: the first tensor and all results channels-last, if there is a batch; the rest as is."""
    first, *rest = node.inputs
    if first.rank != n + 2:
        return [uniform(node, ChannelOrder.PYTORCH, ChannelOrder.PYTORCH)]
    results = (ChannelOrder.TENSORFLOW if has_order(v) else ChannelOrder.PYTORCH for v in node.results)
    return [Signature((ChannelOrder.TENSORFLOW, *(ChannelOrder.PYTORCH for _ in rest)), tuple(results))]


def _make(function: Callable[..., Any], n: int, *args: Any, **kwargs: Any) -> Any:
    run = function(n, *args, **kwargs)
    first = next(x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor))
    return run if first.dim() == n + 2 else functools.partial(_unbatched, run)


def _unbatched(run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run on a batch of one."""
    x, *rest = args or (kwargs.pop("input"),)
    channels_last = tf.transpose(x, (*range(1, len(x.shape)), 0))
    return tf.nest.map_structure(_channels_first, run(channels_last[None], *rest, **kwargs))


def _channels_first(batch: tf.Tensor) -> tf.Tensor:
    rank = len(batch.shape) - 1
    return tf.transpose(tf.squeeze(batch, 0), (rank - 1, *range(rank - 1)))
