"""Operations that look at memory in another way: `as_strided`, and complex numbers as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import alike, elementwise
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import Tensor, torch
from nobuco.registry import expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


@expression(torch.as_strided, strategy=FORCE_PYTORCH_ORDER)
def as_strided(input: tf.Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int = 0) -> tf.Tensor:
    """as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor(a)

    The tracer gives the tensor that owns the memory, so strides count its elements.
    """
    numbers = (*size, *stride, storage_offset or 0)
    if all(isinstance(n, int) for n in numbers):
        places = _places(np, size, stride, storage_offset or 0).astype(np.int32)  # a constant of the model
    else:
        whole = [tf.cast(n, tf.int32) for n in numbers]
        places = _places(tf, whole[: len(size)], whole[len(size) : -1], whole[-1])
    return tf.gather(tf.reshape(input, [-1]), places)


def _places(library: Any, size: Sequence[Any], stride: Sequence[Any], offset: Any) -> Any:
    """Which elements a view of such strides takes, by NumPy, or by TensorFlow where numbers are tensors."""
    arange = library.arange if library is np else library.range
    places = library.reshape(arange(1), [1] * len(size)) + offset
    for dim, (n, step) in enumerate(zip(size, stride)):
        places = places + library.reshape(arange(n) * step, [-1 if i == dim else 1 for i in range(len(size))])
    return places


@elementwise(torch.complex, operands=2)
def complex_(real: tf.Tensor, imag: tf.Tensor) -> tf.Tensor:
    """complex(Tensor real, Tensor imag) -> Tensor"""
    return tf.complex(*alike(real, imag))


@elementwise(torch.imag, Tensor.imag.__get__)  # type: ignore[attr-defined]
def imag(input: tf.Tensor) -> tf.Tensor:
    """imag(Tensor(a) self) -> Tensor(a)"""
    return tf.math.imag(input)


@expression(torch.view_as_real, strategy=FORCE_PYTORCH_ORDER)
def view_as_real(input: tf.Tensor) -> tf.Tensor:
    """view_as_real(Tensor(a) self) -> Tensor(a)"""
    return tf.stack([tf.math.real(input), tf.math.imag(input)], -1)


@expression(torch.view_as_complex, strategy=FORCE_PYTORCH_ORDER)
def view_as_complex(input: tf.Tensor) -> tf.Tensor:
    """view_as_complex(Tensor(a) self) -> Tensor(a)"""
    return tf.complex(input[..., 0], input[..., 1])
