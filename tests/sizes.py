"""Parity at sizes that a conversion has never seen: convert once, compare with PyTorch at every size given."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.parity import ORDERS, _compare

Feed = tuple[torch.Tensor, ...]


def check_sizes(
    model: Any,
    traced: Feed,
    *others: Feed,
    free: Sequence[Sequence[int]],
    orders: Sequence[ChannelOrder] = ORDERS,
    tflite: bool = True,
    atol: float = 1e-4,
    **options: Any,
) -> Any:
    """Convert on `traced` with these axes of each input dynamic, then run there and at `others`.

    Inputs and outputs lie in one order, each of `orders` in turn. Returns the last Keras model.
    """
    model = model.eval() if isinstance(model, torch.nn.Module) else model
    keras_model = None
    for order in orders:
        keras_model = converted(model, traced, free, order, **options)
        data = to_tflite(keras_model) if tflite else None
        for feed in (traced, *others):
            with torch.no_grad():
                wanted = [t for t in pytree.tree_leaves(model(*copy.deepcopy(feed))) if isinstance(t, torch.Tensor)]
            given = [nobuco.t_pytorch2keras(t, order) for t in feed]
            got = keras_model(given[0] if len(given) == 1 else given)
            _compare(pytree.tree_leaves(got), wanted, order, atol, 1e-4)
            if data is not None:
                _compare(run_tflite(data, given), wanted, order, atol, 1e-4)
    return keras_model


def converted(
    model: Any,
    traced: Feed,
    free: Sequence[Sequence[int]],
    order: ChannelOrder = ChannelOrder.TENSORFLOW,
    **options: Any,
) -> Any:
    """The Keras model with these axes of each input dynamic, inputs and outputs in one order."""
    shapes = {t: tuple(None if i in axes else n for i, n in enumerate(t.shape)) for t, axes in zip(traced, free)}
    return nobuco.pytorch_to_keras(
        model,
        list(traced),
        input_shapes=shapes,
        inputs_channel_order=order,
        outputs_channel_order=order,
        verbose=False,
        **options,
    )
