"""Control flow: `torch.cond`, `while_loop`, `map` and `scan` as TensorFlow's, their bodies built as functions.

A converter here is given the built regions first, each `tensors -> list of tensors`, then the arguments of the
call; the last argument holds the outer tensors that the regions read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from nobuco.layers.sizes import sizes
from nobuco.layout.strategy import ChannelOrderingStrategy
from nobuco.ops.names import torch
from nobuco.registry import converter

Region = Callable[..., list[Any]]
Tensors = Sequence[Any]
Rows = Any  # a TensorArray or a tensor
_OPERATORS = torch.ops.higher_order


@converter(_OPERATORS.cond, channel_ordering_strategy=ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS, autocast=False)
def converter_cond(regions: Sequence[Region], pred: Any, captured: Tensors) -> Callable[..., Any]:
    """cond(Tensor pred, true_fn, false_fn, operands) -> Tensor[]"""
    if_true, if_false = regions

    def func(pred: tf.Tensor, captured: Tensors) -> list[tf.Tensor]:
        return tf.cond(_truth(pred), lambda: if_true(*captured), lambda: if_false(*captured))

    return func


@converter(
    _OPERATORS.while_loop, channel_ordering_strategy=ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS, autocast=False
)
def converter_while_loop(regions: Sequence[Region], carried: Tensors, captured: Tensors) -> Callable[..., Any]:
    """while_loop(cond_fn, body_fn, Tensor[] carried_inputs, Tensor[] additional_inputs) -> Tensor[]"""
    test, step = regions

    def func(carried: Tensors, captured: Tensors) -> list[tf.Tensor]:
        return tf.while_loop(
            lambda *state: _truth(test(*state, *captured)[0]),
            lambda *state: _shaped_like(step(*state, *captured), carried),
            list(carried),
        )

    return func


@converter(_OPERATORS.map_impl, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER, autocast=False)
def converter_map(regions: Sequence[Region], xs: Tensors, captured: Tensors) -> Callable[..., Any]:
    """map_impl(f, Tensor[] xs, Tensor[] pos_args) -> Tensor[]"""
    (body,) = regions

    def func(xs: Tensors, captured: Tensors) -> list[tf.Tensor]:
        return _stepped(lambda state, parts: ([], body(*parts, *captured)), [], xs)

    return func


@converter(_OPERATORS.scan, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER, autocast=False)
def converter_scan(regions: Sequence[Region], init: Tensors, xs: Tensors, captured: Tensors) -> Callable[..., Any]:
    """scan(combine_fn, Tensor[] init, Tensor[] xs, Tensor[] additional_inputs) -> Tensor[]"""
    (body,) = regions
    count = len(init)

    def func(init: Tensors, xs: Tensors, captured: Tensors) -> list[tf.Tensor]:
        def step(state: Tensors, parts: Tensors) -> tuple[Tensors, Tensors]:
            results = body(*state, *parts, *captured)
            return results[:count], results[count:]

        return _stepped(step, init, xs)

    return func


def _truth(pred: tf.Tensor) -> tf.Tensor:
    """A one-element tensor as the scalar that TensorFlow wants."""
    return tf.cast(tf.reshape(pred, []), tf.bool)


def _shaped_like(results: Tensors, carried: Tensors) -> list[tf.Tensor]:
    """Results that are known to have the shapes of what they replace."""
    for result, before in zip(results, carried):
        result.set_shape(before.shape)
    return list(results)


@dataclass(frozen=True)
class _Form:
    """What the results of a step look like; `like` is the number of what one replaces, if it is carried on."""

    shape: tf.TensorShape
    dtype: tf.DType
    like: int | None


def _stepped(
    step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]], init: Tensors, xs: Tensors
) -> list[tf.Tensor]:
    """`step(state, parts) -> (state, results)` along the first dimension of `xs`: the last state, all results."""
    length = sizes(xs[0])[0]
    rows = [_room(length, form, init) for form in _forms(step, init, xs)]

    def body(i: tf.Tensor, state: Tensors, rows: Sequence[Rows]) -> tuple[Any, ...]:
        after, results = step(state, [tf.gather(x, i) for x in xs])
        return i + 1, _shaped_like(after, init), [_written(r, i, row) for r, row in zip(rows, results)]

    shapes = tf.TensorShape([]), [x.shape for x in init], [_shape_of(r) for r in rows]
    _, state, rows = tf.while_loop(lambda i, *_: i < length, body, (tf.constant(0), list(init), rows), shapes)
    return [*state, *(r.stack() if isinstance(r, tf.TensorArray) else r for r in rows)]


def _forms(step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]], init: Tensors, xs: Tensors) -> list[_Form]:
    """What a step gives, told by one that is never run: there may be none."""
    forms: list[_Form] = []

    def traced(init: Tensors, parts: Tensors) -> None:
        after, results = step(init, parts)
        for row in results:
            like = next((number for number, new in enumerate(after) if new is row), None)
            forms.append(_Form(row.shape, row.dtype, like))

    of_init = [tf.TensorSpec(x.shape, x.dtype) for x in init]
    of_parts = [tf.TensorSpec(x.shape[1:], x.dtype) for x in xs]
    tf.function(traced, autograph=False).get_concrete_function(of_init, of_parts)
    return forms


def _room(length: Any, form: _Form, init: Tensors) -> Rows:
    """Room for the results of so many steps.

    An array; where sizes of the results are dynamic, as those in TFLite's arrays cannot be, a tensor that grows.
    """
    if form.shape.is_fully_defined():
        return tf.TensorArray(form.dtype, length, element_shape=form.shape)
    known = [size or 0 for size in form.shape] if form.like is None else sizes(init[form.like])
    return tf.zeros([0, *known], form.dtype)


def _shape_of(rows: Rows) -> tf.TensorShape:
    """The shape that rows have after any step."""
    return tf.TensorShape(None if isinstance(rows, tf.TensorArray) else [None] * rows.shape.rank)


def _written(rows: Rows, i: tf.Tensor, row: tf.Tensor) -> Rows:
    if isinstance(rows, tf.TensorArray):
        written = rows.write(i, row)
        if tf.executing_eagerly():  # where a later step fails, TensorFlow logs each array that nothing has read
            written.mark_used()
        return written
    before = tf.reshape(rows, [i, *sizes(row)])  # which it has but for no rows, where nothing told the sizes
    return tf.concat([before, tf.expand_dims(row, 0)], 0)
