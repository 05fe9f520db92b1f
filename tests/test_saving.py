"""`model.save("m.keras")` and `keras.models.load_model` in a process that cannot import PyTorch, bit for bit."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.builtin import registered_converters
from nobuco.layers.weight import WeightLayer
from nobuco.registry import registry

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


class Branches(nn.Module):
    """A branch and a loop, whose bodies hold weights that the model around them holds, too."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda x: self.left(x), lambda x: self.right(x) * 2, (x,))
        steps = torch.tensor(0)
        _, y = torch.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, torch.tanh(self.left(y))), (steps, self.left(y))
        )
        return y


class Running(nn.Module):
    """A sum that each call adds to, and a cache that grows along."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("total", torch.rand(2, 4))
        self.register_buffer("places", torch.zeros(8, dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.total = self.total * 0.5 + self.linear(x)
        self.step += 1
        return self.total * 1.0, self.step * 2


class Shared(nn.Module):
    """One layer called three times, and a table that is also the last layer's kernel."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 6)
        self.linear = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)

    def forward(self, ids):
        y = self.table(ids)
        for _ in range(3):
            y = self.norm(y + self.linear(y))
        return F.linear(y, self.table.weight)


class Sized(nn.Module):
    """Its computation depends on sizes that are dynamic."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        y = self.conv(x)
        y = F.interpolate(y, size=x.shape[2:], mode="nearest") / x.shape[3]
        return y.reshape(x.shape[0], 4, -1).softmax(-1), y.mean((2, 3))


class Named(nn.Module):
    """Several inputs and outputs with names, one of them in a dict in a tuple."""

    def forward(self, image, scale, mask):
        y = image * scale[:, None, None, None]
        return y, {"sum": y.sum((1, 2, 3)), "any": (mask & (y.mean((2, 3)) > 0)).any(1)}


class Half(nn.Module):
    """Numbers of 16 bits, and integers."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.half()

    def forward(self, x):
        y = self.linear(x.half())
        return y, y.argmax(-1).int(), y.bfloat16()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return x * self.scale


def convert_twice(self, x):
    """Lambdas in lambdas, with a default, a partial and a Keras Lambda."""
    scale = keras.Variable(self.scale.detach().numpy())
    double = keras.layers.Lambda(lambda x: x * 2)
    return functools.partial(lambda factor, x, half=lambda x: x / 2: half(double(x)) * factor * scale, 1.0)


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    draw: Callable[[], list[torch.Tensor]]
    options: Callable[[list[torch.Tensor]], dict] = lambda inputs: {}


def images(*shapes):
    return lambda: [torch.rand(shape) for shape in shapes]


CASES = {
    "cnn": Case(Cnn, images((1, 3, 16, 16))),
    "attention": Case(Attention, images((2, 5, 8))),
    "recurrent": Case(Recurrent, images((2, 5, 4))),
    "recurrent in a loop": Case(Recurrent, images((2, 20, 4)), lambda x: {"input_shapes": {x[0]: (None, None, 4)}}),
    "weight_layer": Case(AddByMask, images((1, 3, 4, 5), (1, 3, 4, 5))),
    "custom": Case(Custom, images((1, 3, 4, 4))),
    "lambdas": Case(Twice, images((2, 3))),
    "control flow": Case(Branches, images((2, 4))),
    "state": Case(Running, images((2, 4))),
    "shared": Case(Shared, lambda: [torch.randint(0, 7, (2, 5))]),
    "dynamic": Case(Sized, images((2, 3, 8, 8)), lambda x: {"input_shapes": {x[0]: (None, 3, None, None)}}),
    "names": Case(
        Named,
        lambda: [torch.rand(2, 3, 4, 4), torch.rand(2), torch.rand(2, 3) > 0.5],
        lambda x: {"input_names": ["image", "scale", "mask"], "output_names": ["scaled", "above", "total"]},
    ),
    "half": Case(Half, images((2, 4))),
}
TRAINED = ("cnn", "attention", "recurrent", "weight_layer", "custom", "lambdas", "shared", "dynamic")

_LOAD = """
import pathlib, sys, traceback
sys.modules["torch"] = None  # importing it raises
import nobuco.layers  # all that a saved model needs
import keras, numpy as np
from nobuco.parity import Tolerance, compare, default_tolerance

def bits(array):
    array = np.asarray(array)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array  # of which npz knows nothing

def check(path):
    model = keras.models.load_model(path / "m.keras")
    data = np.load(path / "data.npz")
    feeds = [data[f"in{i}"] for i in range(len(model.inputs))]
    feeds = feeds[0] if len(feeds) == 1 else feeds
    for call in range(3):  # of which the second sees what the first has left behind
        for i, ours in enumerate(keras.tree.flatten(model.predict(feeds, verbose=0))):
            np.testing.assert_array_equal(bits(ours), data[f"out{call}_{i}"])
    nobuco.layers.state.reset_states(model)
    # Eagerly TensorFlow optimises a loaded function as a whole, and the operations that it came from each alone.
    for i, ours in enumerate(keras.tree.flatten(model(feeds, training=False))):
        ours = np.asarray(ours)
        wide = Tolerance(1e-5, None, "another order of summation", scaled=True)
        bound = wide if ours.dtype.name == "float32" else default_tolerance(ours.dtype.name)
        difference = compare(ours, data[f"out0_{i}"].astype(ours.dtype), bound)
        assert difference.matches, difference.describe()
    assert [t.name for t in model.inputs] == list(data["names"])
    nobuco.layers.state.reset_states(model)
    model.save(path / "again.keras")
    again = keras.models.load_model(path / "again.keras")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.checkpoint == model.checkpoint and model.checkpoint is not None

for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        check(folder)
        told = "loaded"
    except Exception:
        told = traceback.format_exc()
    (folder / "told.txt").write_text(told)
assert sys.modules["torch"] is None
"""


@pytest.fixture(scope="module")
def converted():
    """Each case's inputs and Keras model."""
    torch.manual_seed(0)
    registered_converters()
    found = {}
    with registry.restoring():
        strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER
        nobuco.converter(AddByMask, channel_ordering_strategy=strategy)(convert_add_by_mask)
        nobuco.converter(Custom, channel_ordering_strategy=strategy)(convert_custom)
        nobuco.converter(Twice, channel_ordering_strategy=strategy)(convert_twice)
        for name, case in CASES.items():
            inputs = case.draw()
            found[name] = (
                inputs,
                nobuco.pytorch_to_keras(case.make().eval(), inputs, **case.options(inputs), verbose=False),
            )
    return found


@pytest.fixture(scope="module")
def told(converted, tmp_path_factory):
    """What one process without PyTorch, which loads every model, tells of each."""
    root = tmp_path_factory.mktemp("models")
    for name, (inputs, model) in converted.items():
        (root / name).mkdir()
        feeds = feeds_of(inputs)
        nobuco.reset_states(model)
        model.save(root / name / "m.keras")
        arrays = {f"in{i}": feed for i, feed in enumerate(feeds if isinstance(feeds, list) else [feeds])}
        for call in range(3):
            for i, result in enumerate(keras.tree.flatten(model.predict(feeds, verbose=0))):
                arrays[f"out{call}_{i}"] = result.astype("float32") if result.dtype.name == "bfloat16" else result
        np.savez(root / name / "data.npz", names=[t.name for t in model.inputs], **arrays)
    subprocess.run([sys.executable, "-c", _LOAD, root], check=True, timeout=300)
    return {path.name: (path / "told.txt").read_text() for path in root.iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_a_model_loads_without_pytorch(told, name):
    assert told[name] == "loaded"


def feeds_of(inputs):
    feeds = [nobuco.t_pytorch2keras(x, TENSORFLOW).numpy() for x in inputs]
    return feeds[0] if len(feeds) == 1 else feeds


@pytest.mark.parametrize("name", TRAINED)
def test_a_loaded_model_trains_on(converted, tmp_path, name):
    """Weights that a closure holds are the loaded layer's own, and learn."""
    inputs, model = converted[name]
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
        ours, theirs = tf.convert_to_tensor(ours), tf.convert_to_tensor(theirs)
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


def test_an_op_layer_makes_its_graph_only_when_asked(monkeypatch):
    """Making it takes long, so neither converting nor running does."""
    from nobuco.layers import op

    made = []
    real = op._exported
    monkeypatch.setattr(op, "_exported", lambda *args: made.append(1) or real(*args))
    x = torch.rand(1, 3, 4, 4)
    model = nobuco.pytorch_to_keras(lambda x: torch.softmax(x * 2, 1), [x], verbose=False)
    model.predict(feeds_of([x]), verbose=0)
    layers = [layer for layer in model.layers if isinstance(layer, op.OpLayer)]
    assert layers and not made
    layers[0].get_config()
    assert made == [1]


def test_without_the_import_the_error_says_what_to_do(converted, tmp_path):
    converted["lambdas"][1].save(tmp_path / "m.keras")
    code = f"import keras; keras.models.load_model({str(tmp_path / 'm.keras')!r})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stderr
    assert "import nobuco.layers" in told[told.index("Could not locate class 'ConvertedModel'") :][:500]


# What a file costs beside its weights: each layer's config (a small graph for an op layer, which is compressed), and a
# group for it in the weights' file.
PER_LAYER = 2500


@pytest.mark.parametrize("name", ["cnn", "attention", "recurrent", "control flow", "state", "wide"])
def test_a_file_is_its_weights_and_little_more(converted, tmp_path, name):
    if name == "wide":
        wide = nn.Sequential(*(nn.Sequential(nn.Linear(300, 300), nn.GELU()) for _ in range(20)))
        model = nobuco.pytorch_to_keras(wide, [torch.rand(1, 300)], verbose=False)
    else:
        _, model = converted[name]
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    size, weights = ((tmp_path / file).stat().st_size for file in ("m.keras", "m.weights.h5"))
    assert size < weights + PER_LAYER * (len(model.layers) + 1)
    with zipfile.ZipFile(tmp_path / "m.keras") as file:
        config = json.loads(file.read("config.json"))
    assert config["registered_name"] == "nobuco>ConvertedModel"
