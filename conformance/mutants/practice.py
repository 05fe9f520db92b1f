"""What authors of converters get wrong: PyTorch's rules that are easily read past, and forms that a test leaves out.

Written by reading PyTorch's documentation of operations that no other mutant touches, before the plugin was asked;
some of each kind had got past it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.mutants.asking import each, has, is_mask
from conformance.mutants.rules import Mutant, at_other_sizes, at_places, named, replaced, rewritten, spoiled, where

aten = torch.ops.aten
ByName = Callable[[Any], Any]
Rows = Iterator[tuple[Any, Mapping[str, ByName]]]


def practice() -> Iterator[Mutant]:
    """All of them."""
    yield from _of_formulas()
    yield from _of_truth()
    for rows in (_options, _reductions, _places, _windows, _layers, _matrices):
        for operation, conditions in rows():
            yield from (named(operation, kind, condition) for kind, condition in conditions.items())
    yield from _of_steps()
    yield from _of_dtypes()
    yield from _of_draws()
    yield from _of_sizes()


def _several(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 1


def _below_zero(value: Any) -> bool:
    return value is not None and any(n < 0 for n in each(value))


def _real(x: Any) -> Any:
    """A number or a tensor as real numbers."""
    return tf.cast(x, tf.float32)


# -- formulas


def _of_formulas() -> Iterator[Mutant]:
    """Right wherever nothing special happens."""
    log2 = math.log(2)
    yield replaced(torch.xlogy, "NaN where both are zero", lambda input, other: (
        _real(input) * tf.math.log(_real(other))))  # fmt: skip
    yield replaced(torch.special.entr, "NaN at zero", lambda x: -x * tf.math.log(x))
    yield replaced(torch.special.xlog1py, "log of 1 + y", lambda input, other: (
        _real(input) * tf.math.log(1 + _real(other))))  # fmt: skip
    yield replaced(torch.logaddexp2, "NaN where both are minus infinity", lambda input, other: (
        tf.maximum(input, other) + tf.math.log1p(2.0 ** -abs(input - other)) / log2))  # fmt: skip
    yield replaced(torch.fmax, "NaN stays", lambda input, other: tf.maximum(_real(input), _real(other)))
    yield replaced(torch.minimum, "NaN of the first is dropped", lambda input, other: (
        tf.where(_real(input) < _real(other), _real(input), _real(other))))  # fmt: skip
    yield replaced(torch.sinc, "NaN at zero", lambda x: tf.sin(math.pi * x) / (math.pi * x))
    yield replaced(torch.rrelu, "the lower slope", lambda input, lower=0.125, *_, **__: (
        tf.where(input >= 0, input, input * lower)))  # fmt: skip
    yield at_places(torch.heaviside, "NaN", lambda x: x != x)
    yield at_places(torch.round, "halves below zero", lambda x: (x < 0) & (x - tf.floor(x) == 0.5))
    yield at_places(aten.angle.default, "numbers below zero", lambda x: x < 0)
    yield at_places(aten.special_ndtri.default, "the ends", lambda x: (x == 0) | (x == 1))
    yield at_places(aten.special_i1.default, "numbers below zero", lambda x: x < 0)
    yield at_places(aten.special_log_ndtr.default, "numbers below -10", lambda x: x < -10)


def _of_truth() -> Iterator[Mutant]:
    """Comparisons turned round, as if there were no NaN; and truth by way of numbers."""
    yield replaced(torch.gt, "what is not less or equal", lambda input, other: ~(_real(input) <= _real(other)))
    yield replaced(torch.ne, "what has a difference", lambda input, other: (
        tf.not_equal(_real(input) - _real(other), 0)))  # fmt: skip
    yield replaced(torch.logical_xor, "numbers that differ", lambda input, other: (
        tf.not_equal(_real(input), _real(other))))  # fmt: skip
    yield replaced(torch.logical_or, "a sum that is not zero", lambda input, other: (
        tf.not_equal(_real(input) + _real(other), 0)))  # fmt: skip
    yield replaced(torch.isinf, "plus alone", lambda x: x == math.inf)
    yield replaced(Tensor.bool, "fractions are false", lambda self, **_: tf.cast(tf.cast(self, tf.int32), tf.bool))


# -- arguments


def _options() -> Rows:
    yield torch.pow, {"an even exponent": lambda a: type(a.exponent) is int and a.exponent == 2 and (a.input < 0).any()}
    yield torch.clamp_min, {"a tensor": lambda a: isinstance(a.min, Tensor)}
    yield torch.softmax, {"a dtype": lambda a: a.dtype is not None}
    yield torch.stft, {"constant edges": lambda a: a.pad_mode == "constant"}
    yield aten._fft_c2c.default, {"the way back": lambda a: not a.forward}
    yield torch.dist, {"p=0": lambda a: a.p == 0}
    yield torch.pdist, {f"p={p:g}": lambda a, p=p: a.p == p for p in (0, 1, math.inf)}
    yield torch.histogram, {"weights and density": lambda a: a.weight is not None and a.density}
    yield F.smooth_l1_loss, {"no beta": lambda a: a.beta == 0}
    yield torch.linalg.norm, {
        "two dimensions and no ord": lambda a: _several(a.dim) and a.ord is None,
        "ord 0": lambda a: a.ord == 0,
    }  # fmt: skip
    yield torch.linalg.vector_norm, {"all, kept": lambda a: a.keepdim and a.dim is None}


def _reductions() -> Rows:
    yield torch.aminmax, {"all, kept": lambda a: a.dim is None and a.keepdim}
    yield torch.count_nonzero, {"two dimensions": lambda a: _several(a.dim)}
    yield torch.cumprod, {"zeros": lambda a: (a.input == 0).any()}
    yield torch.nanmedian, {"NaN": lambda a: a.input.isnan().any()}
    yield torch.msort, {"rank 1": lambda a: a.input.dim() == 1}
    yield torch.kthvalue, {"the last": lambda a: a.k == a.input.shape[a.dim]}
    yield torch.cosine_similarity, {"sizes that broadcast": lambda a: a.x1.shape != a.x2.shape}
    yield Tensor.sum_to_size, {"fewer dimensions": lambda a: len(a.size) < a.input.dim()}
    yield torch.linalg.cross, {"the first dimension": lambda a: a.dim == 0}
    yield aten.unique_consecutive.default, {"a dimension": lambda a: a.dim is not None}
    yield aten.segment_reduce.default, {"the mean": lambda a: a.reduce == "mean"}


def _places() -> Rows:
    yield torch.narrow, {"a place from the end": lambda a: a.start < 0}
    yield torch.index_fill, {"a dimension from the end": lambda a: a.dim < 0}
    yield torch.masked_scatter, {"more than is needed": lambda a: a.source.numel() > int(a.mask.sum())}
    yield torch.masked_select, {"a smaller mask": lambda a: a.mask.dim() < a.input.dim()}
    yield torch.scatter_add, {"fewer places": lambda a: a.index.shape != a.src.shape}
    yield Tensor.put, {"what is added up": lambda a: a.accumulate}
    yield aten.index_reduce.default, {"the mean without its own": lambda a: a.reduce == "mean" and not a.include_self}
    yield aten.select_scatter.default, {"a dimension from the end": lambda a: a.dim < 0}
    yield aten.slice_scatter.default, {
        "a step": lambda a: a.step > 1,
        "an end beyond": lambda a: a.end is not None and a.end > max(a.self.shape),
    }  # fmt: skip
    yield aten.diagonal_scatter.default, {"a place below": lambda a: a.offset < 0}
    yield torch.as_strided, {"an offset": lambda a: bool(a.storage_offset)}
    yield aten.index.Tensor, {"a mask": lambda a: any(map(is_mask, a.indices))}
    yield torch.split, {"a rest": lambda a: type(a.split_size) is int and a.input.shape[a.dim] % a.split_size}
    yield torch.dstack, {"vectors": lambda a: a.tensors[0].dim() == 1}
    yield torch.column_stack, {"vectors beside matrices": lambda a: len({t.dim() for t in a.tensors}) > 1}
    yield Tensor.expand, {"minus one": lambda a: -1 in a.size}
    yield torch.triu, {"a place below": lambda a: a.diagonal < 0}
    yield torch.diff, {"something behind": lambda a: a.append is not None}
    yield torch._C._nn.pad_sequence, {"numbers on the left": lambda a: a.padding_side == "left"}


def _windows() -> Rows:
    yield F.max_pool1d, {"a ceiling and a dilation": lambda a: a.ceil_mode and max(each(a.dilation)) > 1}
    yield F.max_pool3d, {"a ceiling": lambda a: a.ceil_mode, "a dilation": lambda a: max(each(a.dilation)) > 1}
    yield torch.adaptive_avg_pool1d, {"a rest": lambda a: a.input.shape[-1] % each(a.output_size)[0]}
    yield torch.conv1d, {"'same', dilated": lambda a: a.padding == "same" and max(each(a.dilation)) > 1}
    yield torch.conv2d, {
        "a window of one place, by steps": lambda a: set(a.weight.shape[2:]) == {1} and max(each(a.stride)) > 1,
        "a filter for each channel, several out": lambda a: 1 < a.groups == a.input.shape[-3] < a.weight.shape[0],
    }  # fmt: skip
    yield torch.conv_transpose1d, {"groups": lambda a: a.groups > 1}
    yield F.fold, {"gaps": lambda a: max(each(a.stride)) > max(each(a.kernel_size))}
    yield F.pad, {"circular, on one side": lambda a: a.mode == "circular" and 0 in a.pad}
    yield aten.replication_pad1d.default, {"no batch": lambda a: a.self.dim() == 2}
    yield F.affine_grid, {"one pixel, not aligned": lambda a: 1 in tuple(a.size)[2:] and not a.align_corners}


def _layers() -> Rows:
    yield nn.Conv2d, {"one channel": lambda a: a.self.in_channels == 1}
    yield nn.ConvTranspose2d, {"a size that is asked for": lambda a: a.output_size is not None}
    yield nn.BatchNorm1d, {"rank 2": lambda a: a.input.dim() == 2}
    yield nn.LSTMCell, {"no state": lambda a: a.hx is None}
    yield nn.GRUCell, {"no batch": lambda a: a.input.dim() == 1}
    yield nn.RNNCell, {"relu without bias": lambda a: a.self.nonlinearity == "relu" and not a.self.bias}
    yield (
        F.scaled_dot_product_attention,
        {
            "a mask of each head": lambda a: a.attn_mask.dim() == 4 and a.attn_mask.shape[1] > 1,
        },
    )
    yield F.group_norm, {"one group": lambda a: a.num_groups == 1}
    yield torch._weight_norm, {"the last dimension": lambda a: a.dim == -1}
    yield torch.prelu, {"several slopes in rank 2": lambda a: a.input.dim() == 2 and a.weight.numel() > 1}
    yield torch.bilinear, {"no bias": lambda a: a.bias is None}


def _matrices() -> Rows:
    yield torch.kron, {"other ranks": lambda a: a.input.dim() != a.other.dim()}
    yield torch.inner, {"a vector and a matrix": lambda a: a.input.dim() != a.other.dim()}
    yield aten.linalg_qr.default, {"more columns": lambda a: a.A.shape[-1] > a.A.shape[-2]}
    yield aten.linalg_lu.default, {"more rows": lambda a: a.A.shape[-2] > a.A.shape[-1]}
    yield aten.linalg_cholesky_ex.default, {"the upper one": lambda a: a.upper}
    yield aten._linalg_eigh.default, {"the upper half": lambda a: a.UPLO == "U"}
    yield aten._linalg_solve_ex.default, {"a solution in front": lambda a: not a.left}
    yield aten.linalg_lu_solve.default, {"an adjoint in front": lambda a: a.adjoint and not a.left}
    yield aten.ormqr.default, {"a transposed one behind": lambda a: not a.left and a.transpose}


def _of_steps() -> Iterator[Mutant]:
    """Of what only moves data."""

    def with_other(operation: Any, kind: str, change: Callable[..., tuple[Any, ...]]) -> Mutant:
        def changed(converter: Any) -> Any:
            return replace(converter, steps=lambda *args, **kwargs: converter.steps(*change(*args, **kwargs)))

        return Mutant(operation, kind, changed)

    yield with_other(torch.permute, "the way back", lambda x, dims: (
        x, tuple(sorted(range(len(dims)), key=lambda i: dims[i] % len(dims)))))  # fmt: skip
    yield with_other(torch.flatten, "to the end, whatever is said", lambda x, start_dim=0, end_dim=-1: (x, start_dim))
    yield with_other(torch.squeeze, "the first of several dimensions", lambda x, *dims: (
        (x, dims[0][0]) if dims and _several(dims[0]) else (x, *dims)))  # fmt: skip


def _of_dtypes() -> Iterator[Mutant]:
    yield replace(spoiled(torch.adjoint, "no conjugate", tf.math.conj), dtype="complex64")
    yield replace(where(torch.le, "numbers above 2^53", has(lambda x: bool((x.abs() > 2**53).any()))), dtype="int64")
    downwards = rewritten(
        torch.bitwise_right_shift, "towards zero", lambda y, x: tf.where((x < 0) & (y < -1), y + 1, y)
    )
    yield replace(downwards, dtype="int64")
    yield replaced(Tensor.int, "rounded down", lambda self, **_: tf.cast(tf.floor(self), tf.int32))


def _of_draws() -> Iterator[Mutant]:
    yield spoiled(Tensor.geometric_, "begins with zero", lambda y: y - 1)
    yield spoiled(torch._sample_dirichlet, "not in proportion", lambda y: y * 1.1)
    yield named(Tensor.bernoulli_, "a chance for each", lambda a: isinstance(a.p, Tensor))


# -- sizes


def _of_sizes() -> Iterator[Mutant]:
    """Where axes change without each other."""
    for operation in (torch.sum, torch.matmul, F.avg_pool2d, torch.cat):
        yield at_other_sizes(operation, "one axis alone that differs",
                             lambda now, then: tf.reduce_sum(tf.cast(now != then, tf.int32)) == 1)  # fmt: skip
        yield at_other_sizes(operation, "one axis larger, another smaller",
                             lambda now, then: tf.reduce_any(now > then) & tf.reduce_any(now < then))  # fmt: skip
    for operation in (torch.softmax, torch.add):
        yield at_other_sizes(operation, "the last axis alone that differs", lambda now, then: (
            (now[-1] != then[-1]) & tf.reduce_all(now[:-1] == then[:-1])))  # fmt: skip
