"""Random numbers: drawn anew at each call of the converted model, with PyTorch's shape, dtype and distribution.

All come from uniform and normal numbers where they can, which TFLite has.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nobuco.bridge import tf_dtype
from nobuco.converters.support import aligned, cast, promoted, rank, sizes
from nobuco.layout.strategy import ChannelOrderingStrategy, Strategy, broadcasting
from nobuco.ops.names import Tensor, aten, torch
from nobuco.registry import Converter, Named, registry

PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def drawn(*operations: Named, strategy: Strategy = broadcasting) -> Callable[[Callable[..., Any]], Any]:
    """Register an expression whose values cannot be foreseen, so that only shape and dtype are validated."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        make = functools.partial(_always, function)
        registry.add(Converter(operations, function, make, strategy, autocast=False, validate_func=_alike))
        return function

    return register


def _always(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    return function


def _alike(expected: Any, got: Any) -> bool:
    pairs = zip(expected, got) if isinstance(expected, list) else [(expected, got)]
    return all(tuple(a.shape) == tuple(b.shape) for a, b in pairs)


# -- the two that all others are made of ------------------------------------------------------------------------


def _shape(values: Sequence[Any]) -> Any:
    """Sizes, tensors among them or not, as what TensorFlow takes for a shape."""
    return list(values) or tf.zeros([0], tf.int32)


def uniform_numbers(shape: Sequence[Any], dtype: tf.DType) -> tf.Tensor:
    """Numbers from 0 up to, not including, 1; of complex ones, in both parts."""
    if dtype.is_complex:
        return tf.complex(*(uniform_numbers(shape, dtype.real_dtype) for _ in range(2)))
    return tf.random.uniform(_shape(shape), dtype=dtype)


def normal_numbers(shape: Sequence[Any], dtype: tf.DType) -> tf.Tensor:
    """Numbers of mean 0 and variance 1, which complex ones share among their parts."""
    if dtype.is_complex:
        return tf.complex(*(normal_numbers(shape, dtype.real_dtype) * math.sqrt(0.5) for _ in range(2)))
    return tf.random.normal(_shape(shape), dtype=dtype)


def _whole_numbers(shape: Sequence[Any], low: Any, high: Any, dtype: tf.DType) -> tf.Tensor:
    """Whole numbers from `low` up to, not including, `high`."""
    span = high - low
    if isinstance(span, int) and span > 2**24:  # more than a float32 tells apart
        if span >= 2**63:
            low, high = max(low, -(2**63)), min(high, 2**63 - 1)
        return cast(tf.random.uniform(_shape(shape), low, high, tf.int64), dtype)
    steps = tf.floor(tf.random.uniform(_shape(shape)) * tf.cast(span, tf.float32))
    return cast(cast(tf.minimum(steps, tf.cast(span - 1, tf.float32)), tf.int64) + tf.cast(low, tf.int64), dtype)


def _exponential_numbers(shape: Sequence[Any], dtype: tf.DType) -> tf.Tensor:
    return -tf.math.log1p(-uniform_numbers(shape, dtype))


def _dtype(dtype: torch.dtype | None, default: torch.dtype | None = None) -> tf.DType:
    return tf_dtype(dtype or default or torch.get_default_dtype())


# -- of a given size --------------------------------------------------------------------------------------------


@drawn(torch.rand, strategy=PYTORCH_ORDER)
def rand(size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """rand(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return uniform_numbers(size, _dtype(dtype))


@drawn(torch.randn, strategy=PYTORCH_ORDER)
def randn(size: Sequence[Any], *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """randn(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return normal_numbers(size, _dtype(dtype))


@drawn(torch.randint, strategy=PYTORCH_ORDER)
def randint(high: Any, size: Sequence[Any], low: Any = 0, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """randint.low(SymInt low, SymInt high, SymInt[] size, *, ScalarType? dtype=4, ...) -> Tensor"""
    return _whole_numbers(size, low, high, _dtype(dtype, torch.int64))


@drawn(torch.randperm, strategy=PYTORCH_ORDER)
def randperm(n: Any, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """randperm(SymInt n, *, ScalarType? dtype=4, ...) -> Tensor"""
    return cast(tf.math.top_k(tf.random.uniform([n]), n)[1], _dtype(dtype, torch.int64))


# -- of the size of another ---------------------------------------------------------------------------------------


@drawn(torch.rand_like)
def rand_like(input: tf.Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """rand_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return uniform_numbers(sizes(input), tf_dtype(dtype) if dtype else input.dtype)


@drawn(torch.randn_like)
def randn_like(input: tf.Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """randn_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return normal_numbers(sizes(input), tf_dtype(dtype) if dtype else input.dtype)


@drawn(torch.randint_like)
def randint_like(input: tf.Tensor, high: Any, low: Any = 0, *, dtype: torch.dtype | None = None, **_: Any) -> tf.Tensor:
    """randint_like.low_dtype(Tensor self, SymInt low, SymInt high, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _whole_numbers(sizes(input), low, high, tf_dtype(dtype) if dtype else input.dtype)


@drawn(Tensor.uniform_, aten.uniform.default)
def uniform(input: tf.Tensor, low: float = 0.0, to: float = 1.0, *, generator: Any = None) -> tf.Tensor:
    """uniform(Tensor self, float from=0, float to=1, *, Generator? generator=None) -> Tensor"""
    return uniform_numbers(sizes(input), input.dtype) * (to - low) + low


@drawn(Tensor.normal_, aten.normal_functional.default)
def normal_(input: tf.Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> tf.Tensor:
    """normal_functional(Tensor self, float mean=0, float std=1, *, Generator? generator=None) -> Tensor"""
    return normal_numbers(sizes(input), input.dtype) * std + mean


@drawn(Tensor.log_normal_, aten.log_normal.default)
def log_normal(input: tf.Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> tf.Tensor:
    """log_normal(Tensor self, float mean=1, float std=2, *, Generator? generator=None) -> Tensor"""
    return tf.exp(normal_(input, mean, std))


@drawn(Tensor.exponential_, aten.exponential.default)
def exponential(input: tf.Tensor, lambd: float = 1.0, *, generator: Any = None) -> tf.Tensor:
    """exponential(Tensor self, float lambd=1, *, Generator? generator=None) -> Tensor"""
    return _exponential_numbers(sizes(input), input.dtype) / lambd


@drawn(Tensor.cauchy_, aten.cauchy.default)
def cauchy(input: tf.Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> tf.Tensor:
    """cauchy(Tensor self, float median=0, float sigma=1, *, Generator? generator=None) -> Tensor"""
    angle = math.pi * (uniform_numbers(sizes(input), input.dtype) - 0.5)
    return median + sigma * tf.sin(angle) / tf.cos(angle)


@drawn(Tensor.geometric_, aten.geometric.default)
def geometric(input: tf.Tensor, p: float, *, generator: Any = None) -> tf.Tensor:
    """geometric(Tensor self, float p, *, Generator? generator=None) -> Tensor"""
    tries = tf.math.ceil(_exponential_numbers(sizes(input), tf.float32) / -math.log1p(-p))
    return cast(tf.maximum(tries, 1), input.dtype)


_WHOLE_UP_TO = {tf.float64: 2**53, tf.float32: 2**24, tf.float16: 2**11, tf.bfloat16: 2**8, tf.bool: 1}


@drawn(Tensor.random_, aten.random.default, aten.random.to, getattr(aten.random, "from"))
def random(input: tf.Tensor, low: int = 0, to: int | None = None, *, generator: Any = None) -> tf.Tensor:
    """random.from(Tensor self, int from, int? to, *, Generator? generator=None) -> Tensor"""
    if to is None:
        to = _WHOLE_UP_TO[input.dtype] + 1 if input.dtype in _WHOLE_UP_TO else input.dtype.max + 1
    return _whole_numbers(sizes(input), low, to, input.dtype)


# -- with parameters of their own for each element ------------------------------------------------------------------


def _shape_of_both(a: Any, b: Any) -> list[Any]:
    first, second = (x if tf.is_tensor(x) else tf.constant(x, tf.float32) for x in (a, b))
    shape = tf.broadcast_static_shape(first.shape, second.shape)
    return shape.as_list() if shape.is_fully_defined() else tf.unstack(tf.shape(first + second))


@drawn(torch.normal)
def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, dtype: Any = None, **_: Any) -> tf.Tensor:
    """normal.Tensor_Tensor(Tensor mean, Tensor std, *, Generator? generator=None) -> Tensor"""
    if size is not None:
        return normal_numbers(size, _dtype(dtype)) * std + mean
    mean, std = aligned(*promoted(mean, std))
    dtype = mean.dtype if tf.is_tensor(mean) else std.dtype
    return normal_numbers(_shape_of_both(mean, std), dtype) * std + mean


@drawn(torch.bernoulli)
def bernoulli(input: tf.Tensor, p: float | None = None, *, generator: Any = None, **_: Any) -> tf.Tensor:
    """bernoulli(Tensor self, *, Generator? generator=None) -> Tensor"""
    return bernoulli_(input, input if p is None else p)


@drawn(Tensor.bernoulli_, aten.bernoulli.Tensor)
def bernoulli_(input: tf.Tensor, p: Any = 0.5, *, generator: Any = None) -> tf.Tensor:
    """bernoulli_.Tensor(Tensor(a!) self, Tensor p, *, Generator? generator=None) -> Tensor(a!)"""
    input, p = aligned(input, p)
    wide = p.dtype if tf.is_tensor(p) and p.dtype.is_floating else tf.float32
    return cast(tf.random.uniform(_shape(sizes(input)), dtype=wide) < tf.cast(p, wide), input.dtype)


@drawn(torch.poisson)
def poisson(input: tf.Tensor, generator: Any = None) -> tf.Tensor:
    """poisson(Tensor self, Generator? generator=None) -> Tensor"""
    return cast(tf.random.poisson([], cast(input, tf.float32)), input.dtype)


@drawn(torch.binomial)
def binomial(count: tf.Tensor, prob: tf.Tensor, generator: Any = None) -> tf.Tensor:
    """binomial(Tensor count, Tensor prob, Generator? generator=None) -> Tensor"""
    count, prob = aligned(count, prob)
    seed = tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)
    shape = _shape_of_both(count, prob)
    return tf.random.stateless_binomial(_shape(shape), seed, count, prob, output_dtype=count.dtype)


@drawn(torch._standard_gamma)
def standard_gamma(input: tf.Tensor, generator: Any = None) -> tf.Tensor:
    """_standard_gamma(Tensor self, Generator? generator=None) -> Tensor"""
    return tf.random.gamma([], input, dtype=input.dtype)


@drawn(torch._sample_dirichlet, strategy=PYTORCH_ORDER)
def sample_dirichlet(input: tf.Tensor, generator: Any = None) -> tf.Tensor:
    """_sample_dirichlet(Tensor self, Generator? generator=None) -> Tensor"""
    shares = standard_gamma(input)
    return shares / tf.reduce_sum(shares, -1, keepdims=True)


@drawn(torch.multinomial, strategy=PYTORCH_ORDER)
def multinomial(input: tf.Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> tf.Tensor:
    """multinomial(Tensor self, SymInt num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor"""
    rows = input if rank(input) == 2 else input[tf.newaxis]
    if replacement:
        found = tf.random.categorical(tf.math.log(rows), num_samples)
    else:  # what comes first, where each comes after a time of its own
        waits = tf.maximum(_exponential_numbers(sizes(rows), tf.float32), 1e-30)
        found = cast(tf.math.top_k(tf.cast(rows, tf.float32) / waits, num_samples)[1], tf.int64)
    return found if rank(input) == 2 else found[0]
