"""What a converter may bring along: somebody else's models, layers with `@tf.function`, an answer to a warning."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrderingStrategy
from nobuco.export import run_tflite, to_tflite


class Outside(nn.Module):
    """A linear layer that another tool is to convert."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        return torch.relu(self.linear(x))


class Doubling(nn.Module):
    """Looks at its input's values."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class AnyDoubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Doubling()

    def forward(self, x):
        return self.inner(x) + 1


@pytest.fixture(autouse=True)
def _undone(restored_registry):
    pass


def saved_model(linear: nn.Linear, folder: str):
    """What somebody else's converter leaves: a SavedModel with variables of its own."""
    module = tf.Module()
    module.kernel = tf.Variable(linear.weight.detach().numpy().T)
    module.bias = tf.Variable(linear.bias.detach().numpy())
    spec = tf.TensorSpec((None, 4), tf.float32)
    module.serve = tf.function(lambda x: tf.nn.relu(x @ module.kernel + module.bias), input_signature=[spec])
    tf.saved_model.save(module, folder)
    return tf.saved_model.load(folder)


@pytest.mark.parametrize("wrap", [keras.layers.Lambda, lambda function: function], ids=["lambda_layer", "function"])
def test_a_saved_model_inside_a_converter(wrap, tmp_path):
    @nobuco.converter(Outside, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER, reusable=False)
    def outside(self, x):
        loaded = saved_model(self.linear, str(tmp_path / "saved"))
        return wrap(lambda x: loaded.serve(x))

    module, x = Outside().eval(), torch.randn(2, 4)
    expected = module(x).detach().numpy()
    model = nobuco.pytorch_to_keras(module, [x], verbose=False)
    np.testing.assert_allclose(model(x.numpy()), expected, atol=1e-6)
    np.testing.assert_allclose(run_tflite(to_tflite(model), [x.numpy()])[0], expected, atol=1e-6)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x.numpy()), expected, atol=1e-6)


def test_a_converter_answers_the_warnings_from_inside_its_module(recwarn):
    @nobuco.converter(Doubling, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def doubling(self, x):
        return lambda x: tf.where(tf.reduce_sum(x) > 0, x * 2, x)

    model = nobuco.pytorch_to_keras(AnyDoubling(), [torch.ones(2, 3)], verbose=False)
    assert not [w for w in recwarn if issubclass(w.category, nobuco.NobucoWarning)]
    np.testing.assert_array_equal(model(-np.ones((2, 3), np.float32)), np.zeros((2, 3)))


def test_without_one_the_warning_stands():
    with pytest.warns(nobuco.NobucoWarning, match="__bool__ takes a value that depends on the input"):
        nobuco.pytorch_to_keras(AnyDoubling(), [torch.ones(2, 3)], verbose=False)


class Recurrence(nn.Module):
    def forward(self, xs):
        state = xs[0]
        for i in range(1, len(xs)):
            state = torch.tanh(state + xs[i])
        return state


def test_a_converter_answers_for_a_loop_over_a_dynamic_axis(recwarn):
    @nobuco.converter(Recurrence, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def recurrence(self, xs):
        return lambda xs: tf.scan(lambda state, x: tf.tanh(state + x), xs)[-1]

    xs = torch.randn(4, 3)
    model = nobuco.pytorch_to_keras(nn.Sequential(Recurrence()), [xs], input_shapes={xs: (None, 3)}, verbose=False)
    assert not [w for w in recwarn if issubclass(w.category, nobuco.NobucoWarning)]
    for steps in (4, 1, 7):
        xs = torch.randn(steps, 3)
        np.testing.assert_allclose(model(xs.numpy()), Recurrence()(xs), atol=1e-6)


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")
def test_without_one_it_is_a_loop_too():
    xs = torch.randn(4, 3)
    model = nobuco.pytorch_to_keras(Recurrence(), [xs], input_shapes={xs: (None, 3)}, verbose=False)
    for steps in (4, 1, 7):
        xs = torch.randn(steps, 3)
        np.testing.assert_allclose(model(xs.numpy()), Recurrence()(xs), atol=1e-6)


def test_a_layer_whose_call_is_a_tf_function_keeps_its_weights():
    class Twice(keras.layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        @tf.function
        def call(self, x):
            for _ in tf.range(2):
                x = self.inner(x)
            return x

    class LinearTwice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(self.linear(x))

    @nobuco.converter(LinearTwice, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def twice(self, x):
        return Twice(nobuco.pytorch_to_keras(self.linear, [x], verbose=False))

    module, x = LinearTwice().eval(), torch.randn(2, 4)
    model = nobuco.pytorch_to_keras(module, [x], verbose=False)
    assert [tuple(w.shape) for w in model.trainable_weights] == [(4, 4), (4,)]
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(model(x.numpy()), expected, atol=1e-6)
    np.testing.assert_allclose(run_tflite(to_tflite(model), [x.numpy()])[0], expected, atol=1e-6)
