"""Wrong for one kind of input: a dtype, a rank, a size, a value, another size than the example's, a runtime, a mode.

Each kind is put into operations of several families, since a harness that sees it in one may be blind in another.
Conditions of arguments are asked of PyTorch's tensors while converting; those of values and of sizes while running.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.mutants.asking import Condition, dimension, first, is_mask, on
from conformance.mutants.rules import Mutant, at_other_sizes, at_places, defaulted, rewritten, where, wrong

Operations = tuple[Any, ...]
SPATIAL: Operations = (nn.Conv2d, F.interpolate, F.avg_pool2d, F.pad, F.unfold)


def of_kinds() -> Iterator[Mutant]:
    """All of them."""
    yield from _of_tensors()
    yield from _of_dimensions()
    yield from _of_values()
    yield from _of_numerics()
    yield from _of_integers()
    yield from _of_defaults()
    yield from _of_forms()
    yield from _of_modes()


# -- what a tensor is like


def _of_dtype(dtype: str) -> Condition:
    """Behind masks and indices there may be others."""
    return lambda *args, **_: (
        any(isinstance(x, Tensor) and x.dtype is getattr(torch, dtype) for x in args)
        or (first(args).dtype is getattr(torch, dtype))
    )


def _of_tensors() -> Iterator[Mutant]:
    dtypes: Mapping[str, Operations] = {
        "int64": (torch.add, torch.sum, torch.cat, torch.where, torch.sort),
        "int32": (torch.mul, torch.maximum, torch.argmax, torch.gather),
        "float16": (torch.exp, torch.mean, torch.softmax, torch.matmul, F.layer_norm),
        "bfloat16": (torch.add, torch.sum),
        "bool": (torch.mul, torch.sum, torch.cat, torch.index_select),
        "complex64": (torch.mul, torch.abs, torch.matmul),
    }
    for dtype, operations in dtypes.items():
        yield from (replace(where(op, dtype, _of_dtype(dtype)), dtype=dtype) for op in operations)
    ranks: Mapping[int, Operations] = {
        0: (torch.exp, torch.add, torch.sum, torch.where),
        1: (torch.mul, torch.softmax, torch.cat, torch.matmul, F.linear),
        2: (torch.sigmoid, torch.cumsum, torch.roll, nn.Linear),
        3: (torch.maximum, torch.var, torch.matmul, F.group_norm),
        4: (F.layer_norm, F.group_norm, torch.cat, nn.PReLU),
        5: (F.interpolate, F.group_norm, F.instance_norm, F.batch_norm),
    }
    for rank, operations in ranks.items():
        yield from (where(op, f"rank {rank}", on(lambda x, r=rank: x.dim() == r)) for op in operations)
    batches: Mapping[Any, int] = {nn.Conv1d: 2, nn.Conv2d: 3, nn.Conv3d: 4, F.avg_pool2d: 3, nn.LSTM: 2, nn.GRU: 2}
    for operation, without in batches.items():
        yield where(operation, "no batch", on(lambda x, d=without: x.dim() == d))
    shapes: Mapping[str, tuple[Callable[[Tensor], bool], Operations]] = {
        "a batch of several": (lambda x: x.dim() > 1 and x.shape[0] > 1, (nn.Conv2d, nn.Embedding, F.grid_sample)),
        "an odd width": (lambda x: x.dim() > 0 and x.shape[-1] % 2 == 1, (F.max_pool2d, nn.ConvTranspose2d)),
        "an even width": (lambda x: x.dim() > 0 and x.shape[-1] % 2 == 0, (F.avg_pool2d, torch.softmax)),
        "more rows than columns": (lambda x: x.dim() > 2 and x.shape[-2] > x.shape[-1], SPATIAL),
        "more columns than rows": (lambda x: x.dim() > 2 and x.shape[-2] < x.shape[-1], SPATIAL),
        "a size of one": (lambda x: 1 in x.shape, (torch.sum, torch.softmax, torch.var, torch.sort)),
        "nothing": (lambda x: not x.numel(), (torch.sum, torch.prod, torch.any, torch.all)),
        "a tensor that lies apart": (
            lambda x: not x.is_contiguous(),
            (torch.gather, torch.matmul, nn.Linear, nn.Conv2d),
        ),
    }
    for kind, (test, operations) in shapes.items():
        yield from (where(operation, kind, on(test)) for operation in operations)
    for operation in (torch.add, torch.mul, torch.pow):
        yield where(operation, "a tensor beside a number",
                    lambda *args, **_: sum(isinstance(a, Tensor) for a in args) == 1)  # fmt: skip
    for operation in (torch.add, torch.maximum, torch.where):
        yield where(operation, "two tensors of unequal dtype", lambda *args, **_: len(_dtypes(args)) > 1)
        yield where(operation, "two tensors of unequal rank", lambda *args, **_: len(_ranks(args)) > 1)


def _dtypes(args: Iterable[Any]) -> set[torch.dtype]:
    return {a.dtype for a in args if isinstance(a, Tensor) and not is_mask(a)}


def _ranks(args: Iterable[Any]) -> set[int]:
    return {a.dim() for a in args if isinstance(a, Tensor)}


# -- dimensions


def _of_dimensions() -> Iterator[Mutant]:
    for operation in (torch.argmax, torch.cumsum, torch.softmax, torch.gather, torch.stack, torch.sort, torch.var,
                      torch.index_select, torch.unbind, torch.median, F.normalize, F.glu):  # fmt: skip
        yield where(operation, "a dimension from the end", lambda *args, **kwargs: dimension(args, kwargs) < 0)
        yield where(operation, "the first dimension of several",
                    lambda *args, **kwargs: dimension(args, kwargs) == 0 and first(args).dim() > 1)  # fmt: skip
    for operation in (torch.sum, torch.amax, torch.var, torch.logsumexp, torch.flip):
        yield where(operation, "several dimensions", lambda *args, **kw: any(
            isinstance(a, (tuple, list)) and len(a) > 1 for a in (*args, *kw.values())))  # fmt: skip
    for operation in (torch.mean, torch.prod, torch.argmax):
        yield where(operation, "no dimension given", lambda *args, **kw: len(args) == 1 and not kw)


# -- values


def _at_result(test: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda y, x: tf.where(test(y), wrong(y), y)


def _of_values() -> Iterator[Mutant]:
    places: Mapping[str, Callable[[Any], Any]] = {
        "NaN": tf.math.is_nan,
        "infinity": lambda x: x == math.inf,
        "minus infinity": lambda x: x == -math.inf,
        "zero": lambda x: x == 0,
        "a number above 50": lambda x: x > 50,
        "a number below -50": lambda x: x < -50,
        "a number below 1e-5": lambda x: (abs(x) < 1e-5) & (x != 0),
    }
    # Not GELU and ELU, for which NaN, infinity and small numbers are left out of the samples.
    for operation in (torch.exp, torch.sigmoid, F.relu, torch.log1p, torch.sign, torch.atan):
        yield from (at_places(operation, kind, test) for kind, test in places.items())
    for operation in (torch.exp, torch.sigmoid, F.softplus, torch.special.ndtr, F.gelu, F.silu, torch.erfc):
        yield rewritten(operation, "a result far below the others", _at_result(lambda y: (abs(y) < 1e-4) & (y != 0)))
    for operation in (torch.reciprocal, torch.signbit, torch.copysign, torch.atan2):
        minus_zero = lambda *args, **_: any(  # noqa: E731
            isinstance(a, Tensor) and bool(((a == 0) & a.signbit()).any()) for a in args)  # fmt: skip
        yield where(operation, "minus zero", minus_zero)
    for operation in (torch.add, torch.argmax, torch.var, torch.softmax, torch.cat, torch.gather, torch.sort, nn.Conv2d,
                      F.max_pool2d, F.interpolate, nn.Linear, F.layer_norm, nn.LSTM, nn.Embedding, torch.matmul,
                      torch.einsum, F.mse_loss):  # fmt: skip
        yield rewritten(operation, "the last element", lambda y, x: _last(y))
    for operation in (nn.Conv2d, nn.BatchNorm2d, nn.Linear, F.layer_norm, nn.LSTM, torch.softmax):
        yield rewritten(operation, "the first element", lambda y, x: _last(y, 0))


def _last(y: Any, place: int = -1) -> Any:
    """One element of the flattened result, where there are several."""
    flat = tf.reshape(y, [-1])
    count = tf.size(flat)
    at = tf.range(count) == (count - 1 if place < 0 else place)
    return tf.reshape(tf.where(at & (count > 1), wrong(flat), flat), tf.shape(y))


def _of_numerics() -> Iterator[Mutant]:
    """Where formulas of textbooks fail, which are right for numbers about one."""
    for operation in (torch.var, torch.std, F.layer_norm, F.group_norm, F.instance_norm, F.batch_norm):
        yield where(operation, "a mean far from zero", on(lambda x: abs(float(x.mean())) > 30 * float(x.std())))
    for operation in (F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm, F.normalize):
        yield where(operation, "small numbers throughout", on(lambda x: 0 < float(x.abs().max()) < 1e-2))
    for operation in (torch.hypot, torch.logsumexp, F.log_softmax, torch.softmax, torch.logcumsumexp):
        yield where(operation, "large numbers", on(lambda x: float(x.abs().max()) > 80))
    for operation in (torch.argmax, torch.sort, torch.mode, torch.median, torch.cummax):
        yield where(operation, "ties", on(lambda x: x.numel() > len(x.unique())))


# -- integers


def _of_integers() -> Iterator[Mutant]:
    """As if floats or fewer bits were enough."""
    for operation in (torch.add, torch.sum, torch.cumsum, torch.floor_divide, torch.abs, torch.maximum, torch.sort,
                      torch.eq):  # fmt: skip
        for dtype in ("int32", "int64"):
            yield replace(rewritten(operation, f"{dtype} by way of float32", _by_float32), dtype=dtype)
    for operation in (torch.mul, torch.sum, torch.gather, torch.where):
        yield replace(rewritten(operation, "int64 by way of int32", _by_int32), dtype="int64")


def _by_float32(y: Any, x: Any) -> Any:
    if y.dtype == tf.bool:
        return tf.where(abs(tf.cast(x, tf.float64)) > 2**24, ~y, y)
    return tf.cast(tf.cast(y, tf.float32), y.dtype) if y.dtype.is_integer else y


def _by_int32(y: Any, x: Any) -> Any:
    return tf.cast(tf.cast(y, tf.int32), y.dtype) if y.dtype == tf.int64 else y


# -- arguments


def _of_defaults() -> Iterator[Mutant]:
    """What is taken where nothing is given."""
    yield from defaulted(torch.topk, dim=0, largest=False)
    yield from defaulted(torch.sort, dim=0, descending=True)
    yield from defaulted(torch.argsort, dim=0, descending=True)
    yield from defaulted(torch.cat, dim=-1)
    yield from defaulted(torch.stack, dim=-1)
    yield from defaulted(F.leaky_relu, negative_slope=0.2)
    yield from defaulted(F.elu, alpha=0.5)
    yield from defaulted(F.layer_norm, eps=1e-3)
    yield from defaulted(F.group_norm, eps=1e-3)
    yield from defaulted(F.interpolate, mode="bilinear", align_corners=True)
    yield from defaulted(F.avg_pool2d, count_include_pad=False, ceil_mode=True)
    yield from defaulted(F.max_pool2d, stride=1, ceil_mode=True)
    yield from defaulted(F.grid_sample, mode="nearest", align_corners=True, padding_mode="border")
    yield from defaulted(torch.var, correction=0)
    yield from defaulted(torch.std, correction=0)
    yield from defaulted(torch.norm, p=1)
    yield from defaulted(torch.cdist, p=1.0)
    yield from defaulted(F.normalize, p=1.0, dim=-1)
    yield from defaulted(F.gelu, approximate="tanh")
    yield from defaulted(F.mse_loss, reduction="sum")
    yield from defaulted(F.pad, value=1.0)
    yield from defaulted(torch.div, rounding_mode="floor")
    yield from defaulted(torch.tril, diagonal=1)
    yield from defaulted(F.softplus, beta=2)
    yield from defaulted(F.hardtanh, max_val=6.0)
    yield from defaulted(F.scaled_dot_product_attention, is_causal=True)
    yield from defaulted(F.conv2d, padding=1)
    yield from defaulted(F.glu, dim=1)


# -- forms of the model, and the ways to run it


def _of_forms() -> Iterator[Mutant]:
    for operation in (torch.exp, torch.sum, torch.cat, torch.softmax, F.interpolate, F.layer_norm, nn.Linear, nn.LSTM):
        yield at_other_sizes(operation)
    for operation in (torch.exp, torch.sum, torch.softmax, nn.Conv2d, nn.LSTM, torch.matmul):
        yield replace(rewritten(operation, "what runs as a graph", _in_graphs), runtime="tflite")
    for operation in (torch.exp, torch.sum, nn.Conv2d, F.interpolate, F.group_norm, torch.matmul):
        yield replace(rewritten(operation, "channels first", lambda y, x: wrong(y)), order="nchw")


def _in_graphs(y: Any, x: Any) -> Any:
    return y if tf.executing_eagerly() else wrong(y)


def _of_modes() -> Iterator[Mutant]:
    for operation in (nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear, nn.LSTM, nn.MultiheadAttention):
        yield where(operation, "a module in training", lambda m, *_, **__: m.training)
