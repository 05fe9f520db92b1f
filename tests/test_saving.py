"""`model.save("m.keras")` and `keras.models.load_model` in a process that cannot import PyTorch, bit for bit."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.layers.weight import WeightLayer
from nobuco.registry import registered_converters, registry

TENSORFLOW = ChannelOrder.TENSORFLOW


class Cnn(nn.Module):
    """Padding, groups, a residual, a slice assignment, resizing: native layers and op layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.register_buffer("offset", torch.rand(1, 4, 16, 16))
        self.head = nn.Linear(4, 6)

    def forward(self, x):
        y = F.hardswish(self.norm(self.stem(x)))
        y = y + self.depthwise(y)
        y = self.up(y) * self.scale + self.offset
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
        y[:, 1:2, ::2] = 0
        parts = torch.cat([F.avg_pool2d(y, 2), F.max_pool2d(y, 2)], dim=1).chunk(2, dim=1)
        return self.head(parts[0].mean((2, 3))), {"map": parts[1], "top": parts[1].flatten(1).argmax(1)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.position = nn.Parameter(torch.rand(1, 5, 8))

    def forward(self, x):
        y = self.norm(x + self.position)
        return x + self.attention(y, y, y)[0]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(12, 3, batch_first=True)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return self.gru(y)[0], h, c


class AddByMask(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x, mask):
        return x + self.weight * mask


def convert_add_by_mask(self, x, mask):
    weight = WeightLayer.create(self.weight.detach().permute(1, 2, 0).numpy())
    return lambda x, mask: x + weight(x) * mask


class Custom(nn.Module):
    """Converted by a lambda that holds a native layer, a nested conversion and a variable of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.rand(()))

    def forward(self, x):
        return self.linear(self.conv(x).mean((2, 3))) * self.gain


def convert_custom(self, x):
    options = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
    conv = nobuco.pytorch_to_keras(self.conv, [x], **options)
    dense = keras.layers.Dense(4)
    dense.build((None, 4))
    dense.set_weights([self.linear.weight.detach().numpy().T, self.linear.bias.detach().numpy()])
    gain = keras.Variable(self.gain.item())
    return lambda x: dense(tf.reduce_mean(conv(x), (1, 2))) * gain


CASES = {
    "cnn": (Cnn, [(1, 3, 16, 16)]),
    "attention": (Attention, [(2, 5, 8)]),
    "recurrent": (Recurrent, [(2, 5, 4)]),
    "weight_layer": (AddByMask, [(1, 3, 4, 5), (1, 3, 4, 5)]),
    "custom": (Custom, [(1, 3, 4, 4)]),
}

_LOAD = """
import sys
sys.modules["torch"] = None  # importing it raises
import nobuco.layers
import keras, numpy as np
for path in sys.argv[1:]:
    model = keras.models.load_model(path + "/m.keras")
    data = np.load(path + "/data.npz")
    feeds = [data[f"in{i}"] for i in range(len(model.inputs))]
    feeds = feeds[0] if len(feeds) == 1 else feeds
    got = keras.tree.flatten(model.predict(feeds, verbose=0))
    for i, ours in enumerate(got):
        np.testing.assert_array_equal(ours, data[f"out{i}"], err_msg=path)
    # Eagerly TensorFlow optimises a loaded function as a whole, and the operations that it came from each alone.
    for i, ours in enumerate(keras.tree.flatten(model(feeds, training=False))):
        np.testing.assert_allclose(ours, data[f"out{i}"], rtol=1e-5, atol=1e-6, err_msg=path)
    assert [t.name for t in model.inputs] == list(data["names"])
    model.save(path + "/again.keras")
    again = keras.models.load_model(path + "/again.keras")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
print("loaded", len(sys.argv) - 1, sys.modules["torch"])
"""


@pytest.fixture(scope="module")
def converted():
    """Each case's module, inputs and Keras model."""
    torch.manual_seed(0)
    registered_converters()
    found = {}
    with registry.restoring():
        strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER
        nobuco.converter(AddByMask, channel_ordering_strategy=strategy)(convert_add_by_mask)
        nobuco.converter(Custom, channel_ordering_strategy=strategy)(convert_custom)
        for name, (make, shapes) in CASES.items():
            module, inputs = make().eval(), [torch.rand(shape) for shape in shapes]
            found[name] = module, inputs, nobuco.pytorch_to_keras(module, inputs, verbose=False)
    return found


def feeds_of(inputs):
    feeds = [nobuco.t_pytorch2keras(x, TENSORFLOW).numpy() for x in inputs]
    return feeds[0] if len(feeds) == 1 else feeds


def test_models_load_without_pytorch(converted, tmp_path):
    for name, (_, inputs, model) in converted.items():
        folder = tmp_path / name
        folder.mkdir()
        feeds = feeds_of(inputs)
        results = keras.tree.flatten(model.predict(feeds, verbose=0))
        arrays = {f"in{i}": feed for i, feed in enumerate(feeds if isinstance(feeds, list) else [feeds])}
        arrays |= {f"out{i}": result for i, result in enumerate(results)}
        np.savez(folder / "data.npz", names=[t.name for t in model.inputs], **arrays)
        model.save(folder / "m.keras")
    paths = [str(tmp_path / name) for name in converted]
    done = subprocess.run([sys.executable, "-c", _LOAD, *paths], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["loaded", str(len(paths)), "None"]


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_model_trains_on(converted, tmp_path, name):
    """Weights that a closure holds are the loaded layer's own, and learn."""
    _, inputs, model = converted[name]
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [tuple(w.shape) for w in loaded.trainable_weights] == [tuple(w.shape) for w in model.trainable_weights]
    feeds = feeds_of(inputs)
    gradients = []
    for each in (model, loaded):
        with tf.GradientTape() as tape:
            outputs = [t for t in keras.tree.flatten(each(feeds, training=False)) if t.dtype.is_floating]
            loss = tf.add_n([tf.reduce_sum(tf.square(t)) for t in outputs])
        gradients.append(tape.gradient(loss, [w.value for w in each.trainable_weights]))
    for ours, theirs in zip(*gradients):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_dynamic_batch_survives(tmp_path):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 2)

        def forward(self, x):
            return self.linear(x.reshape(x.shape[0], -1)) / x.shape[0]

    module, x = Head().eval(), torch.rand(2, 3, 2, 2)
    model = nobuco.pytorch_to_keras(module, [x], input_shapes={x: (None, 3, 2, 2)}, verbose=False)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    other = torch.rand(5, 3, 2, 2)
    with torch.no_grad():
        np.testing.assert_allclose(loaded(feeds_of([other])), module(other), rtol=1e-4, atol=1e-6)


def test_names_and_config_survive(tmp_path):
    x, y = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    model = nobuco.pytorch_to_keras(
        lambda x, y: (x + y, x * 2), [x, y], input_names=["left", "right"], output_names=["sum", "double"],
        verbose=False,
    )  # fmt: skip
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [t.name for t in loaded.inputs] == ["left", "right"] and loaded.output_names == ["sum", "double"]
    clone = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(clone(feeds_of([x, y]))[0], model(feeds_of([x, y]))[0])


def test_a_module_called_twice_is_saved_once(tmp_path):
    linear = nn.Linear(3, 3)
    model = nobuco.pytorch_to_keras(nn.Sequential(linear, nn.ReLU(), linear).eval(), [torch.rand(2, 3)], verbose=False)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert len(loaded.weights) == len(model.weights) == 2
    np.testing.assert_array_equal(loaded(np.ones((2, 3), np.float32)), model(np.ones((2, 3), np.float32)))
