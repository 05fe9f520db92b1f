"""Parity at sizes that a conversion has never seen: convert once, compare with PyTorch at every size given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import nobuco
from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layers.output import called
from tests.parity import ORDERS, assert_close, convert, evaluated, tensors_of

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

    Inputs and outputs lie in one order, each of `orders` in turn. Returns the last Keras model. `tflite`: run a file of
    the first order, too; what TFLite lacks, it lacks in each.
    """
    model = evaluated(model)
    keras_model = None
    for order in orders:
        keras_model = converted(model, traced, free, order, **options)
        data = to_tflite(keras_model) if tflite and order == orders[0] else None
        for args in (traced, *others):
            wanted = tensors_of(model, *args)
            feeds = [nobuco.t_pytorch2keras(t, order) for t in args]
            assert_close(called(keras_model, feeds), wanted, order, atol)
            if data is not None:
                assert_close(run_tflite(data, feeds), wanted, order, atol)
    return keras_model


def check_dynamic(model: Any, traced: torch.Tensor, *others: torch.Tensor, free: Sequence[int] = (0,)) -> None:
    """`check_sizes` of a model with one input, in Keras."""
    check_sizes(model, (traced,), *((x,) for x in others), free=[free], tflite=False)


def converted(
    model: Any,
    traced: Feed,
    free: Sequence[Sequence[int]],
    order: ChannelOrder = ChannelOrder.TENSORFLOW,
    **options: Any,
) -> Any:
    """The Keras model with these axes of each input dynamic, inputs and outputs in one order."""
    shapes = {t: tuple(None if i in axes else n for i, n in enumerate(t.shape)) for t, axes in zip(traced, free)}
    return convert(model, *traced, input_shapes=shapes, order=order, **options)
