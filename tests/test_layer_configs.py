"""A layer's config says all that it was built with: each argument changes it, and what is loaded computes the same."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
import nobuco.layers as ours

PACKAGE = Path(nobuco.__file__).parent

# Arguments that are no part of what a layer is: weights to start with, and ways to train or to store them on.
ELSEWHERE = {"self", "args", "kwargs", "weights", "lora_rank", "lora_alpha", "quantization_config", "name"}
# Each is another value than any layer's default.
VALUES = {
    "activation": "tanh",
    "use_bias": False,
    "kernel_initializer": "ones",
    "bias_initializer": "ones",
    "depthwise_initializer": "ones",
    "alpha_initializer": "ones",
    "embeddings_initializer": "ones",
    "beta_initializer": "ones",
    "gamma_initializer": "zeros",
    "moving_mean_initializer": "ones",
    "moving_variance_initializer": "zeros",
    "kernel_regularizer": "l2",
    "bias_regularizer": "l2",
    "activity_regularizer": "l2",
    "depthwise_regularizer": "l2",
    "alpha_regularizer": "l2",
    "embeddings_regularizer": "l2",
    "beta_regularizer": "l2",
    "gamma_regularizer": "l2",
    "kernel_constraint": "non_neg",
    "bias_constraint": "non_neg",
    "depthwise_constraint": "non_neg",
    "alpha_constraint": "non_neg",
    "embeddings_constraint": "non_neg",
    "beta_constraint": "non_neg",
    "gamma_constraint": "non_neg",
    "data_format": "channels_first",
    "dilation_rate": 2,
    "strides": 2,
    "groups": 2,
    "padding": "same",
    "depth_multiplier": 2,
    "axis": 1,
    "momentum": 0.5,
    "epsilon": 0.5,
    "center": False,
    "scale": False,
    "synchronized": True,
    "renorm": True,
    "renorm_clipping": {"rmax": 3.0, "rmin": 0.3, "dmax": 5.0},
    "renorm_momentum": 0.5,
    "mask_zero": True,
    "shared_axes": [1],
    "mode": "reflect",
    "state_dtype": "int32",
    "weight_dtype": "int32",
    "trainable": False,
    "dtype": "float64",
    "filters": 6,
    "kernel_size": 2,
    "units": 7,
    "input_dim": 9,
    "output_dim": 5,
}
BUILT_WITH = {"trainable", "dtype"}


def graph(scale=2.0):
    inputs = keras.Input((3,))
    layer = ours.OpLayer(lambda x: x * scale)
    layer(inputs)
    return layer.get_config()["graph"]


def conv(n, **more):
    return {"needed": {"filters": 4, "kernel_size": 3}, "shape": (2, *(6,) * n, 4), "own": more}


def transposed(n):
    # With padding of its own it needs the strides, too.
    return {**conv(n), "own": {"output_padding": 1}, "beside": {"output_padding": {"strides": 2}}}


def sized(name, n, needed, other):
    pairs = {name: other if n > 1 else other[0]}
    return {"needed": {name: needed if n > 1 else needed[0]}, "shape": (2, *(6,) * n, 4), "own": pairs}


RENORM = {name: {"renorm": True} for name in ("renorm_clipping", "renorm_momentum")}
CODE = {"function", "variables"}

# What each layer needs, what it is tried on, values for its own arguments and for those beside them, and which are left
# out: code is in no file, and a state does not train.
LAYERS = {
    **{f"Conv{n}D": conv(n) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": {"needed": {"kernel_size": 3}, "shape": (2, *(6,) * n, 4)} for n in (1, 2)},
    # Where Keras, before 3.15, leaves `output_padding` out, converters take ours.
    **{f"Conv{n}DTranspose": {**conv(n), "left": {"output_padding"}} for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": sized("padding", n, ((1, 1),) * n, ((2, 0),) * n) for n in (1, 2, 3)},
    **{f"Cropping{n}D": sized("cropping", n, ((1, 1),) * n, ((2, 0),) * n) for n in (1, 2, 3)},
    "Dense": {"needed": {"units": 4}, "shape": (2, 4)},
    "BatchNormalization": {"needed": {}, "shape": (2, 4, 4), "beside": RENORM},
    "Embedding": {"needed": {"input_dim": 10, "output_dim": 4}, "shape": (2, 3)},
    "PReLU": {"needed": {}, "shape": (2, 3, 4)},
    "Permute": {"needed": {"dims": (2, 1)}, "shape": (2, 3, 4), "own": {"dims": (1, 2)}},
}  # fmt: skip
OURS = {
    **{f"Conv{n}D": conv(n) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": transposed(n) for n in (1, 2, 3)},
    "Dense": LAYERS["Dense"],
    "OutputLayer": {"needed": {}, "shape": (2, 3)},
    "Waypoints": {"needed": {}, "shape": (2, 3)},
    "SpatialPadding": {"needed": {"padding": [[1, 1]]}, "shape": (2, 6, 4), "own": {"padding": [[2, -1]]}},
    "ZeroInsertion": {"needed": {"strides": [2]}, "shape": (2, 6, 4), "own": {"strides": [3]}},
    "StateLayer": {"needed": {"shape": [2, 3]}, "shape": (2, 3), "own": {"shape": [1, 2, 3]}, "left": {"trainable"}},
    "WeightLayer": {"needed": {"shape": [2, 3]}, "shape": (2, 3), "own": {"shape": [1, 2, 3]}},
    "OpLayer": {"needed": {"graph": graph()}, "shape": (2, 3), "own": {"graph": graph(3.0)}, "left": CODE},
}  # fmt: skip
KINDS = {f"keras.{name}": (getattr(keras.layers, name), about) for name, about in LAYERS.items()}
KINDS |= {f"nobuco.{name}": (getattr(ours, name), about) for name, about in OURS.items()}


def arguments(kind):
    """The names of all that a layer's constructor takes, and those that it hands on to."""
    found = set(BUILT_WITH)
    for base in kind.__mro__:
        if base in (keras.layers.Layer, object) or base.__module__.endswith((".layer", ".operation")):
            break
        found |= set(inspect.signature(base.__init__).parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(base.__init__).parameters.values()):
            break
    return found - ELSEWHERE - {"rank"}


def variants(kind, about):
    """For each argument the layer with another value of it, and for none the plain one."""
    values = {**VALUES, **about.get("own", {})}
    needed = about["needed"]
    yield None, needed
    for name in sorted(arguments(kind) - about.get("left", set())):
        yield name, {**needed, **about.get("beside", {}).get(name, {}), name: values[name]}


def plain(config):
    return json.loads(json.dumps(keras.saving.serialize_keras_object({**config, "name": ""})))


def test_all_layers_are_tried():
    """Those of ours, and those of Keras' that a converter names."""
    classes = [kind for kind in vars(ours).values() if isinstance(kind, type) and issubclass(kind, keras.layers.Layer)]
    assert {kind.__name__ for kind in classes} - {"ConvertedModel"} == set(OURS)
    files = [*PACKAGE.glob("converters/**/*.py"), *PACKAGE.glob("assemble/*.py")]
    source = "\n".join(path.read_text() for path in files)
    named = set(re.findall(r"keras\.layers\.([A-Z]\w+)\(", source))
    named |= {f"{family}2D" for family in re.findall(r'keras_layer\("(\w+)"', source)}
    assert len(named) > 6 and named <= set(LAYERS)


@pytest.mark.parametrize("name", KINDS)
def test_each_argument_changes_the_config_and_comes_back(name):
    kind, about = KINDS[name]
    for argument, given in variants(kind, about):
        layer = kind(**given)
        config = plain(layer.get_config())
        again = kind.from_config(json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))["config"])
        assert plain(again.get_config()) == config, argument
        if argument is not None:
            without = kind(**{**about["needed"], **about.get("beside", {}).get(argument, {})})
            assert config != plain(without.get_config()), f"{argument} is not in the config"


@pytest.mark.parametrize("name", KINDS)
def test_what_is_loaded_computes_the_same(name, tmp_path):
    kind, about = KINDS[name]
    shape = about["shape"]
    inputs = keras.Input(batch_shape=shape, dtype="int32" if "Embedding" in name else "float32")
    outputs = []
    for argument, given in variants(kind, about):
        if argument in ("data_format", "synchronized"):
            continue  # TensorFlow's CPU has no channels-first convolution, and Keras synchronises among devices
        if argument == "dilation_rate" and "Transpose" in name:
            continue  # TensorFlow has these on some processors alone, by oneDNN
        layer = kind(**given, name=f"with_{argument}")
        outputs.append(layer(inputs))
        randomise(layer)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    feed = (
        np.random.default_rng(0).integers(0, 9, shape)
        if "Embedding" in name
        else np.random.default_rng(0).random(shape)
    )
    for ours_, theirs in zip(keras.tree.flatten(model(feed)), keras.tree.flatten(loaded(feed)), strict=True):
        assert ours_.dtype == theirs.dtype
        np.testing.assert_array_equal(ours_, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_transposed_convolution_is_loaded_as_itself_by_any_keras(n, tmp_path, monkeypatch):
    """Before 3.15 the config of Keras' layer left `output_padding` out."""
    kind = getattr(keras.layers, f"Conv{n}DTranspose")
    base = next(base for base in kind.__mro__ if "get_config" in vars(base))
    whole = base.get_config
    left_out = lambda self: {k: v for k, v in whole(self).items() if k != "output_padding"}  # noqa: E731
    monkeypatch.setattr(base, "get_config", left_out)
    module = getattr(nn, f"ConvTranspose{n}d")(4, 4, 3, 2, 1, output_padding=1)
    x = torch.rand(1, 4, *(5,) * n)
    model = nobuco.pytorch_to_keras(module, [x], inputs_channel_order=nobuco.ChannelOrder.PYTORCH, verbose=False)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(x.numpy()), model(x.numpy()))


def randomise(layer):
    draw = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(tf.cast(draw.random(weight.shape) * 5, weight.dtype))
