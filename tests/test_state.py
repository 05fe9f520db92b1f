"""What `forward` writes into the module's own tensors, the converted model keeps from one call to the next."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import NobucoWarning
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layers.output import called
from nobuco.layers.state import state_layers
from tests.parity import convert


class MovingAverage(nn.Module):
    """In-place arithmetic on a buffer, and a counter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.ones(3))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        self.average.mul_(0.75).add_(x.mean(0), alpha=0.25)
        self.count += 1
        return x - self.average, self.count * 2


class Delay(nn.Module):
    """A buffer that is assigned anew, and read before that, by an output that is not the first."""

    def __init__(self):
        super().__init__()
        self.register_buffer("last", torch.zeros(2, 3))

    def forward(self, x):
        first, second, last = x * 2, x + self.last, self.last
        self.last = x
        return first, second, last


class KeyValueCache(nn.Module):
    """A cache written at the positions given: by an index, or by `index_copy_`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("keys", torch.zeros(1, 2, 10, 4))
        self.register_buffer("values", torch.zeros(1, 2, 10, 4))

    def forward(self, x, position):
        self.keys[:, :, position] = x
        self.values.index_copy_(2, position, x * 2)
        scores = x @ self.keys.mT + torch.where(torch.arange(10) <= position, 0.0, -1e9)
        return scores.softmax(-1) @ self.values


class Streaming(nn.Module):
    """A causal convolution that keeps the end of the last chunk, through views of the buffer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.register_buffer("tail", torch.zeros(1, 3, 2))

    def forward(self, x):
        x = torch.cat([self.tail, x], -1)
        self.tail[:, 1:] = x[:, 1:, -2:]
        self.tail[:, 0] = x[:, 0, -2:]
        return self.conv(x)


class PlainAttributes(nn.Module):
    """Tensors that are no buffers: an attribute, one in a list, a flag, two views of one memory."""

    def __init__(self):
        super().__init__()
        self.hidden, self.kept = torch.zeros(2, 3), [torch.zeros(2, 3)]
        self.seen, self.memory = torch.tensor(False), torch.zeros(4, 3)
        self.part = self.memory[1:3]

    def forward(self, x):
        y = torch.where(self.seen, x + self.hidden, x * 4) + self.kept[0]
        self.seen.fill_(True)
        self.hidden, self.kept[0] = x, torch.tanh(y)
        self.part.add_(x)
        return y + self.memory.sum(0)


class Cache:
    """A cache that is no module: what libraries for language models have."""

    def __init__(self):
        self.layers = [{"keys": torch.zeros(1, 2, 10, 4)}]
        self.count = torch.zeros(1, dtype=torch.int64)

    def update(self, x):
        self.layers[0]["keys"].index_copy_(2, self.count, x)
        self.count = self.count + 1
        return self.layers[0]["keys"]


class ForeignCache(nn.Module):
    """Tensors inside an object that is no module."""

    def __init__(self):
        super().__init__()
        self.cache = Cache()

    def forward(self, x):
        return x * self.cache.update(x).sum(2, keepdim=True)


class Queue(nn.Module):
    """The input of three calls ago, from a queue."""

    def __init__(self):
        super().__init__()
        self.last = deque(torch.zeros(3, 2, 3).unbind(), maxlen=3)

    def forward(self, x):
        oldest = self.last[0]
        self.last.append(x)
        return oldest


class TrainedNorms(nn.Module):
    """Batch and instance normalization in training mode, with their running statistics."""

    def __init__(self):
        super().__init__()
        self.conv, self.batch = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3)
        self.instance = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)

    def forward(self, x):
        y = self.instance(self.batch(self.conv(x)))
        return y, self.batch.running_mean, self.batch.running_var * 1, self.instance.running_var, y.mean()


class Recurrent(nn.Module):
    """The state of a GRU between chunks."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 5, batch_first=True)
        self.register_buffer("hidden", torch.zeros(1, 2, 5))

    def forward(self, x):
        y, self.hidden = self.gru(x, self.hidden)
        return y


def _steps(shape, positions=False):
    generator = torch.Generator().manual_seed(3)
    xs = [torch.randn(shape, generator=generator) for _ in range(10)]
    return [(x, torch.tensor([i])) if positions else (x,) for i, x in enumerate(xs)]


MODELS = {
    "moving average": (MovingAverage, _steps((2, 3))),
    "delay": (Delay, _steps((2, 3))),
    "key-value cache": (KeyValueCache, _steps((1, 2, 1, 4), positions=True)),
    "streaming": (Streaming, _steps((1, 3, 6))),
    "plain attributes": (PlainAttributes, _steps((2, 3))),
    "foreign cache": (ForeignCache, _steps((1, 2, 1, 4))),
    "queue": (Queue, _steps((2, 3))),
    "norms in training": (TrainedNorms, _steps((2, 3, 6, 6))),
    "recurrent": (Recurrent, _steps((2, 4, 3))),
}


def _converted(module, args, **kwargs):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model is in training mode", NobucoWarning)
        return convert(module, *args, **kwargs)


def _expected(module, steps):
    module = copy.deepcopy(module)
    found = []
    for args in steps:
        with torch.no_grad():
            out = module(*args)
        found.append([t.clone() for t in (out if isinstance(out, tuple) else (out,))])  # it may be a buffer itself
    return found


def _assert_steps(call, steps, expected):
    for number, (args, wanted) in enumerate(zip(steps, expected)):
        got = call([t.numpy() for t in args])
        assert len(got) == len(wanted)
        for ours, theirs in zip(got, wanted):
            np.testing.assert_allclose(np.asarray(ours), theirs, atol=2e-5, rtol=1e-5, err_msg=f"step {number}")


def _called(model):
    return partial(called, model)


def _lite(data):
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()

    def call(arrays):
        for detail, array in zip(interpreter.get_input_details(), arrays):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    return call


@pytest.mark.parametrize("name", MODELS)
def test_ten_steps_are_pytorchs(name, tmp_path):
    make, steps = MODELS[name]
    torch.manual_seed(0)
    module = make()
    before = copy.deepcopy(module.state_dict())
    model = _converted(module, steps[0])
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items()), "it is as it was"
    expected = _expected(module, steps)
    data = to_tflite(model)
    model.save(tmp_path / "model.keras")
    _assert_steps(_called(model), steps, expected)
    _assert_steps(_called(keras.models.load_model(tmp_path / "model.keras")), steps, expected)
    _assert_steps(_lite(data), steps, expected)
    nobuco.reset_states(model)
    _assert_steps(_called(model), steps[:3], expected[:3])


def test_a_saved_model_goes_on_from_where_it_was_and_resets_to_the_start(tmp_path):
    make, steps = MODELS["moving average"]
    model, expected = _converted(make(), steps[0]), _expected(make(), steps)
    _assert_steps(_called(model), steps[:4], expected[:4])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    _assert_steps(_called(loaded), steps[4:], expected[4:])
    nobuco.reset_states(loaded)
    _assert_steps(_called(loaded), steps, expected)


def test_state_in_a_graph_and_in_predict(tmp_path):
    make, steps = MODELS["delay"]
    model, expected = _converted(make(), steps[0]), _expected(make(), steps)
    _assert_steps(tf.function(_called(model)), steps, expected)
    nobuco.reset_states(model)
    _assert_steps(lambda arrays: model.predict(arrays[0], verbose=0), steps[:3], expected[:3])
    nobuco.reset_states(model)
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    _assert_steps(lambda arrays: served.serve(arrays[0]), steps, expected)


def test_state_as_arguments_in_tflite():
    make, steps = MODELS["moving average"]
    model, expected = _converted(make(), steps[0]), _expected(make(), steps)
    data = to_tflite(model, states="arguments")
    held = [layer.state.numpy() for layer in state_layers(model)]
    for args, wanted in zip(steps, expected):
        first, second, *held = run_tflite(data, [args[0].numpy(), *held])
        np.testing.assert_allclose(first, wanted[0], atol=1e-6)
        assert second == wanted[1]


def test_state_and_a_dynamic_batch():
    make, steps = MODELS["moving average"]
    x = steps[0][0]
    model = _converted(make(), (x,), input_shapes={x: (None, 3)})
    longer = [(torch.cat([args[0]] * (i + 1)) + torch.arange(2.0 * i + 2)[:, None],) for i, args in enumerate(steps)]
    _assert_steps(_called(model), longer, _expected(make(), longer))


def test_a_model_inside_another_trains_and_keeps_its_state():
    make, steps = MODELS["moving average"]
    inner = _converted(make(), steps[0])
    inputs = keras.Input(batch_shape=(2, 3))
    outer = keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)[0]))
    outer.compile("sgd", "mse")
    outer.fit(np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32), batch_size=2, epochs=1, verbose=0)
    assert {layer.name: layer for layer in state_layers(outer)}["count"].state.numpy() == 2
    nobuco.reset_states(outer)
    assert {layer.name: layer.state.numpy().sum() for layer in state_layers(outer)} == {"average": 3, "count": 0}


def test_a_function_over_a_module():
    make, steps = MODELS["moving average"]
    module = make()
    model = _converted(lambda x: module(x), steps[0])
    _assert_steps(_called(model), steps, _expected(module, steps))


class Decaying(nn.Module):
    """A linear layer whose weight each call halves, one way or another, before or after it is used."""

    def __init__(self, change, before=False):
        super().__init__()
        self.linear, self.change, self.before = nn.Linear(3, 3), change, before

    def forward(self, x):
        if self.before:
            self.change(self.linear)
        y = self.linear(x)
        if not self.before:
            self.change(self.linear)
        return y


def _in_place(layer):
    layer.weight.data.mul_(0.5)


def _assigned(layer):
    layer.weight.data = layer.weight * 0.5


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", [_in_place, _assigned])
def test_a_weight_that_a_call_writes(change, before):
    module, steps = Decaying(change, before), _steps((2, 3))
    weight = module.linear.weight.detach().clone()
    model = _converted(module, steps[0])
    assert torch.equal(module.linear.weight, weight)
    _assert_steps(_called(model), steps, _expected(module, steps))


def test_spectral_norm_in_training():
    module, steps = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)).train(), _steps((2, 3))
    model = _converted(module, steps[0])
    _assert_steps(_called(model), steps, _expected(module, steps))


def test_a_model_without_state_has_none():
    model = _converted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), (torch.rand(1, 3, 5, 5),))
    assert not list(state_layers(model))


class Warmed(nn.Module):
    """Goes another way on its first call, and from the third on one that writes what no earlier call did."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("average", torch.zeros(3))
        self.register_buffer("offset", torch.zeros(3))

    def forward(self, x):
        if self.count == 0:
            self.average = x.mean(0)
        else:
            self.average = 0.9 * self.average + 0.1 * x.mean(0)
        if self.count >= 2:
            self.offset += x[0]
            if self.offset.sum() > 3:
                self.offset.zero_()
        self.count += 1
        return x - self.average + self.offset


def test_a_branch_on_state_is_explored():
    steps = [(torch.rand(2, 3),) for _ in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model = _converted(Warmed(), steps[0], explore_branches=True)
    data, expected = to_tflite(model), _expected(Warmed(), steps)
    _assert_steps(_called(model), steps, expected)
    _assert_steps(_lite(data), steps, expected)


def test_a_number_taken_of_state_is_reported_with_what_is_left_to_do():
    class Warmup(Warmed):
        def forward(self, x):
            self.count += 1
            return x * float(self.count)

    with pytest.warns(NobucoWarning, match=r"\. Use torch\.where or torch\.cond"):
        _converted(Warmup(), (torch.rand(2, 3),), explore_branches=True)
