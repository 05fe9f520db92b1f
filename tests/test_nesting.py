"""What goes into a program and what comes out: nested, repeated, unused, constant, of any dtype."""

from __future__ import annotations

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

import nobuco
from conformance.torchvision_models import torchvision
from nobuco import ChannelOrder
from nobuco.bridge import to_numpy
from nobuco.export.tflite_file import run_tflite, to_tflite
from tests.parity import convert

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


def tensors_in(tree):
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def outputs_of(model, *args, **kwargs):
    """The Keras model's outputs on what the program was given, in PyTorch's order of outputs."""
    feeds = [nobuco.t_pytorch2keras(t) for t in tensors_in((args, kwargs))]
    return model(feeds[0] if len(feeds) == 1 else feeds)


def assert_equal(ours, theirs, atol=1e-6):
    ours = nobuco.t_keras2pytorch(ours, PYTORCH)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(
        to_numpy(ours).astype(np.float64), to_numpy(theirs).astype(np.float64), rtol=1e-5, atol=atol
    )


@dataclass
class Pair:
    first: torch.Tensor
    second: torch.Tensor
    note: str = "a pair"


Named = namedtuple("Named", ["left", "right"])


class Typed(NamedTuple):
    low: torch.Tensor
    high: torch.Tensor


A, B, C = (torch.rand(2, 3) + i for i in range(3))


class TestInputs:
    @pytest.mark.parametrize(
        ("nested", "take"),
        [
            ((A, [B, {"c": C}]), lambda n: (n[0], n[1][0], n[1][1]["c"])),
            ([A, (B, C)], lambda n: (n[0], n[1][0], n[1][1])),
            ({"z": A, "a": B, "m": (C,)}, lambda n: (n["z"], n["a"], n["m"][0])),
            (OrderedDict([("z", A), ("a", B), ("m", C)]), lambda n: (n["z"], n["a"], n["m"])),
            ((Pair(A, B), C), lambda n: (n[0].first, n[0].second, n[1])),
            ([Named(A, B), C], lambda n: (n[0].left, n[0].right, n[1])),
            ((Typed(A, B), None, C, "text", 3), lambda n: (n[0].low, n[0].high, n[2])),
        ],
        ids=["tuple", "list", "dict", "ordered", "dataclass", "namedtuple", "typed"],
    )
    def test_nested(self, nested, take):
        def program(nested):
            a, b, c = take(nested)
            return a - 2 * b + c * c

        model = convert(program, nested)
        assert len(model.inputs) == 3
        given = take(nested)
        feeds = [given[i].numpy() for i in range(3)]
        assert_equal(model(feeds), program(nested))

    def test_inputs_keep_their_order_however_they_are_used(self):
        tensors = [torch.rand(i + 1) for i in range(8)]
        model = convert(lambda *xs: sum(x.sum() * i for i, x in reversed(list(enumerate(xs)))), *tensors)
        assert [t.shape[0] for t in model.inputs] == list(range(1, 9))

    def test_keyword_inputs_come_in_the_order_given(self):
        model = nobuco.pytorch_to_keras(lambda a, b, c: a - b * c, [A], kwargs={"c": C, "b": B}, verbose=False)
        assert [t.name for t in model.inputs] == ["a", "c", "b"]
        assert_equal(model([A.numpy(), C.numpy(), B.numpy()]), A - B * C)

    def test_one_tensor_twice_is_two_inputs(self):
        model = convert(lambda a, b: a - b, A, A)
        assert_equal(model([A.numpy(), B.numpy()]), A - B)

    def test_unused_inputs_stay(self):
        model = convert(lambda a, unused, c: a + c, A, B, C)
        assert [t.name for t in model.inputs] == ["a", "unused", "c"]
        assert_equal(outputs_of(model, A, B, C), A + C)
        (got,) = run_tflite(to_tflite(model), [A.numpy(), B.numpy(), C.numpy()])
        np.testing.assert_allclose(got, A + C, rtol=1e-6)

    @pytest.mark.parametrize(
        "dtype",
        [
            torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
            torch.float16, torch.bfloat16, torch.float32, torch.float64,
        ],
    )  # fmt: skip
    def test_dtypes(self, dtype):
        x = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)

        def program(x):
            return x, torch.stack([x, x]).flip(0), x.float() + 1, x.reshape(3, 2)

        model = convert(program, x)
        assert model.inputs[0].dtype == str(dtype).removeprefix("torch.")
        for ours, theirs in zip(outputs_of(model, x), program(x)):
            assert_equal(ours, theirs)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_weights_of_other_dtypes(self, dtype):
        module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).eval().to(dtype)
        x = torch.rand(1, 2, 4, 4).to(dtype)
        model = convert(module, x)
        assert_equal(outputs_of(model, x), module(x), atol=1e-2 if dtype is not torch.float64 else 1e-7)

    def test_inputs_and_parameters_that_require_grad(self):
        x = torch.rand(2, 3, requires_grad=True)
        module = nn.Linear(3, 3)
        model = convert(lambda x: module(x) * x.detach(), x)
        assert_equal(outputs_of(model, x), module(x).detach() * x.detach())

    def test_an_input_that_is_written(self):
        x = torch.rand(2, 3)
        given = x.clone()

        def program(x):
            x[:, 1:] *= 2
            return x + 1

        model = convert(program, given)
        assert torch.equal(given, x)
        assert_equal(outputs_of(model, x), program(x.clone()))

    def test_scalars(self):
        x = torch.tensor(3.0)
        assert_equal(outputs_of(convert(lambda x: x * 2, x), x), x * 2)


class TestOutputs:
    @pytest.mark.parametrize(
        ("build", "keys"),
        [
            (lambda a, b: (a, [b, (a * b,)]), None),
            (lambda a, b: {"z": a, "a": b}, {"z", "a"}),
            (lambda a, b: Pair(a, b), {"first", "second"}),
            (lambda a, b: OrderedDict(z=a, b=[b, a]), {"z", "b"}),
            (lambda a, b: Named(a, b), None),
        ],
        ids=["tuples", "dict", "dataclass", "ordered", "namedtuple"],
    )
    def test_structure(self, build, keys):
        def program(x):
            return build(x + 1, x * 2)

        model = convert(program, A)
        got, expected = outputs_of(model, A), program(A)
        if keys is not None:
            assert set(got) == keys
        if isinstance(expected, Pair):
            expected = {"first": expected.first, "second": expected.second}
        if isinstance(expected, Named):
            expected = tuple(expected)
        if isinstance(expected, dict):
            pairs = [(got[k], expected[k]) for k in expected]
            pairs = [(o, t) for ours, theirs in pairs for o, t in zip(keras.tree.flatten(ours), tensors_in(theirs))]
        else:
            pairs = list(zip(keras.tree.flatten(got), tensors_in(expected)))
        assert pairs
        for ours, theirs in pairs:
            assert_equal(ours, theirs)

    def test_a_tuple_of_one(self):
        (got,) = keras.tree.flatten(outputs_of(convert(lambda x: (x + 1,), A), A))
        assert_equal(got, A + 1)

    def test_order_and_name_by_index_count_in_the_programs_order(self):
        x = torch.rand(1, 2, 3, 4)
        model, report = convert(
            lambda x: {"z": x + 1, "a": x * 2}, x, outputs_channel_order={0: TENSORFLOW, 1: PYTORCH},
            output_names=["sum", "product"], return_report=True,
        )  # fmt: skip
        assert report.ok
        got = model(x.numpy())
        assert got["z"].shape == (1, 3, 4, 2) and got["a"].shape == (1, 2, 3, 4)
        assert model.get_layer("sum").output.shape == (1, 3, 4, 2)

    def test_inputs_as_outputs(self):
        model = convert(lambda a, b: (b, a, a + b), A, B)
        for ours, theirs in zip(outputs_of(model, A, B), (B, A, A + B)):
            assert_equal(ours, theirs)
        for ours, theirs in zip(run_tflite(to_tflite(model), [A.numpy(), B.numpy()]), (B, A, A + B)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    def test_nothing_but_the_input(self):
        model = convert(lambda a: a, A)
        assert_equal(outputs_of(model, A), A)
        (got,) = run_tflite(to_tflite(model), [A.numpy()])
        np.testing.assert_array_equal(got, A)

    @pytest.mark.parametrize("order", [PYTORCH, TENSORFLOW])
    def test_an_input_in_another_order(self, order):
        x = torch.rand(1, 2, 3, 4)
        model = convert(lambda x: x, x, outputs_channel_order=order)
        np.testing.assert_array_equal(nobuco.t_keras2pytorch(model(x.numpy()), order), x)

    def test_duplicates(self):
        def program(x):
            y = F.relu(x)
            return y, x, y, {"again": y}, x

        model = convert(program, A)
        got = keras.tree.flatten(outputs_of(model, A))
        assert len(got) == 5
        for ours, theirs in zip(got, tensors_in(program(A))):
            assert_equal(ours, theirs)
        assert len(run_tflite(to_tflite(model), [A.numpy()])) == 5

    def test_constants(self):
        constant, parameter = torch.rand(2, 3, 4), nn.Parameter(torch.rand(2))

        def program(x):
            return x + 1, constant, torch.arange(4), constant * 2, parameter, torch.ones(2, dtype=torch.bool)

        model = convert(program, A)
        for ours, theirs in zip(outputs_of(model, A), program(A)):
            assert_equal(ours, theirs)

    def test_a_parameter_of_the_module_as_output(self):
        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Parameter(torch.rand(1, 2, 3))

            def forward(self, x):
                return x.sum(), self.table

        module = Tokens()
        model = convert(module, A)
        assert_equal(outputs_of(model, A)[1], module.table)
        assert len(model.trainable_weights) == 1

    def test_constants_alone(self):
        model = convert(lambda x: torch.ones(2, 3), A)
        assert_equal(outputs_of(model, A), torch.ones(2, 3))

    def test_views_of_an_output(self):
        def program(x):
            y = x * 2
            z = y[0]
            y.add_(1)
            return z, y, y.t()

        model = convert(program, A)
        for ours, theirs in zip(outputs_of(model, A), program(A)):
            assert_equal(ours, theirs)

    def test_none_among_the_outputs(self):
        got = outputs_of(convert(lambda x: (x + 1, None, x * 2), A), A)
        assert len(got) == 2
        assert_equal(got[1], A * 2)


class TestHuggingFace:
    @pytest.fixture(autouse=True)
    def transformers(self):
        torchvision()
        return pytest.importorskip("transformers")

    def test_bert(self, transformers):
        config = transformers.BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=50,
            max_position_embeddings=16,
        )  # fmt: skip
        torch.manual_seed(0)
        module = transformers.BertModel(config).eval()
        ids = torch.randint(0, 50, (2, 7))
        mask = torch.ones(2, 7, dtype=torch.int64)
        mask[1, 4:] = 0
        model = nobuco.pytorch_to_keras(
            module, kwargs={"input_ids": ids, "attention_mask": mask}, outputs_channel_order=PYTORCH, verbose=False
        )
        got = model([ids.numpy(), mask.numpy()])
        expected = module(input_ids=ids, attention_mask=mask)
        assert set(got) == {"last_hidden_state", "pooler_output"}
        for key in got:
            assert_equal(got[key], expected[key].detach(), atol=1e-5)

    def test_vit(self, transformers):
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
        )
        torch.manual_seed(0)
        module = transformers.ViTForImageClassification(config).eval()
        x = torch.rand(1, 3, 8, 8)
        model = nobuco.pytorch_to_keras(
            module, [x], kwargs={"output_hidden_states": True}, outputs_channel_order=PYTORCH, verbose=False
        )
        got = model(nobuco.t_pytorch2keras(x, TENSORFLOW))
        expected = module(x, output_hidden_states=True)
        assert set(got) == {"logits", "hidden_states"}
        assert_equal(got["logits"], expected.logits.detach(), atol=1e-5)
        for ours, theirs in zip(got["hidden_states"], expected.hidden_states):
            assert_equal(ours, theirs.detach(), atol=1e-5)


def test_deep_copies_share_nothing():
    layer = nn.Linear(3, 3)
    module = nn.Sequential(layer, copy.deepcopy(layer))
    with torch.no_grad():
        module[1].weight.mul_(2)
    model = convert(module, A)
    assert len(model.trainable_weights) == 4
    assert_equal(outputs_of(model, A), module(A).detach())
