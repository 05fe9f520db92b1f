"""Samples of arithmetic on sizes, which is seen only where an axis is dynamic."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nobuco.ops.names import F, Tensor, torch
from nobuco.registry import Sample
from nobuco.trace.sizes import size_of
from pytest_nobuco.converters.drawing import Make, image


def _on_sizes(use: Callable[[Any, Tensor, Any, Any], Any]) -> Make:
    """`use(operation, x, height, width)`."""
    return lambda: [
        Sample((image(),), program=lambda op, x: use(op, x, x.shape[2], x.shape[3])),
        Sample((image(3, 2, 7, 6),), program=lambda op, x: use(op, x, x.shape[2], x.shape[3])),
    ]


def _binary(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height, width), x * op(width, 3), x * op(7, height), x * op(height - 3 * width, 4)


def _unary(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height - 2 * width), x * op(width / 2 - height), x * op(height / 4)


def _padded(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    """Padded where sizes compare so, to a multiple and to a least size: what comparisons are in a model for."""
    if op(width % 4, 0):
        x = F.pad(x, (0, -width % 4))
    if op(height, 6):
        x = F.pad(x, (0, 0, 0, 1))
    return x


def _positive(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height), x * op(height * width), x / op(width + 1)


def _power(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height, 2), x * op(width, 0.5), x * op(2, height // 4)


def _choice(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height, width)


def _size_of(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + height, x.reshape(-1, height * width)


def _made(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(height, width)


def _new(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(x, (height, width))


def _filled(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op((height, width), 2.5)


def _new_filled(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(x, (height, width), 2.5)


def _counted(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(width), op(2, height + 3), op(0, 2 * width, 2) * 1.5


def _permuted(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(width)


def _drawn(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(0, 9, (height, width))


def _spaced(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(-1, 1, width), op(0, 1, height)


def _tapered(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(width), op(height, False), op(height // 8 + 1)


def _frequencies(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return op(height, 0.5) * x.sum(), op(width)


def _identity(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x + op(height, width), op(width)


def _triangle(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return op(height, width), op(width, height, 1), op(height, height, offset=-1) * x.sum()


def _new_tensor_of(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(x, height), x + op(x, width)


def _tensor_of(op: Any, x: Tensor, height: Any, width: Any) -> Any:
    return x * op(height), x + op(width)


SAMPLES: Mapping[Any, Make] = MappingProxyType(
    {
        size_of: _on_sizes(_size_of),
        operator.add: _on_sizes(_binary),
        operator.sub: _on_sizes(_binary),
        operator.mul: _on_sizes(_binary),
        operator.floordiv: _on_sizes(_binary),
        operator.mod: _on_sizes(_binary),
        operator.truediv: _on_sizes(_binary),
        operator.pow: _on_sizes(_power),
        operator.neg: _on_sizes(_unary),
        operator.or_: _on_sizes(_binary),
        operator.xor: _on_sizes(_binary),
        int.bit_length: _on_sizes(lambda op, x, height, width: (x * height.bit_length(), x * (3 * width).bit_length())),
        **{
            op: _on_sizes(_padded)
            for op in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
        },
        builtins.abs: _on_sizes(_unary),
        builtins.round: _on_sizes(_unary),
        math.ceil: _on_sizes(_unary),
        math.floor: _on_sizes(_unary),
        math.trunc: _on_sizes(_unary),
        math.sqrt: _on_sizes(_positive),
        math.log: _on_sizes(_positive),
        math.log2: _on_sizes(_positive),
        math.log10: _on_sizes(_positive),
        builtins.max: _on_sizes(_choice),
        builtins.min: _on_sizes(_choice),
        torch.zeros: _on_sizes(_made),
        torch.ones: _on_sizes(_made),
        torch.rand: _on_sizes(_made),
        torch.randn: _on_sizes(_made),
        torch.randint: _on_sizes(_drawn),
        torch.randperm: _on_sizes(_permuted),
        torch.full: _on_sizes(_filled),
        torch.Tensor.new_full: _on_sizes(_new_filled),
        torch.arange: _on_sizes(_counted),
        torch.linspace: _on_sizes(_spaced),
        torch.hann_window: _on_sizes(_tapered),
        torch.hamming_window: _on_sizes(_tapered),
        torch.blackman_window: _on_sizes(_tapered),
        torch.bartlett_window: _on_sizes(_tapered),
        torch.kaiser_window: _on_sizes(_tapered),
        torch.fft.fftfreq: _on_sizes(_frequencies),
        torch.fft.rfftfreq: _on_sizes(_frequencies),
        torch.eye: _on_sizes(_identity),
        torch.tril_indices: _on_sizes(_triangle),
        torch.triu_indices: _on_sizes(_triangle),
        torch.tensor: _on_sizes(_tensor_of),
        torch.scalar_tensor: _on_sizes(_tensor_of),
        torch.Tensor.new_tensor: _on_sizes(_new_tensor_of),
        torch.Tensor.new_zeros: _on_sizes(_new),
        torch.Tensor.new_ones: _on_sizes(_new),
    }
)
