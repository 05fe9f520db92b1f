"""Recurrent layers and cells: LSTM, GRU, RNN.

That of the input is one matrix product for all steps. Behind it a short sequence is written out, step by step, and a
long one runs in a loop per layer and direction, several steps to a turn. Two other forms were tried. Keras's own
layers gather their outputs in a tensor list, which TFLite lowers for a static batch only, and runs slower. TFLite's
fused UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM keep their state from one run of the interpreter to
the next, so a second run with the same input gives another output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from nobuco.assemble.learned import Learned, variable
from nobuco.converters.dropout import dropout
from nobuco.converters.packing import Packing
from nobuco.converters.support import rank, sizes
from nobuco.layout import ChannelOrderingStrategy
from nobuco.ops.names import aten, nn, torch
from nobuco.registry import converter, expression

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER

# Measured with TFLite on one core of an x86 processor with 1 MB of cache of its own. A step that is written out costs
# a fourth of a turn of a loop (1.2 to 5 us at 32 features), but each has a copy of the recurrent weights, made by
# XNNPACK: beyond this many bytes of copies the loop is faster, which reads one copy again and again.
BYTES_WRITTEN_OUT = 5 << 19
# TFLite's converter needs 2 s for a layer of so many steps, and more than twice that for twice as many.
STEPS_WRITTEN_OUT = 64
# The same for the steps of one turn of a loop.
BYTES_IN_A_TURN = 1 << 19

State = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, State, "Weights"], State]


class Weights(NamedTuple):
    """What one layer has learned in one direction; gates side by side, features first.

    `recurrent_bias` is apart from `bias` only where a gate is applied between the two (GRU).
    """

    kernel: keras.Variable
    recurrent: keras.Variable
    bias: keras.Variable | None = None
    recurrent_bias: keras.Variable | None = None
    projection: keras.Variable | None = None

    def of_input(self, x: tf.Tensor) -> tf.Tensor:
        """The input's part in all gates, for one step or for all."""
        return _affine(x, self.kernel, self.bias)

    def of_state(self, h: tf.Tensor) -> tf.Tensor:
        """The state's part in all gates."""
        return _affine(h, self.recurrent, self.recurrent_bias)

    @property
    def bytes_of_state(self) -> int:
        """The size of what each step reads anew."""
        read = [w for w in (self.recurrent, self.projection) if w is not None]
        return sum(prod(w.shape) * tf.as_dtype(w.dtype).size for w in read)


def _affine(x: tf.Tensor, kernel: keras.Variable, bias: keras.Variable | None) -> tf.Tensor:
    product = tf.matmul(x, keras.ops.convert_to_tensor(kernel))
    return product if bias is None else product + keras.ops.convert_to_tensor(bias)


# -- one step ----------------------------------------------------------------------------------------------


def lstm_step(gates: tf.Tensor, state: State, weights: Weights) -> State:
    """PyTorch's gates: input, forget, cell, output."""
    h, c = state
    i, f, g, o = tf.split(gates + weights.of_state(h), 4, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    h = tf.sigmoid(o) * tf.tanh(c)
    if weights.projection is not None:
        h = tf.matmul(h, keras.ops.convert_to_tensor(weights.projection))
    return h, c


def gru_step(gates: tf.Tensor, state: State, weights: Weights) -> State:
    """PyTorch's gates: reset, update, new."""
    (h,) = state
    r, z, n = tf.split(gates, 3, axis=-1)
    own_r, own_z, own_n = tf.split(weights.of_state(h), 3, axis=-1)
    n = tf.tanh(n + tf.sigmoid(r + own_r) * own_n)
    # Not `n + z * (h - n)`: of a state of zeros TFLite leaves `n - 0` out, and ends the process at `0 - n` in 16 bits.
    return (n - tf.sigmoid(z + own_z) * (n - h),)


def rnn_step(activation: Callable[[tf.Tensor], tf.Tensor]) -> Step:
    """The plain recurrence, with `tf.tanh` or `tf.nn.relu`."""

    def step(gates: tf.Tensor, state: State, weights: Weights) -> State:
        return (activation(gates + weights.of_state(state[0])),)

    return step


# -- a sequence --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """One layer in one direction over (steps, batch, features): from the last step on if `backward`."""

    step: Step
    weights: Weights
    backward: bool = False

    def __call__(self, x: tf.Tensor, state: State, real: tf.Tensor | None = None) -> tuple[tf.Tensor, State]:
        """All outputs and the last state.

        Where a step is not `real`, (steps, batch, 1), a sequence keeps the state that it has.
        """
        gates, count = self.weights.of_input(x), sizes(x)[0]
        each = steps_in_a_turn(count, self.weights.bytes_of_state)
        if isinstance(count, int) and each == count:
            return self._written_out(gates, real, state)
        # One step needs no axis of its own, which would be one more operation in each turn.
        turns, several = (count, []) if each == 1 else (count // each, [each])
        gates, real = (t if t is None else tf.reshape(t, [turns, *several, *sizes(t)[1:]]) for t in (gates, real))
        outputs, state = self._looped(turns, several, gates, real, state)
        return tf.reshape(outputs, [count, *sizes(outputs)[-2:]]), state

    def _after(self, gates: tf.Tensor, real: tf.Tensor | None, state: State) -> State:
        new = self.step(gates, state, self.weights)
        return new if real is None else tuple(tf.where(real, now, was) for now, was in zip(new, state))

    def _written_out(self, gates: tf.Tensor, real: tf.Tensor | None, state: State) -> tuple[tf.Tensor, State]:
        count = gates.shape[0]
        given, known = tf.unstack(gates), [None] * count if real is None else tf.unstack(real)
        outputs = [state[0]] * count
        for t in reversed(range(count)) if self.backward else range(count):
            state = self._after(given[t], known[t], state)
            outputs[t] = state[0]
        return tf.stack(outputs), state

    def _looped(
        self, turns: Any, several: Sequence[int], gates: tf.Tensor, real: tf.Tensor | None, state: State
    ) -> tuple[tf.Tensor, State]:
        """A loop over (turns, *several, batch, features).

        The outputs travel in a tensor of their full size: TFLite has no list of tensors whose size is dynamic.
        """
        places = tf.reshape(tf.range(turns), [-1, *[1] * len(several), 1, 1])

        def body(turn: tf.Tensor, outputs: tf.Tensor, *state: tf.Tensor) -> tuple[Any, ...]:
            place = turns - 1 - turn if self.backward else turn
            given, known = gates[place], None if real is None else real[place]
            if several:
                made, state = self._written_out(given, known, state)
            else:
                state = self._after(given, known, state)
                made = state[0]
            outputs = tf.where(places == place, made, outputs)
            for now, was in zip((outputs, *state), start[1:]):
                now.set_shape(was.shape)  # `tf.ensure_shape` would be an operation, which TF.js cannot run
            return turn + 1, outputs, *state

        start = tf.constant(0), tf.zeros([turns, *several, *sizes(state[0])], gates.dtype), *state
        _, outputs, *last = tf.while_loop(lambda turn, *_: turn < turns, body, start)
        return outputs, tuple(last)


def steps_in_a_turn(count: Any, bytes_of_state: int) -> int:
    """How many steps stand side by side: all of a short sequence; else of a loop a part that `count` is a multiple of.

    A turn has a cost of its own, and so has each operation that it holds, once in a run: their sum is the smallest near
    the square root of `count`.
    """
    if not isinstance(count, int):
        return 1
    if count <= STEPS_WRITTEN_OUT and count * bytes_of_state <= BYTES_WRITTEN_OUT:
        return count
    fitting = [n for n in range(1, isqrt(count) + 1) if count % n == 0 and n * bytes_of_state <= BYTES_IN_A_TURN]
    return max(fitting, default=1)


@dataclass(frozen=True)
class Recurrent:
    """A stack of layers in one or two directions, with the signature of `nn.LSTM` and its kind."""

    step: Step
    layers: tuple[tuple[Weights, ...], ...]
    widths: tuple[int, ...]
    batch_first: bool
    dropout: float = 0.0

    def __call__(self, input: tf.Tensor, hx: Any = None) -> tuple[tf.Tensor, Any]:
        """`hx` is one tensor, or for an LSTM two, of shape (layers * directions, batch, width)."""
        unbatched = rank(input) == 2
        x = input[:, tf.newaxis] if unbatched else input
        x = _batch_exchanged(x) if self.batch_first and not unbatched else x
        x, final = self.steps_first(x, self._initial(x, hx, unbatched))
        if unbatched:
            x, final = tf.squeeze(x, 1), tuple(tf.squeeze(s, 1) for s in final)
        elif self.batch_first:
            x = _batch_exchanged(x)
        return x, final if len(final) > 1 else final[0]

    def packed(self, rows: tf.Tensor, batch_sizes: tf.Tensor, hx: Any) -> tuple[tf.Tensor, State]:
        """On a packed sequence; the result is packed alike."""
        states = self._initial(rows, hx, False)
        packing = Packing.of_sizes(batch_sizes, sizes(states[0][0])[0])
        x, final = self.steps_first(packing.padded(rows), states, tf.expand_dims(packing.real, -1))
        return packing.packed(x), final

    def steps_first(self, x: tf.Tensor, states: Sequence[State], real: Any = None) -> tuple[tf.Tensor, State]:
        """On (steps, batch, features); what is not `real` is padding."""
        last: list[State] = []
        for directions in self.layers:
            outputs = []
            x = dropout(x, self.dropout) if last else x
            for backward, weights in enumerate(directions):
                result, state = Sweep(self.step, weights, bool(backward))(x, states[len(last)], real)
                outputs.append(result)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else tf.concat(outputs, -1)
        return x, tuple(tf.stack(parts) for parts in zip(*last))

    def _initial(self, x: tf.Tensor, hx: Any, unbatched: bool) -> list[State]:
        count = sum(len(directions) for directions in self.layers)
        if hx is None:
            zero = tuple(tf.zeros([sizes(x)[1], width], x.dtype) for width in self.widths)
            return [zero] * count
        given = hx if isinstance(hx, (list, tuple)) else (hx,)
        rows = [tf.unstack(s[:, tf.newaxis] if unbatched else s, count) for s in given]
        return list(zip(*rows))


def _batch_exchanged(x: tf.Tensor) -> tf.Tensor:
    """(batch, steps, ...) as (steps, batch, ...) or back, without moving data where the batch is one."""
    first, second, *rest = sizes(x)
    if any(isinstance(n, int) and n == 1 for n in (first, second)):
        return tf.reshape(x, [second, first, *rest])
    return tf.transpose(x, [1, 0, *range(2, rank(x))])


# -- modules -----------------------------------------------------------------------------------------------


def _weights(module: nn.Module, suffix: str, prefix: str, reset_after: bool) -> Weights:
    """The weights that a PyTorch module has under this suffix (`_l0_reverse`, or none for a cell)."""

    def held(name: str) -> Learned | None:
        tensor = getattr(module, name + suffix, None)
        return None if tensor is None else Learned.of(tensor).T

    bias, recurrent_bias = held("bias_ih"), held("bias_hh")
    if bias is not None and recurrent_bias is not None and not reset_after:
        bias, recurrent_bias = bias + recurrent_bias, None
    named = {
        "kernel": held("weight_ih"),
        "recurrent_kernel": held("weight_hh"),
        "bias": bias,
        "recurrent_bias": recurrent_bias,
        "projection": held("weight_hr"),
    }
    return Weights(*(variable(value, f"{prefix}{name}") for name, value in named.items()))


def _recurrent(self: nn.RNNBase, step: Step, widths: tuple[int, ...]) -> Recurrent:
    directions = ("", "_reverse")[: 1 + self.bidirectional]
    layers = tuple(
        tuple(_weights(self, f"_l{n}{way}", f"l{n}{way}_", step is gru_step) for way in directions)
        for n in range(self.num_layers)
    )
    return Recurrent(step, layers, widths, self.batch_first, self.dropout if self.training else 0.0)


@converter(nn.LSTM, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def LSTM(self: nn.LSTM, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.LSTM"""
    return _recurrent(self, lstm_step, (self.proj_size or self.hidden_size, self.hidden_size))


@converter(nn.GRU, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def GRU(self: nn.GRU, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.GRU"""
    return _recurrent(self, gru_step, (self.hidden_size,))


@converter(nn.RNN, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def RNN(self: nn.RNN, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.RNN"""
    return _recurrent(self, rnn_step(tf.tanh if self.mode == "RNN_TANH" else tf.nn.relu), (self.hidden_size,))


def _activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.tanh if name == "tanh" else tf.nn.relu


def _cell(self: nn.RNNCellBase, step: Step, states: int) -> Callable[..., Any]:
    """A cell is one step; PyTorch takes (batch, features) or one row of it."""
    weights, width = _weights(self, "", "", step is gru_step), self.hidden_size

    def call(input: tf.Tensor, hx: Any = None) -> Any:
        x = input if rank(input) == 2 else input[tf.newaxis]
        given: Sequence[Any] = hx if isinstance(hx, (list, tuple)) else (hx,)
        if hx is None:
            given = [tf.zeros([sizes(x)[0], width], x.dtype)] * states
        state = tuple(s if rank(s) == 2 else s[tf.newaxis] for s in given)
        state = step(weights.of_input(x), state, weights)
        state = state if rank(input) == 2 else tuple(s[0] for s in state)
        return state if states > 1 else state[0]

    return call


@converter(nn.LSTMCell, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def LSTMCell(self: nn.LSTMCell, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.LSTMCell"""
    return _cell(self, lstm_step, 2)


@converter(nn.GRUCell, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def GRUCell(self: nn.GRUCell, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.GRUCell"""
    return _cell(self, gru_step, 1)


@converter(nn.RNNCell, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def RNNCell(self: nn.RNNCell, input: torch.Tensor, hx: Any = None) -> Callable[..., Any]:
    """nn.RNNCell"""
    return _cell(self, rnn_step(_activation(self.nonlinearity)), 1)


# -- functions -----------------------------------------------------------------------------------------------


def _stack(step: Step, *args: Any) -> tuple[tf.Tensor, ...]:
    """`torch.lstm` and its kind: what `nn.LSTM` calls, with its weights in a flat list."""
    is_packed = isinstance(args[3], (list, tuple))
    input, batch_sizes, hx, params, *rest = args if is_packed else (args[0], None, *args[1:])
    has_biases, num_layers, rate, train, bidirectional, *first = rest
    directions, each = 1 + bidirectional, len(params) // (num_layers * (1 + bidirectional))
    all_weights = [_arranged(params[i : i + each], has_biases, step is gru_step) for i in range(0, len(params), each)]
    layers = tuple(tuple(all_weights[i : i + directions]) for i in range(0, len(all_weights), directions))
    recurrent = Recurrent(step, layers, (), any(first), rate if train else 0.0)
    outputs, last = recurrent.packed(input, batch_sizes, hx) if is_packed else recurrent(input, hx)
    if is_packed:
        return outputs, *last
    return (outputs, *last) if isinstance(last, tuple) else (outputs, last)


def _arranged(params: Sequence[tf.Tensor], has_biases: bool, reset_after: bool) -> Weights:
    kernel, recurrent, *rest = params
    bias = recurrent_bias = None
    if has_biases and reset_after:
        bias, recurrent_bias = rest[:2]
    elif has_biases:
        bias = rest[0] + rest[1]
    projection = tf.transpose(rest[-1]) if len(rest) % 2 else None
    return Weights(tf.transpose(kernel), tf.transpose(recurrent), bias, recurrent_bias, projection)


@expression(torch.lstm, aten.lstm.input, strategy=FORCE_PYTORCH_ORDER)
def lstm(*args: Any) -> tuple[tf.Tensor, ...]:
    """lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout,
    bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)
    """
    return _stack(lstm_step, *args)


@expression(torch.gru, aten.gru.input, strategy=FORCE_PYTORCH_ORDER)
def gru(*args: Any) -> tuple[tf.Tensor, ...]:
    """gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout,
    bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stack(gru_step, *args)


@expression(torch.rnn_tanh, aten.rnn_tanh.input, strategy=FORCE_PYTORCH_ORDER)
def rnn_tanh(*args: Any) -> tuple[tf.Tensor, ...]:
    """rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout,
    bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stack(rnn_step(tf.tanh), *args)


@expression(torch.rnn_relu, aten.rnn_relu.input, strategy=FORCE_PYTORCH_ORDER)
def rnn_relu(*args: Any) -> tuple[tf.Tensor, ...]:
    """rnn_relu.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float dropout,
    bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stack(rnn_step(tf.nn.relu), *args)
