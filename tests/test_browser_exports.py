"""Files for runtimes in a browser: what TF.js lacks is not there, or told; integers of 32 bits at the ends."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.export import run_tflite, tflite, to_saved_model, to_tflite, unsupported_in_tfjs
from nobuco.export.running import tflite_operations


def saved(net, x, folder, **options):
    model = nobuco.pytorch_to_keras(net, [x], verbose=False, **options)
    to_saved_model(model, folder)
    return model


def operations_of(folder):
    graph = tf.saved_model.load(str(folder)).signatures["serving_default"].graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return {node.op for body in bodies for node in body}


class Sequences(nn.Module):
    """More steps than are unrolled."""

    def __init__(self, kind):
        super().__init__()
        self.layer = kind(4, 8, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_a_loop_over_a_sequence_is_for_tfjs(kind, tmp_path):
    x = torch.randn(1, 40, 4)
    saved(Sequences(kind).eval(), x, tmp_path / "net", input_shapes={x: (1, None, 4)})
    assert "EnsureShape" not in operations_of(tmp_path / "net")
    assert unsupported_in_tfjs(tmp_path / "net") == ()


def test_ensure_shape_is_told(tmp_path):
    @nobuco.traceable
    def sized(x):
        return x + 0

    with nobuco.registry.registry.restoring():
        nobuco.converter(sized)(lambda x: lambda x: tf.ensure_shape(x, (1, 4)))
        saved(sized, torch.ones(1, 4), tmp_path / "net")
    assert unsupported_in_tfjs(tmp_path / "net") == ("EnsureShape",)


def test_exact_gelu_is_for_tfjs_and_one_operation_in_tflite(tmp_path):
    x = torch.linspace(-8, 8, 4001)[None]
    model = saved(nn.GELU(), x, tmp_path / "net")
    assert unsupported_in_tfjs(tmp_path / "net") == ()
    assert tflite_operations(to_tflite(model)) == {"GELU": 1}
    np.testing.assert_allclose(model(x.numpy()), F.gelu(x.double()), atol=2e-6)


class Written(nn.Module):
    def forward(self, x):
        return x * F.relu6(x + 3) / 6


ONEDNN = "import tensorflow as tf; from nobuco.export import unsupported_in_tfjs; print(unsupported_in_tfjs({!r}))"


def told(folder, onednn):
    """What is told of a folder by a process with oneDNN, or without."""
    done = subprocess.run(
        [sys.executable, "-c", ONEDNN.format(str(folder))],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.full
def test_what_onednn_fuses_is_told(tmp_path):
    x = torch.randn(1, 3, 8, 8)
    for name, activation in (("layer", nn.Hardswish()), ("written", Written())):
        saved(nn.Sequential(nn.Conv2d(3, 8, 3), activation).eval(), x, tmp_path / name)
    assert told(tmp_path / "layer", "1") == "()"
    assert told(tmp_path / "written", "1") == "('_FusedHardSwish',)"
    assert told(tmp_path / "written", "0") == "()"


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, tokens):
        scores = self.table(tokens)
        return scores, scores.argmax(-1)


def test_integers_of_32_bits_at_the_ends(tmp_path):
    net, tokens = Tokens().eval(), torch.tensor([[1, 8, 3]])
    model = nobuco.pytorch_to_keras(net, [tokens], outputs_channel_order="nchw", verbose=False)
    with pytest.warns(nobuco.NobucoWarning, match=r"64-bit integers \(tokens, output_1\), .* index_dtype='int32'"):
        tflite(model, tmp_path / "wide.tflite")
    with warnings.catch_warnings():
        warnings.simplefilter("error", nobuco.NobucoWarning)
        tflite(model, tmp_path / "narrow.tflite", index_dtype="int32")
        tflite(model, tmp_path / "meant.tflite", index_dtype="int64")
    assert (tmp_path / "meant.tflite").read_bytes() == (tmp_path / "wide.tflite").read_bytes()
    data = (tmp_path / "narrow.tflite").read_bytes()
    scores, best = run_tflite(data, [tokens.numpy().astype(np.int32)])
    expected, indices = net(tokens)
    np.testing.assert_allclose(scores, expected.detach(), atol=1e-6)
    np.testing.assert_array_equal(best, indices)
    assert best.dtype == np.int32
    with pytest.raises(nobuco.InputError, match=r"int64; the file takes .* of int32 .* give x.astype\(np.int32\)"):
        run_tflite(data, [tokens.numpy()])
