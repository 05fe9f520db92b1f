"""Wrong where a test seldom looks: two arguments at once, one axis, a dtype of results, the second call.

Each kind is put into operations of several families, as in `kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.mutants.asking import Condition, dimension, first, has, on
from conformance.mutants.rules import (
    Mutant,
    at_other_sizes,
    defaulted,
    of_rows,
    on_later_calls,
    spoiled,
    where,
)


def sly() -> Iterator[Mutant]:
    """All of them."""
    yield from of_rows(_of_two_arguments())
    yield from _of_axes()
    yield from _of_integers()
    yield from _of_dtypes()
    yield from _of_sizes()
    yield from _of_defaults()
    yield from _of_memory()


def _of_two_arguments() -> Iterator[tuple[Any, Mapping[str, Condition]]]:
    """Right for either alone."""
    yield nn.Conv2d, {
        "a stride and reflected padding": lambda m, x: max(m.stride) > 1 and m.padding_mode == "reflect",
        "a dilation and a stride": lambda m, x: max(m.stride) > 1 and max(m.dilation) > 1,
        "groups without bias": lambda m, x: m.groups > 1 and m.bias is None,
    }  # fmt: skip
    yield F.avg_pool2d, {
        "a ceiling and padding": lambda x, k, stride=None, padding=0, ceil_mode=False, *_, **__:
            bool(ceil_mode) and padding not in (0, (0, 0)),
        "a divisor and padding": lambda x, k, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None: divisor_override is not None and padding not in (0, (0, 0)),
    }  # fmt: skip
    yield torch.var, {
        "another correction, kept dimensions":
            lambda x, dim=None, *_, correction=1, keepdim=False, **__: correction != 1 and keepdim,
    }  # fmt: skip
    yield torch.sum, {
        "a dimension from the end that is kept": lambda x, dim=None, keepdim=False, **__:
            keepdim and dim is not None and any(d < 0 for d in (dim if isinstance(dim, (tuple, list)) else [dim])),
    }  # fmt: skip
    yield torch.topk, {
        "the smallest along another dimension":
            lambda x, k, dim=-1, largest=True, sorted=True: not largest and dim not in (-1, x.dim() - 1),
    }  # fmt: skip
    yield nn.LSTM, {
        "both directions and several layers": lambda m, x, *_: m.bidirectional and m.num_layers > 1,
        "a batch in front and a state": lambda m, x, hx=None: m.batch_first and hx is not None,
        "a projection in both directions": lambda m, x, *_: m.bidirectional and m.proj_size > 0,
    }  # fmt: skip
    yield F.softplus, {
        "beta and a threshold": lambda x, beta=1, threshold=20: beta != 1 and threshold != 20,
    }  # fmt: skip


def _of_axes() -> Iterator[Mutant]:
    for operation in (torch.softmax, torch.cumsum, torch.argmax, torch.gather, torch.stack, torch.sort, F.glu):
        yield where(operation, "the last but one dimension, from the end", lambda *a, **k: dimension(a, k) == -2)
    for operation in (torch.softmax, torch.cumsum, torch.var, torch.sort, torch.argmax):
        yield where(operation, "a size of one along the dimension",
                    lambda *a, **k: first(a).dim() > 1 and first(a).shape[dimension(a, k) or 0] == 1)  # fmt: skip
    for operation in (torch.cat, torch.matmul, F.interpolate, nn.Linear, torch.sum):
        yield where(operation, "a batch of one",
                    on(lambda x: x.dim() > 1 and x.shape[0] == 1))  # fmt: skip
    for operation in (torch.add, torch.where, torch.maximum, torch.pow):
        yield where(operation, "two tensors that both grow", _both_grow)


def _both_grow(*args: Any, **_: Any) -> bool:
    tensors = [a for a in args if isinstance(a, Tensor)][-2:]
    shape = torch.broadcast_shapes(*(x.shape for x in tensors))
    return len(tensors) > 1 and all(x.shape != shape for x in tensors)


def _of_integers() -> Iterator[Mutant]:
    for operation in (
        torch.exp,
        torch.sqrt,
        torch.sigmoid,
        torch.div,
        torch.floor_divide,
        torch.remainder,
        torch.clamp,
    ):
        for dtype in ("int64", "int32"):
            yield replace(where(operation, dtype, has(lambda x, d=dtype: x.dtype is getattr(torch, d))), dtype=dtype)
    for operation in (torch.floor_divide, torch.remainder, torch.fmod):
        below = has(lambda x: not x.is_floating_point() and (x < 0).any())
        yield replace(where(operation, "integers below zero", below), dtype="int64")


def _of_dtypes() -> Iterator[Mutant]:
    """The numbers are right."""

    def as_(dtype: Any, of: Any) -> Any:
        return lambda results: tf.nest.map_structure(lambda y: tf.cast(y, dtype) if y.dtype == of else y, results)

    for operation in (torch.argmax, torch.topk, torch.sort, torch.nonzero, torch.searchsorted):
        yield spoiled(operation, "places in 32 bits", as_(tf.int32, tf.int64))
    for operation in (torch.sum, torch.cumsum, torch.prod):
        yield replace(spoiled(operation, "a sum in 32 bits", as_(tf.int32, tf.int64)), dtype="int32")
    for operation in (torch.eq, torch.isnan, torch.logical_and):
        yield spoiled(operation, "truth as numbers", as_(tf.int32, tf.bool))
    for operation in (torch.exp, torch.mean, torch.add):
        yield replace(spoiled(operation, "float32 for half", as_(tf.float32, tf.float16)), dtype="float16")


def _of_sizes() -> Iterator[Mutant]:
    """Only at some of the sizes that a dynamic axis may have."""
    for operation in (torch.softmax, torch.sum, nn.Conv2d, F.interpolate):
        yield at_other_sizes(operation, "a larger first axis", lambda now, then: now[0] > then[0])
        yield at_other_sizes(operation, "a larger last axis", lambda now, then: now[-1] > then[-1])
        yield at_other_sizes(operation, "a smaller axis", lambda now, then: tf.reduce_any(now < then))


def _of_defaults() -> Iterator[Mutant]:
    """A number near the right one."""
    yield from defaulted(F.layer_norm, eps=1e-6)
    yield from defaulted(F.batch_norm, eps=1e-6)
    yield from defaulted(F.instance_norm, eps=1e-6)
    yield from defaulted(nn.BatchNorm2d, eps=1e-3)
    yield from defaulted(F.local_response_norm, alpha=1e-3, beta=0.5)
    yield from defaulted(torch.cosine_similarity, eps=1e-6)
    yield from defaulted(torch.pairwise_distance, eps=1e-4)
    yield from defaulted(F.normalize, eps=1e-6)
    yield from defaulted(F.softshrink, lambd=0.4)
    yield from defaulted(F.elu, alpha=0.9)
    yield from defaulted(F.hardtanh, min_val=-0.9)
    yield from defaulted(F.scaled_dot_product_attention, scale=math.sqrt(0.5))
    yield from defaulted(F.huber_loss, delta=0.9)
    yield from defaulted(F.smooth_l1_loss, beta=0.9)
    yield from defaulted(torch.isclose, rtol=1e-4, atol=1e-7)


def _of_memory() -> Iterator[Mutant]:
    """Right once."""
    for operation in (torch.exp, torch.sum, F.interpolate, nn.Linear, nn.Conv2d):
        yield on_later_calls(operation)
