"""Between PyTorch's tensors and TensorFlow's: dtypes, values, channel order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import torch

from nobuco.kinds import NOTHING, Kind, instance, takes
from nobuco.layout.order import ORDER, ChannelOrder, get_channel_order, set_channel_order


def tf_dtype(dtype: torch.dtype) -> tf.DType:
    """TensorFlow's dtype of the same name."""
    return tf.as_dtype(str(dtype).removeprefix("torch."))


def torch_dtype(dtype: Any) -> torch.dtype:
    """PyTorch's dtype of the same name."""
    return getattr(torch, tf.as_dtype(dtype).name)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor on any device, requiring grad or not, as an array (bfloat16 as NumPy's extension type)."""
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.float().numpy().astype(tf.bfloat16.as_numpy_dtype)
    return tensor.numpy()


def to_array(tensor: Any) -> np.ndarray:
    """A TensorFlow tensor as an array; `np.asarray` alone refuses a bfloat16 of no dimensions."""
    return np.asarray(tensor.numpy() if tf.is_tensor(tensor) else tensor)


def in_order(array: np.ndarray, order: ChannelOrder) -> np.ndarray:
    """An array in logical order, laid out in `order`."""
    return np.transpose(array, order.permutation(array.ndim))


def _is_array(value: Any) -> bool:
    """Whether a value is an array of numbers: TensorFlow's with values, NumPy's, or what NumPy makes one of."""
    if value is None or isinstance(value, (str, bytes, type, Mapping)):
        return False
    try:
        return to_array(value).dtype.kind in "biufcV"  # V: bfloat16
    except Exception:  # of a symbolic tensor, which has no values
        return False


@takes(tensor=instance("a torch.Tensor", torch.Tensor), channel_order=ORDER)
def t_pytorch2keras(tensor: torch.Tensor, channel_order: ChannelOrder | str = ChannelOrder.PYTORCH) -> tf.Tensor:
    """A PyTorch tensor as a TensorFlow tensor, laid out (and annotated) in `channel_order`."""
    order = ChannelOrder(channel_order)
    return set_channel_order(tf.convert_to_tensor(in_order(to_numpy(tensor), order)), order)


@takes(tensor=Kind("a TensorFlow tensor, or an array", _is_array), channel_order=ORDER | NOTHING)
def t_keras2pytorch(tensor: Any, channel_order: ChannelOrder | str | None = None) -> torch.Tensor:
    """A TensorFlow tensor as a PyTorch tensor in PyTorch's order.

    `channel_order` is the order that the tensor lies in; None takes its annotation.
    """
    order = get_channel_order(tensor) if channel_order is None else ChannelOrder(channel_order)
    array = to_array(tensor)
    logical = np.transpose(array, order.transposition_to(ChannelOrder.PYTORCH, array.ndim))
    if array.dtype == tf.bfloat16.as_numpy_dtype:
        return torch.from_numpy(logical.astype(np.float32).copy()).to(torch.bfloat16)
    return torch.from_numpy(np.array(logical))


def flat_outputs(outputs: Any) -> list[torch.Tensor]:
    """The tensors of what a program returned, in the order in which its Keras model and its files have them."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if dataclasses.is_dataclass(outputs):  # Hugging Face's outputs, too, whose own order is that of assignment
        outputs = [getattr(outputs, f.name) for f in dataclasses.fields(outputs)]
    elif hasattr(outputs, "items"):
        outputs = [item for _, item in outputs.items()]
    return [leaf for item in outputs for leaf in flat_outputs(item)] if isinstance(outputs, (list, tuple)) else []
