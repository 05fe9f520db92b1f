"""`model.save("m.keras")` and `keras.models.load_model` in a process that cannot import PyTorch, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.builtin import registered_converters
from nobuco.registry import registry
from tests.older import fails_before
from tests.saved_models import (
    CASES,
    AddByMask,
    Custom,
    Twice,
    convert_add_by_mask,
    convert_custom,
    convert_twice,
)

TENSORFLOW = ChannelOrder.TENSORFLOW


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


@fails_before("keras", "3.12", "it imports the layers' module by itself, which is no error")
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
