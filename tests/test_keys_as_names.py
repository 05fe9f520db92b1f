"""Names and order of inputs and outputs: the keys of dicts and fields, in the program's order, in every file."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import nobuco
from nobuco.export import input_names, output_names, run_tflite, to_saved_model, to_tflite
from nobuco.layers.output import in_order

X, Y = torch.randn(2, 3), torch.randn(2, 3)


@dataclass
class Pair:
    zeta: torch.Tensor
    alpha: torch.Tensor


Named = namedtuple("Named", ["zeta", "alpha"])


def convert(function, *args, **kwargs):
    return nobuco.pytorch_to_keras(function, list(args), kwargs, verbose=False)


def names(model):
    return [tensor.name for tensor in model.inputs]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"input_ids": X, "attention_mask": Y}, ["input_ids", "attention_mask"]),
        ({"z": {"mask": X, "ids": Y}}, ["z.mask", "z.ids"]),
        ({"boxes": [X, Y]}, ["boxes_0", "boxes_1"]),
        ([{"a": X}, {"a": Y}], ["batch_0.a", "batch_1.a"]),
        (Pair(X, Y), ["zeta", "alpha"]),
        (Named(X, Y), ["zeta", "alpha"]),
        ([X, (Y,)], ["batch_0", "batch_1"]),
        ({"only": X}, ["only"]),
        ([X], ["batch"]),
    ],
)
def test_inputs_are_called_by_their_keys(argument, expected):
    def forward(batch):
        return [leaf * 2 for leaf in torch.utils._pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor)]

    if isinstance(argument, Pair):
        model = convert(lambda batch: batch.zeta - batch.alpha, argument)
    else:
        model = convert(forward, argument)
    assert names(model) == expected
    assert input_names(model) == [name.replace(".", "_") for name in expected]


def test_keys_that_come_twice_stand_behind_their_parameters():
    model = convert(lambda left, right, ids: left["ids"] - right["ids"] * ids, {"ids": X}, {"ids": Y}, X)
    assert names(model) == ["left.ids", "right.ids", "ids"] or len(set(names(model))) == 3
    np.testing.assert_allclose(model([X.numpy(), Y.numpy(), X.numpy()]), X - Y * X, rtol=1e-6)


def test_keyword_arguments_that_are_dicts():
    assert names(convert(lambda a, *, batch: a + batch["y"], X, batch={"y": Y})) == ["a", "y"]


OUTPUTS = {
    "dict": (lambda x: {"logits": x, "probs": x * 2, "embedding": x * 3}, ["logits", "probs", "embedding"]),
    "nested": (
        lambda x: {"detections": {"scores": x, "boxes": x * 2}, "aux": [x * 3, x * 4]},
        ["detections.scores", "detections.boxes", "aux_0", "aux_1"],
    ),
    "dataclass": (lambda x: Pair(x, x * 2), ["zeta", "alpha"]),
    "namedtuple": (lambda x: Named(x, x * 2), ["output_0", "output_1"]),
    "list": (lambda x: [x, (x * 2, x * 3)], ["output_0", "output_1", "output_2"]),
    "list of dicts": (lambda x: [{"b": x, "a": x * 2}, x * 3], ["output_0.b", "output_0.a", "output_2"]),
}


@pytest.mark.parametrize(("program", "expected"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_outputs_keep_their_order_and_their_keys(program, expected, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    def shifted(x):
        return program(x + 1)

    model, feed = convert(shifted, X), X.numpy()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    wanted = [t.numpy() for t in nobuco.bridge.flat_outputs(shifted(X))]
    assert output_names(model) == output_names(loaded) == expected
    data = to_tflite(model)
    interpreter = Interpreter(model_content=data)
    assert [detail["name"] for detail in interpreter.get_output_details()] == expected
    assert set(interpreter.get_signature_list()["serving_default"]["outputs"]) == set(expected)
    to_saved_model(model, tmp_path / "saved")
    signature = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](tf.constant(feed))
    runs = [in_order(model(feed)), in_order(loaded(feed)), run_tflite(data, [feed]), [signature[n] for n in expected]]
    for got in runs:
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_outputs_of_transformers_style():
    """An ordered mapping with attributes, as transformers returns it."""
    from collections import OrderedDict

    class ModelOutput(OrderedDict):
        pass

    model = convert(lambda x: ModelOutput(logits=x + 1, hidden=x * 2), X)
    assert list(model(X.numpy())) == output_names(model) == ["logits", "hidden"]
