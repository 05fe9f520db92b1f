"""Recurrent layers and cells against PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nobuco
from nobuco.converters import recurrent
from tests.lite import ops_of
from tests.older import fails_before
from tests.parity import convert

LAYERS = [
    (nn.LSTM, {}),
    (nn.LSTM, {"proj_size": 3}),
    (nn.GRU, {}),
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu"}),
]
LONG = 12  # more steps than are written out in these tests: a loop of 4 turns, 3 steps each
PRIME = 11  # a loop of one step each


@pytest.fixture
def early_loop(monkeypatch):
    """Loops from 9 steps on, so that tests of them are quick."""
    monkeypatch.setattr(recurrent, "STEPS_WRITTEN_OUT", 8)


LOOPED = pytest.mark.usefixtures("early_loop")


def _state(kind, rows, batch, options, hidden=4):
    shape = (rows,) if batch is None else (rows, batch)
    h = torch.randn(*shape, options.get("proj_size", hidden))
    return (h, torch.randn(*shape, hidden)) if kind is nn.LSTM else h


@LOOPED
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("steps", [3, LONG])
def test_layers(check, kind, options, batch_first, bidirectional, steps):
    module = kind(5, 4, batch_first=batch_first, bidirectional=bidirectional, **options)
    check(module, torch.randn(2, steps, 5) if batch_first else torch.randn(steps, 2, 5))


@LOOPED
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("steps", [2, LONG])
def test_deep_layers_with_a_given_state(check, kind, options, steps):
    module = kind(5, 4, num_layers=2, bidirectional=True, dropout=0.5, **options)
    check(module, torch.randn(steps, 2, 5), _state(kind, 4, 2, options))


@LOOPED
@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_unbatched_and_without_bias(check, kind, options):
    module = kind(5, 4, bias=False, batch_first=True, **options)
    check(module, torch.randn(LONG, 5))
    check(module, torch.randn(LONG, 5), _state(kind, 1, None, options))


@LOOPED
@pytest.mark.parametrize(("kind", "options"), LAYERS)
@pytest.mark.parametrize("steps", [1, 8, LONG, PRIME])
def test_tflite(check, kind, options, steps):
    module = kind(5, 4, batch_first=True, **options)
    check(module, torch.randn(1, steps, 5), tflite=True)
    check(module, torch.randn(2, steps, 5), _state(kind, 1, 2, options), tflite=True)


@LOOPED
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_loop_is_lean(kind):
    ops = ops_of(kind(5, 4, batch_first=True, bidirectional=True), torch.randn(1, LONG, 5), order="nchw")
    assert len(ops) <= 12
    assert ops.count("WHILE") == 2
    assert ops.count("FULLY_CONNECTED") == 2
    assert "REVERSE_V2" not in ops


@pytest.mark.parametrize(("kind", "of_a_step"), [(nn.LSTM, 12), (nn.GRU, 13), (nn.RNN, 3)])
def test_a_short_sequence_is_written_out(kind, of_a_step):
    ops = ops_of(kind(5, 4, batch_first=True, bidirectional=True), torch.randn(1, 20, 5), order="nchw")
    assert not {"WHILE", "REVERSE_V2", "TRANSPOSE", "STRIDED_SLICE"} & set(ops)
    assert len(ops) <= 2 * 20 * of_a_step + 10


@pytest.mark.parametrize(
    ("count", "bytes_of_state", "expected"),
    [
        (20, 16 << 10, 20),
        (12, 196_608, 12),  # a GRU of 128
        (20, 256 << 10, 2),  # the copies of its weights are more than a processor has next to it
        (8, 1 << 20, 1),
        (64, 4 << 10, 64),
        (66, 4 << 10, 6),
        (67, 4 << 10, 1),
        (300, 64 << 10, 6),
        (300, 1 << 10, 15),
        (None, 4 << 10, 1),
    ],
)
def test_steps_in_a_turn(count, bytes_of_state, expected):
    assert recurrent.steps_in_a_turn(count, bytes_of_state) == expected


@LOOPED
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_dynamic_batch_and_length(kind):
    from nobuco import ChannelOrder
    from nobuco.export.tflite_file import run_tflite, to_tflite

    module, x = kind(5, 4, batch_first=True).eval(), torch.randn(2, LONG, 5)
    order = ChannelOrder.PYTORCH
    model = convert(module, x, input_shapes={x: (None, None, 5)}, order=order)
    other = torch.randn(3, 17, 5)
    with torch.no_grad():
        wanted = module(other)[0]
    torch.testing.assert_close(torch.tensor(model(other.numpy())[0].numpy()), wanted, rtol=1e-4, atol=1e-4)
    got = run_tflite(to_tflite(model), [other.numpy()])
    torch.testing.assert_close(torch.tensor(got[0]), wanted, rtol=1e-4, atol=1e-4)


@LOOPED
@pytest.mark.parametrize("steps", [8, LONG])
def test_tflite_keeps_no_state_between_runs(steps):
    from ai_edge_litert.interpreter import Interpreter

    import nobuco
    from nobuco.export.tflite_file import to_tflite

    x = torch.randn(1, steps, 5)
    model = nobuco.pytorch_to_keras(nn.LSTM(5, 4, batch_first=True).eval(), [x], verbose=False)
    interpreter = Interpreter(model_content=to_tflite(model))
    interpreter.allocate_tensors()
    outputs = []
    for _ in range(2):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x.permute(0, 2, 1).numpy())
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert (outputs[0] == outputs[1]).all()


CELLS = [(nn.LSTMCell, {}), (nn.GRUCell, {}), (nn.RNNCell, {}), (nn.RNNCell, {"nonlinearity": "relu"})]


@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2,), ()])
def test_cells(check, kind, options, bias, shape):
    module, x = kind(5, 4, bias=bias, **options), torch.randn(*shape, 5)
    state = torch.randn(*shape, 4)
    check(module, x, tflite=True)
    check(module, x, (state, state * 2) if kind is nn.LSTMCell else state)


def test_weights_stay_trainable(check):
    model = check(nn.LSTM(5, 4, num_layers=2, bidirectional=True), torch.randn(3, 2, 5))
    assert len(model.trainable_variables) == 12


def test_packed_sequence(check):
    module = nn.GRU(5, 4)
    check(lambda x: module(nn.utils.rnn.pack_padded_sequence(x, [3, 2]))[1], torch.randn(3, 2, 5))


@LOOPED
@pytest.mark.parametrize("longest", [4, LONG])
def test_packed_sequence_in_both_directions(check, longest):
    module, lengths = nn.LSTM(5, 4, num_layers=2, bidirectional=True), [longest, longest // 2, 1]

    def padded(x):
        packed, (h, c) = module(nn.utils.rnn.pack_padded_sequence(x, lengths))
        return nn.utils.rnn.pad_packed_sequence(packed)[0], h, c

    check(padded, torch.randn(longest, 3, 5))


@fails_before("torch", "2.13", "torch.export itself does not take the layer", raises=ValueError)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_exported_layer_stays_one_call(kind):
    program = torch.export.export(kind(5, 4, num_layers=2, bidirectional=True).eval(), (torch.randn(12, 2, 5),))
    _, report = nobuco.pytorch_to_keras(program, args=[torch.randn(12, 2, 5)], return_report=True, verbose=False)
    assert report.ok
    assert not any(node.opened for node in report.walk())
