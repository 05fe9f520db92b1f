"""One module is one Keras layer, one parameter one weight, however often the program uses them."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.layers.output import called
from tests.parity import assert_close, tensors_of

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


def convert(model, *args, **options):
    return nobuco.pytorch_to_keras(model, list(args), outputs_channel_order=TENSORFLOW, verbose=False, **options)


def assert_matches(keras_model, module, *args):
    got = called(keras_model, [nobuco.t_pytorch2keras(x, TENSORFLOW) for x in args])
    assert_close(got, tensors_of(module, *args), TENSORFLOW)


def layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


class Twice(nn.Module):
    def __init__(self, inner, between=None):
        super().__init__()
        self.inner = inner
        self.between = between or nn.Identity()

    def forward(self, x):
        return self.inner(self.between(self.inner(x)))


@pytest.mark.parametrize(
    ("inner", "shape", "kind"),
    [
        (nn.Conv2d(3, 3, 3, padding=1), (1, 3, 6, 6), keras.layers.Conv2D),
        (nn.Linear(4, 4), (2, 4), keras.layers.Dense),
        (nn.BatchNorm2d(3), (1, 3, 6, 6), keras.layers.BatchNormalization),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), (1, 3, 6, 6), keras.layers.Conv2D),
    ],
    ids=["conv", "linear", "batchnorm", "sequential"],
)
def test_a_module_called_twice_is_one_layer(inner, shape, kind):
    module, x = Twice(inner).eval(), torch.rand(shape)
    model, report = convert(module, x, return_report=True)
    (layer,) = layers(model, kind)
    assert len(layer._inbound_nodes) == 2
    assert [
        node.reused
        for node in report.walk()
        if node.direct
        and node.name.split(".")[-1] == type(inner[0] if isinstance(inner, nn.Sequential) else inner).__name__
    ] == [False, True]
    assert_matches(model, module, x)


@pytest.mark.parametrize(
    ("inner", "shapes"), [(nn.Linear(4, 3), [(2, 4), (4,), (3, 4)]), (nn.PReLU(4), [(2, 4), (2, 4, 3), (2, 4, 3, 3)])]
)
def test_a_module_called_at_another_rank(inner, shapes):
    model = convert(lambda *given: tuple(inner(x) for x in given), *map(torch.randn, shapes))
    assert_matches(model, lambda *given: tuple(inner(x) for x in given), *map(torch.randn, shapes))


def test_calls_at_two_ranks_are_two_layers():
    linear = nn.Linear(4, 3)
    model = convert(lambda *given: tuple(linear(x) for x in given), *map(torch.randn, [(2, 4), (4,), (3, 4), (4,)]))
    assert len([layer for layer in model.layers if layer.weights]) == 2


def test_two_different_shapes():
    module, x = Twice(nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)).eval(), torch.rand(1, 3, 8, 8)
    model = convert(module, x)
    (layer,) = layers(model, keras.layers.Conv2D)
    assert len(layer._inbound_nodes) == 2
    assert_matches(model, module, x)


class Mixed(nn.Module):
    """One linear layer on tensors of rank two, three and four: three ways to lie, one weight."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        y = self.conv(x)
        return self.linear(y), self.linear(y.flatten(2).transpose(1, 2)), self.linear(y.mean((2, 3)))


def test_one_weight_whatever_the_rank():
    module, x = Mixed().eval(), torch.rand(1, 3, 4, 4)
    model = convert(module, x)
    assert len(layers(model, keras.layers.Dense)) == 1
    assert len(model.trainable_weights) == 4
    assert_matches(model, module, x)


class BothOrders(nn.Module):
    """A norm over the last dimension, read in both orders."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4, 4, 4))
        self.conv = nn.Conv2d(4, 4, 1)
        self.act = nn.PReLU(4)

    def forward(self, x):
        first = self.act(self.conv(x)) * self.scale
        second = self.act(torch.matmul(x, x)) @ self.scale[0]
        return first, second


def test_a_parameter_read_in_two_orders_is_one_weight():
    module, x = BothOrders().eval(), torch.rand(1, 4, 4, 4)
    model = convert(module, x)
    assert_matches(model, module, x)
    count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert count == sum(p.numel() for p in module.parameters())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))


def test_tied_weights_match():
    module, ids = Tied().eval(), torch.randint(0, 10, (2, 5))
    model = convert(module, ids)
    assert_matches(model, module, ids)


@pytest.mark.xfail(
    reason="the embedding and the head each get a native layer with a copy of the tied weight", strict=True
)
def test_tied_weights_are_one_weight():
    model = convert(Tied().eval(), torch.randint(0, 10, (2, 5)))
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 40


def test_deep_copies_are_layers_of_their_own():
    layer = nn.Conv2d(3, 3, 1)
    module = nn.Sequential(layer, copy.deepcopy(layer)).eval()
    with torch.no_grad():
        module[1].weight.mul_(-1)
    x = torch.rand(1, 3, 4, 4)
    model = convert(module, x)
    assert len(layers(model, keras.layers.Conv2D)) == 2
    assert_matches(model, module, x)


def test_one_functional_parameter_used_twice_is_one_weight():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4, 4))

        def forward(self, x):
            return F.linear(F.relu(F.linear(x, self.weight)), self.weight)

    module, x = Functional().eval(), torch.rand(2, 4)
    model = convert(module, x)
    assert len(model.trainable_weights) == 1
    assert_matches(model, module, x)


def test_layers_are_named_after_the_module_path():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b c/é": nn.Linear(4, 3)})

        def forward(self, x):
            y = self.stem(x).mean((2, 3))
            return {key: head(y) for key, head in self.heads.items()}

    model = convert(Net().eval(), torch.rand(1, 3, 4, 4))
    for name, kind in (
        ("stem.0", keras.layers.Conv2D),
        ("stem.1", keras.layers.BatchNormalization),
        ("heads.a", keras.layers.Dense),
        ("heads.b_c__", keras.layers.Dense),
    ):
        assert isinstance(model.get_layer(name), kind)


def test_a_module_called_with_other_arguments_is_converted_for_them():
    class Scale(nn.Module):
        def forward(self, x, factor, bias=None):
            return x * factor if bias is None else x * factor + bias

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = Scale()

        def forward(self, x):
            return self.scale(x, 2) + self.scale(x, 3) + self.scale(x, 2, bias=x) + self.scale(factor=4, x=x)

    seen = []

    @nobuco.converter(Scale)
    def convert_scale(self, x, factor, bias=None):
        seen.append((factor, bias is not None))
        return lambda x, factor, bias=None: x * factor if bias is None else x * factor + bias

    module, x = Net(), torch.rand(2, 3)
    try:
        model = convert(module, x)
    finally:
        nobuco.unregister_converter(Scale)
    assert seen == [(2, False), (3, False), (2, True), (4, False)]
    assert_matches(model, module, x)
