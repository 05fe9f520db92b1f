"""Models with more layers in a row than Python allows calls within each other."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.assemble.depth import STAGE, in_stages
from nobuco.assemble.names import Names
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.layers import Waypoints


def _converted(module, x):
    return nobuco.pytorch_to_keras(
        module.eval(), [x], inputs_channel_order=ChannelOrder.PYTORCH, full_validation=False, verbose=False
    )


def _chain(layers):
    return nn.Sequential(*(nn.Softsign() if i % 2 else nn.Tanh() for i in range(layers)))


def test_a_thousand_layers_convert_and_export():
    depth = sys.getrecursionlimit()
    module, x = _chain(depth), torch.rand(2, 3)
    model = _converted(module, x)
    expected = module(x).numpy()
    np.testing.assert_allclose(model(x.numpy()), expected, atol=1e-5)
    assert len(model.layers) == depth + 2, "the layers, the input, and what lets Keras come by in stages"
    assert model.get_layer("1.softsign").output is model.layers[2].output
    np.testing.assert_allclose(run_tflite(to_tflite(model), [x.numpy()])[0], expected, atol=1e-5)


def test_a_shallow_model_is_left_alone():
    model = _converted(_chain(3), torch.rand(2, 3))
    assert not any(isinstance(layer, Waypoints) for layer in model.layers)


@pytest.mark.full
def test_branches_of_a_thousand_layers_side_by_side_save_and_load(tmp_path):
    inputs = keras.Input((3,))
    left = right = inputs
    for _ in range(sys.getrecursionlimit()):
        left, right = keras.layers.Identity()(left), keras.layers.Identity()(right)
    both = keras.layers.Add()([left, right])
    with pytest.raises(RecursionError):
        keras.Model(inputs, both)
    model = keras.Model(inputs, [in_stages(both, [both, right], Names()), right])
    (layer,) = (layer for layer in model.layers if isinstance(layer, Waypoints))
    assert len(layer.input) == 2 * (sys.getrecursionlimit() // STAGE) + 1
    np.testing.assert_array_equal(model(np.ones((1, 3), np.float32))[0], np.full((1, 3), 2))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(np.ones((1, 3), np.float32))[0], np.full((1, 3), 2))
