"""Wrong for numbers of an unusual size, and for arguments that only an outsider puts together.

Written to get past the plugin as it was: each got past it, or stands beside one that did. Conditions ask for
arguments by name (`named`).
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

from conformance.mutants.asking import each, on, repeats
from conformance.mutants.rules import Mutant, at_other_sizes, at_places, named, rewritten, spoiled, where, wrong

aten = torch.ops.aten
ByName = Callable[[Any], Any]


def unusual() -> Iterator[Mutant]:
    """All of them."""
    yield from _of_magnitudes()
    yield from _of_masks()
    for rows in (_calculus, _places, _images, _layers, _spectra):
        for operation, conditions in rows():
            yield from (named(operation, kind, condition) for kind, condition in conditions.items())
    yield from _of_dtypes()
    yield from _of_memory_formats()
    yield from _of_further_results()
    yield from _of_draws()
    yield from _of_sizes()


# -- values


def _of_magnitudes() -> Iterator[Mutant]:
    above: Mapping[float, tuple[Any, ...]] = {
        1e3: (torch.sin, torch.tanh, torch.sqrt, torch.floor, torch.round, torch.atan, F.softsign, torch.sigmoid,
              torch.log1p, torch.asinh, torch.erf, torch.remainder),
        1e10: (torch.sqrt, torch.add, torch.mul, torch.reciprocal, F.relu, torch.log, torch.logaddexp, torch.hypot),
    }  # fmt: skip
    for least, operations in above.items():
        for operation in operations:
            yield at_places(operation, f"a finite number above {least:g}",
                            lambda x, least=least: tf.math.is_finite(x) & (abs(x) > least))  # fmt: skip
    for operation in (torch.log, torch.rsqrt, torch.sqrt, torch.reciprocal, torch.sign, F.relu, torch.div):
        yield at_places(operation, "a number below 1e-12", lambda x: (x != 0) & (abs(x) < 1e-12))
    for operation in (torch.acos, torch.asin, torch.atanh, torch.erfinv):
        yield at_places(operation, "numbers from 0.95 to 1", lambda x: (x > 0.95) & (x < 1))
    for operation in (F.gelu, torch.special.ndtr, torch.lgamma, torch.digamma, F.mish):
        yield at_places(operation, "numbers from 3.6 to 4.5", lambda x: (x > 3.6) & (x < 4.5))
    yield at_places(torch.clamp, "NaN", tf.math.is_nan)
    yield at_places(torch.nan_to_num, "minus infinity", lambda x: x == -math.inf)


def _of_masks() -> Iterator[Mutant]:
    """Minus infinity, as it stands for what is not to count."""
    for operation in (torch.softmax, F.log_softmax, torch.logsumexp, F.softmin, torch.amax, F.max_pool2d):
        yield at_places(operation, "minus infinity", lambda x: tf.reduce_any(x == -math.inf))


# -- arguments


def _calculus() -> Iterator[tuple[Any, Mapping[str, ByName]]]:
    yield torch.lerp, {
        "a weight of a lower rank": lambda a: a.weight.dim() < a.input.dim(),
        "a weight beyond one": lambda a: a.weight.max() > 1,
    }  # fmt: skip
    yield torch.pow, {
        "an odd exponent": lambda a: type(a.exponent) is int and a.exponent % 2 == 1 and (a.input < 0).any(),
        "a number to tensors": lambda a: not isinstance(a.input, Tensor),
    }  # fmt: skip
    yield torch.where, {"a smaller condition": lambda a: a.condition.dim() < max(a.input.dim(), a.other.dim())}
    yield torch.cross, {"one that broadcasts": lambda a: a.input.shape != a.other.shape}
    yield torch.matmul, {"a batch by a vector": lambda a: a.input.dim() > 2 and a.other.dim() == 1}
    yield torch.addmm, {"a row": lambda a: a.input.dim() == 1, "a number": lambda a: a.input.numel() == 1}
    yield torch.histc, {"the largest": lambda a: a.max > a.min and (a.input == a.max).any()}
    yield torch.bincount, {"weights and a least length": lambda a: a.weights is not None and a.minlength > 0}
    yield torch.mean, {"a dtype": lambda a: a.dtype is not None}
    yield torch.std_mean, {"no correction, kept": lambda a: a.correction == 0 and a.keepdim}
    yield F.mse_loss, {"sizes that broadcast": lambda a: a.input.shape != a.target.shape}
    yield F.l1_loss, {"a sum": lambda a: a.reduction == "sum"}
    yield F.ctc_loss, {"infinity that is to be zero": lambda a: a.zero_infinity}
    yield F.lp_pool1d, {"an odd norm of negative numbers": lambda a: a.norm_type % 2 == 1 and (a.input < 0).any()}


def _places() -> Iterator[tuple[Any, Mapping[str, ByName]]]:
    yield torch.take_along_dim, {
        "no dimension": lambda a: a.dim is None,
        "indices that broadcast": lambda a: a.indices.dim() == a.input.dim() and a.indices.shape != a.input.shape,
    }  # fmt: skip
    yield torch.index_select, {"a place twice": lambda a: repeats(a.index)}
    yield torch.scatter, {"a number": lambda a: not isinstance(a.src, Tensor)}
    yield torch.bucketize, {"a boundary, from the right": lambda a: a.right and torch.isin(a.input, a.boundaries).any()}
    yield torch.diag, {"a vector, below": lambda a: a.input.dim() == 1 and a.diagonal < 0}
    yield F.embedding, {"a largest norm, and a row twice": lambda a: a.max_norm is not None and repeats(a.indices)}
    yield F.embedding_bag, {
        "weights and padding": lambda a: a.per_sample_weights is not None and a.padding_idx is not None,
        "padding from the end": lambda a: a.padding_idx < 0,
        "the last offset, and a mean": lambda a: a.include_last_offset and a.mode == "mean",
    }  # fmt: skip
    yield torch.masked_fill, {"a value of another dtype": lambda a: type(a.value) is int}


def _images() -> Iterator[tuple[Any, Mapping[str, ByName]]]:
    yield F.interpolate, {
        "one pixel in": lambda a: a.input.dim() == 4 and a.input.shape[-1] == 1,
        "a factor for each dimension": lambda a: len(set(each(a.scale_factor))) > 1,
        "antialias, aligned": lambda a: a.antialias and a.align_corners,
    }  # fmt: skip
    yield F.grid_sample, {
        "a corner": lambda a: (a.grid.abs() == 1).any(),
        "a volume, nearest": lambda a: a.input.dim() == 5 and a.mode == "nearest",
    }  # fmt: skip
    yield F.unfold, {
        "a stride above the kernel": lambda a: max(each(a.stride)) > max(each(a.kernel_size)),
        "a dilation of two sizes": lambda a: len(set(each(a.dilation))) > 1,
    }  # fmt: skip
    yield F.fold, {
        "parts that overlap, padded": lambda a: (
            max(each(a.padding)) > 0 and max(each(a.kernel_size)) > min(each(a.stride))),
    }  # fmt: skip
    yield F.affine_grid, {"a volume": lambda a: len(a.size) == 5, "one pixel": lambda a: 1 in tuple(a.size)[2:]}


def _layers() -> Iterator[tuple[Any, Mapping[str, ByName]]]:
    yield nn.Conv1d, {
        "an even kernel, 'same'": lambda a: a.self.padding == "same" and a.self.kernel_size[0] % 2 == 0,
        "a kernel of one and a stride": lambda a: a.self.kernel_size == (1,) and a.self.stride[0] > 1,
    }  # fmt: skip
    yield nn.ConvTranspose2d, {
        "a stride above the kernel": lambda a: max(a.self.stride) > max(a.self.kernel_size),
    }  # fmt: skip
    yield nn.PReLU, {"slopes, two dimensions": lambda a: a.self.num_parameters > 1 and a.input.dim() == 2}
    yield nn.GRU, {
        "a batch in front and a state": lambda a: a.self.batch_first and a.hx is not None and a.input.dim() == 3,
        "no bias in both directions": lambda a: not a.self.bias and a.self.bidirectional,
    }  # fmt: skip
    yield nn.LSTM, {
        "one step": lambda a: a.input.dim() == 3 and a.input.shape[1 if a.self.batch_first else 0] == 1,
        "a projection and a state": lambda a: a.self.proj_size > 0 and a.hx is not None,
    }  # fmt: skip
    yield nn.RNN, {"relu in several layers": lambda a: a.self.nonlinearity == "relu" and a.self.num_layers > 1}
    yield nn.MultiheadAttention, {
        "a longer key": lambda a: a.query.shape[-3:-1] != a.key.shape[-3:-1],
        "bias_k and no weights": lambda a: a.self.bias_k is not None and not a.kwargs.get("need_weights", True),
    }  # fmt: skip
    yield F.scaled_dot_product_attention, {
        "a row that sees nothing": lambda a: a.attn_mask.dtype is torch.bool and not a.attn_mask.any(-1).all(),
        "a scale, causal": lambda a: a.scale is not None and a.is_causal,
        "values of another width": lambda a: a.value.shape[-1] != a.query.shape[-1],
    }  # fmt: skip


def _spectra() -> Iterator[tuple[Any, Mapping[str, ByName]]]:
    yield torch.stft, {
        "a short window": lambda a: a.win_length is not None and a.win_length < a.n_fft,
        "both sides": lambda a: a.onesided is False,
        "normalized": lambda a: a.normalized,
    }  # fmt: skip
    yield torch.istft, {"a length": lambda a: a.length is not None, "not centred": lambda a: not a.center}
    yield aten._fft_r2c.default, {
        "an odd length": lambda a: a.self.shape[a.dim[-1]] % 2 == 1,
        "both sides": lambda a: not a.onesided,
        "normed": lambda a: a.normalization != 0,
    }  # fmt: skip


# -- dtypes, memory, results


def _of_dtypes() -> Iterator[Mutant]:
    def in_32_bits(y: Any, x: Any) -> Any:
        return tf.cast(tf.cast(y, tf.int32), y.dtype) if y.dtype == tf.int64 else y

    for operation in (torch.amax, torch.clamp, torch.remainder, torch.prod, torch.diff, torch.roll):
        yield replace(rewritten(operation, "int64 by way of int32", in_32_bits), dtype="int64")
    for operation in (torch.abs, torch.exp, torch.sqrt, torch.log, torch.reciprocal):
        left = at_places(operation, "complex numbers left of zero", lambda x: tf.math.real(x) < 0)
        yield replace(left, dtype="complex64")
    yield replace(where(torch.prod, "booleans", on(lambda x: x.dtype is torch.bool)), dtype="bool")
    for operation in (torch.exp, torch.add, torch.softmax):
        wide = spoiled(operation, "float32 for bfloat16",
                       lambda y: tf.cast(y, tf.float32) if y.dtype == tf.bfloat16 else y)  # fmt: skip
        yield replace(wide, dtype="bfloat16")


def _of_memory_formats() -> Iterator[Mutant]:
    last = on(lambda x: (
        x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)))  # fmt: skip
    for operation in (nn.Conv2d, F.interpolate, torch.cat, torch.mean):
        yield where(operation, "channels-last memory", last)


def _of_further_results() -> Iterator[Mutant]:
    """One of several results alone."""
    behind = {
        torch.aminmax: 1, torch.max: 1, torch.mode: 1, torch.sort: 1, torch.kthvalue: 1, torch.var_mean: 1,
        torch.cummin: 1, nn.LSTM: 2, nn.GRU: 1, aten.frexp.Tensor: 1, nn.MultiheadAttention: 1,
        F.max_pool2d_with_indices: 1, aten._linalg_svd.default: 2,
    }  # fmt: skip
    for operation, place in behind.items():

        def change(results: Any, place: int = place) -> Any:
            flat = tf.nest.flatten(results)
            flat = [wrong(y) if i == place else y for i, y in enumerate(flat)]
            return tf.nest.pack_sequence_as(results, flat)

        yield spoiled(operation, f"wrong in result {place}", change)


def _of_draws() -> Iterator[Mutant]:
    """Of another distribution, near the right one."""
    for operation in (torch.rand_like, torch.randn_like, torch.normal, Tensor.exponential_):
        yield spoiled(operation, "draws that are a fifth smaller", lambda y: y * 0.8)
    yield spoiled(torch.bernoulli, "the opposite is drawn", lambda y: 1 - y)
    for operation in (torch.rand_like, torch.randn_like):
        yield spoiled(operation, "one draw for all elements", lambda y: tf.zeros_like(y) + tf.reduce_max(y))


def _of_sizes() -> Iterator[Mutant]:
    """Only at some of the sizes that a dynamic axis may have."""
    for operation in (torch.softmax, F.interpolate, torch.cumsum):
        yield at_other_sizes(operation, "an odd last axis", lambda now, then: now[-1] % 2 == 1)
        yield at_other_sizes(operation, "one axis alone that differs",
                             lambda now, then: tf.reduce_sum(tf.cast(now != then, tf.int32)) == 1)  # fmt: skip
