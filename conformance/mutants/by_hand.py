"""The faults that people make by hand: other numbers, other ends, other orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

from conformance.mutants.rules import Mutant, altered, spoiled
from nobuco.converters.support import aligned, axis, cast, promoted, rank
from nobuco.layout.movement import Permute, Reshape, Step

Arguments = tuple[Any, ...]

BATCHED = (nn.Conv2d, nn.BatchNorm2d, F.max_pool2d, nn.LSTM, F.interpolate)
SPATIAL = (nn.Conv2d, F.avg_pool2d, F.max_pool2d, F.interpolate)


# -- numbers


def real(x: Any) -> Any:
    """A floating tensor, of integers too."""
    return promoted(x, to_float=True)[0]


def truncated(x: Any) -> Any:
    """Towards zero."""
    return tf.where(x < 0, tf.math.ceil(x), tf.floor(x)) if x.dtype.is_floating else x


def away_from_zero(x: Any, decimals: int = 0) -> Any:
    """As on paper."""
    scaled = x * 10.0**decimals
    return tf.sign(scaled) * tf.floor(tf.abs(scaled) + 0.5) / 10.0**decimals


def naive_logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    """It overflows."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    over = [axis(x, d) for d in dims] if rank(x) else []
    return tf.math.log(tf.reduce_sum(tf.exp(real(x)), over, keepdims=keepdim))


def naive_log_softmax(x: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Its small values are minus infinity."""
    return tf.math.log(tf.nn.softmax(real(x), axis(x, dim))) if rank(x) else tf.zeros_like(real(x))


def half_up(x: Any, decimals: int = 0) -> Any:
    """Of negative numbers, too."""
    return tf.floor(x * 10.0**decimals + 0.5) / 10**decimals


def naive_asinh(x: Any) -> Any:
    """Small numbers lose their digits."""
    x = real(x)
    return tf.math.log(x + tf.sqrt(x**2 + 1))


def naive_logaddexp(input: Any, other: Any) -> Any:
    """It overflows."""
    input, other = pair(input, other)
    return tf.math.log(tf.exp(input) + tf.exp(other))


def heaviside_of_zero(input: Any, values: Any) -> Any:
    """One, whatever it should be."""
    input, values = pair(input, values)
    return tf.cast(input >= 0, input.dtype) + 0 * values


def power_of_absolute(input: Any, exponent: Any) -> Any:
    """As by the logarithm."""
    input, exponent = pair(input, exponent, to_float=False)
    return tf.pow(tf.abs(input), exponent)


def pair(a: Any, b: Any, to_float: bool = True) -> list[Any]:
    """Two operands, laid out alike and of one dtype."""
    return aligned(*promoted(a, b, to_float=to_float))


def naive_softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    """It overflows, and ends at no threshold."""
    return tf.math.log(1 + tf.exp(x * beta)) / beta


def last_argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """From the other end."""
    flat = tf.reshape(x, [-1]) if dim is None else x
    along = axis(flat, dim or 0) if rank(flat) else 0
    if not rank(flat):
        return tf.zeros([], tf.int64)
    found = flat.shape[along] - 1 - tf.argmax(tf.reverse(flat, [along]), along, tf.int64)
    if dim is None:
        return tf.reshape(found, [1] * rank(x)) if keepdim else found
    return tf.expand_dims(found, along) if keepdim else found


def last_argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """From the other end."""
    return last_argmax(-x, dim, keepdim)


def copysign_of_zero(input: Any, other: Any) -> Any:
    """By comparison with zero."""
    input, other = pair(input, other)
    return tf.where(other < 0, -tf.abs(input), tf.abs(input))


def maximum_without_nan(input: Any, other: Any) -> Any:
    """The number where there is one."""
    input, other = pair(input, other, to_float=False)
    if not input.dtype.is_floating:
        return tf.maximum(input, other)
    return tf.where(tf.math.is_nan(input), other, tf.where(tf.math.is_nan(other), input, tf.maximum(input, other)))


def other_filled(input: Any, mask: Any, value: Any) -> Any:
    """Filled where the mask is False."""
    return tf.where(mask, input, cast(value, input.dtype))


def ascending(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Never the other way."""
    return tf.argsort(input, axis(input, dim), stable=True) if rank(input) else tf.zeros([], tf.int32)


# -- arguments


def with_negated_mask(query: Any, key: Any, value: Any, mask: Any = None, *rest: Any) -> Arguments:
    """Of booleans only."""
    is_bool = mask is not None and mask.dtype in (torch.bool, tf.bool)
    return (query, key, value, ~mask if is_bool else mask, *rest)


def with_mode(wanted: str, instead: str) -> Callable[..., Arguments]:
    """One mode of padding for another, where it is given by position."""

    def before(input: Any, pad: Any, mode: str = "constant", *rest: Any) -> Arguments:
        return (input, pad, instead if mode == wanted else mode, *rest)

    return before


def with_pad_reversed(input: Any, pad: Any, *rest: Any) -> Arguments:
    """Before is behind."""
    pairs = [(pad[i + 1], pad[i]) for i in range(0, len(pad), 2)]
    return (input, tuple(n for pair in pairs for n in pair), *rest)


# -- modules


def _with_weights(module: nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor]) -> nn.Module:
    changed = {name: nn.Parameter(change(name, p.detach())) for name, p in module.named_parameters(recurse=False)}
    return altered(module, **changed)


def with_gates_swapped(module: nn.Module, *args: Any) -> Arguments:
    """The first two gates."""
    count = 4 if isinstance(module, nn.LSTM) else 3

    def change(name: str, weight: torch.Tensor) -> torch.Tensor:
        first, second, *rest = weight.chunk(count)
        return weight if "hr" in name else torch.cat([second, first, *rest])

    return (_with_weights(module, change), *args)


def with_bias_before_reset(module: nn.Module, *args: Any) -> Arguments:
    """As in Keras's GRU with reset_after=False."""
    held = dict(module.named_parameters(recurse=False))

    def change(name: str, weight: torch.Tensor) -> torch.Tensor:
        if not name.startswith("bias"):
            return weight
        own = held[name.replace("hh", "ih")].detach().clone()
        other = held[name.replace("ih", "hh")].detach().clone()
        width = len(own) // 3
        own[2 * width :] += other[2 * width :]
        other[2 * width :] = 0
        return other if "hh" in name else own

    return (_with_weights(module, change), *args)


def without_state(module: nn.Module, input: Any, state: Any = None, *rest: Any) -> Arguments:
    """None was given, as it were."""
    return (module, input)


def without_cell_state(module: nn.Module, input: Any, state: Any = None) -> Arguments:
    """The other one is kept."""
    return (module, input, state) if state is None else (module, input, (state[0], 0 * state[1]))


def one_direction(module: nn.Module, *args: Any) -> Arguments:
    """Twice the same weights."""
    held = dict(module.named_parameters(recurse=False))
    return (_with_weights(module, lambda name, _: held[name.removesuffix("_reverse")].detach()), *args)


def one_slope(module: nn.Module, *args: Any) -> Arguments:
    """That of the first channel."""
    return (_with_weights(module, lambda _, weight: weight[:1].expand_as(weight).clone()), *args)


def padding_row_zero(module: nn.Embedding, *args: Any) -> Arguments:
    """Whatever the row holds."""
    if module.padding_idx is None:
        return (module, *args)
    row = torch.arange(module.num_embeddings) == module.padding_idx
    return (_with_weights(module, lambda _, weight: weight.masked_fill(row[:, None], 0.0)), *args)


def circular_as_reflect(module: nn.Conv2d, *args: Any) -> Arguments:
    """The mode alone is another."""
    return (altered(module, padding_mode="reflect") if module.padding_mode == "circular" else module, *args)


def same_before(module: nn.Conv2d, *args: Any) -> Arguments:
    """Where the kernel's reach is odd it matters."""
    if module.padding != "same":
        return (module, *args)
    sides = module._reversed_padding_repeated_twice
    turned = [sides[i ^ 1] for i in range(len(sides))]
    # Read where the mode is not 'zeros'; a constant mode under another name does not exist, so replicated edges differ.
    return (altered(module, padding_mode="replicate", _reversed_padding_repeated_twice=turned), *args)


# -- movements


def depth_to_space(input: Sequence[int], upscale_factor: int) -> list[Step]:
    """Channels vary fastest."""
    r, lead = upscale_factor, len(input) - 3
    *batch, c, h, w = input
    return [
        Reshape((*batch, r, r, c // r**2, h, w)),
        Permute((*range(lead), *(lead + i for i in (2, 3, 0, 4, 1)))),
        Reshape((*batch, c // r**2, h * r, w * r)),
    ]


def space_to_depth(input: Sequence[int], downscale_factor: int) -> list[Step]:
    """Channels vary fastest."""
    r, lead = downscale_factor, len(input) - 3
    *batch, c, h, w = input
    return [
        Reshape((*batch, c, h // r, r, w // r, r)),
        Permute((*range(lead), *(lead + i for i in (2, 4, 0, 1, 3)))),
        Reshape((*batch, c * r**2, h // r, w // r)),
    ]


def other_shuffle(input: Sequence[int], groups: int) -> list[Step]:
    """The inverse."""
    b, c, *spatial = input
    return [
        Reshape((b, c // groups, groups, *spatial)),
        Permute((0, 2, 1, *range(3, len(spatial) + 3))),
        Reshape((b, c, *spatial)),
    ]


# -- places


def _at(results: Any, where: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """Half of each value where a mask says so, which is made of the first result's shape."""

    def change(x: Any) -> Any:
        return tf.where(where(x), x / 2, x) if x.dtype.is_floating and len(x.shape) else x

    return tf.nest.map_structure(change, results)


def last_sample_half(results: Any) -> Any:
    """Where there is more than one."""

    def where(x: tf.Tensor) -> tf.Tensor:
        count = tf.shape(x)[0]
        last = (tf.range(count) == count - 1) & (count > 1)
        return tf.reshape(last, [-1] + [1] * (len(x.shape) - 1))

    return _at(results, where)


def last_place_half(results: Any) -> Any:
    """Along the last spatial axis of a channels-last tensor."""

    def where(x: tf.Tensor) -> tf.Tensor:
        width = tf.shape(x)[-2]
        return (tf.range(width) == width - 1)[:, tf.newaxis]

    return _at(results, where) if len(tf.nest.flatten(results)[0].shape) > 2 else results


def first_sample_for_all(results: Any) -> Any:
    """Copied over the others."""
    return tf.broadcast_to(results[:1], tf.shape(results)) if len(results.shape) > 1 else results


def at_odd(operation: Any) -> Mutant:
    """Half of the last place where the width is odd."""

    def after(results: Any) -> Any:
        width = results.shape[-2] if len(results.shape) > 2 else 0
        return last_place_half(results) if width % 2 else results

    return spoiled(operation, "the last place of an odd width is half", after)
