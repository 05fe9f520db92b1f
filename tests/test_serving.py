"""Which modules a converter of the user's serves, and that it may be any callable."""

from __future__ import annotations

import functools
import warnings

import keras
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

import nobuco
from nobuco.builtin import find_converter
from tests.parity import assert_converts

ROW = torch.rand(2, 4)
pytestmark = pytest.mark.usefixtures("restored_registry")


class Gate(nn.Module):
    """What users register converters for: its own parts, methods and numbers."""

    slope = 2

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def activation(self, x):
        return F.relu(x) * self.slope

    def forward(self, x):
        return self.activation(self.linear(x)) + self.offset(x)

    def offset(self, x):
        return self.shift if hasattr(self, "shift") else 0


@pytest.fixture
def seen():
    """The modules that the converter of `Gate` was asked for."""
    modules = []

    @nobuco.converter(Gate, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def convert_gate(self, x):
        modules.append(self)
        kernel, bias = (t.detach().numpy() for t in (self.linear.weight, self.linear.bias))
        return lambda x: tf.nn.relu(tf.matmul(x, kernel, transpose_b=True) + bias) * 2

    return modules


def derived(**members):
    return type("Derived", (Gate,), members)


class TestModules:
    @pytest.mark.parametrize(
        "kind",
        [
            Gate,
            derived(),
            derived(__init__=lambda self: Gate.__init__(self), extra_repr=lambda self: "4"),
            derived(reset_parameters=lambda self: None, predict=lambda self, x: self(x).argmax(-1), width=4),
            derived(__call__=lambda self, x: Gate.__call__(self, x) + 1, train=lambda self, mode=True: self),
        ],
    )
    def test_that_have_all_of_the_class_are_served(self, seen, kind):
        module = kind()
        assert_converts(nn.Sequential(module), ROW)
        assert seen == [module]

    @pytest.mark.parametrize(
        "members",
        [
            {"forward": lambda self, x: Gate.forward(self, x) + 1},
            {"activation": lambda self, x: F.silu(x)},
            {"slope": 3},
            {"shift": 1.0},
            {"linear": property(lambda self: lambda x: x + 1)},
            {"__getattr__": lambda self, name: F.silu if name == "linear" else nn.Module.__getattr__(self, name)},
        ],
        ids=lambda members: next(iter(members)),
    )
    @pytest.mark.filterwarnings("ignore::nobuco.errors.NobucoWarning")
    def test_that_have_anything_else_are_opened(self, seen, members):
        module = derived(**members)() if "linear" not in members else _without_linear(derived(**members))
        if "__getattr__" in members:
            del module.linear
        assert_converts(nn.Sequential(module), ROW)
        assert not seen

    def test_a_forward_replaced_by_hand_is_opened_and_said(self, seen):
        module = Gate()
        module.forward = lambda x: x * 2
        with pytest.warns(nobuco.errors.NobucoWarning, match=r"'0' has a 'forward' of its own.*test_serving\.Gate"):
            assert_converts(nn.Sequential(module), ROW)
        assert not seen

    def test_a_forward_of_the_class_given_by_hand_is_served(self, seen):
        module = Gate()
        module.forward = module.forward
        assert_converts(nn.Sequential(module), ROW)
        assert seen == [module]

    def test_a_forward_of_the_classs_own_is_not_said(self, seen):
        module = derived(forward=lambda self, x: x * 2)()
        with warnings.catch_warnings():
            warnings.simplefilter("error", nobuco.errors.NobucoWarning)
            assert_converts(nn.Sequential(module), ROW)

    def test_computed_weights_are_served(self, seen):
        module = Gate()
        parametrize.register_parametrization(module.linear, "weight", nn.Tanh())
        assert_converts(nn.Sequential(module), ROW)
        assert seen == [module]

    def test_the_next_class_that_fits(self):
        class Halved(nn.Linear):
            def forward(self, x):
                return super().forward(x) / 2

        class Plain(Halved):
            def forward(self, x):
                return nn.Linear.forward(self, x)

        @nobuco.converter(Halved)
        def convert_halved(self, x):
            raise AssertionError("it is none of these")

        model = assert_converts(nn.Sequential(Plain(4, 3)), ROW)
        assert isinstance(model.layers[-1], keras.layers.Dense)

    def test_both_classes_may_be_registered(self, seen):
        kind = derived(slope=2.0)
        nobuco.converter(kind)(nobuco.builtin.find_converter(Gate).function)
        module = kind()
        assert_converts(nn.Sequential(module), ROW)
        assert seen == [module]

    def test_it_is_told_without_a_module(self, seen):
        assert find_converter(derived()) is find_converter(Gate)
        assert find_converter(derived(slope=3)) is None
        assert find_converter(type("Act", (nn.BatchNorm2d,), {"forward": lambda self, x: x})) is None
        assert find_converter(type("Named", (nn.BatchNorm2d,), {"extra_repr": lambda self: ""})) is not None

    def test_loops_that_differ_from_size_to_size(self, seen):
        class Summed(nn.Module):
            def forward(self, x):
                total = x[0]
                for row in x[1:]:
                    total = total + row
                return total

        @nobuco.converter(Summed, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
        def convert_summed(self, x):
            return lambda x: tf.reduce_sum(x, 0)

        def converted(module):
            return nobuco.pytorch_to_keras(module, [ROW], input_shapes={ROW: (None, 4)}, verbose=False)

        more, replaced = torch.rand(5, 4), Summed()
        torch.testing.assert_close(torch.tensor(converted(Summed())(more).numpy()), more.sum(0))
        replaced.forward = lambda x: F.relu(x).mean(0)
        with pytest.warns(nobuco.errors.NobucoWarning, match="'forward' of its own"):
            model = converted(replaced)
        torch.testing.assert_close(torch.tensor(model(more).numpy()), more.mean(0))


def _without_linear(kind):
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    return module


@nobuco.traceable
def squared(x):
    return x * x + 1


class Table(dict):  # which has no hash
    def __call__(self, x):
        return lambda x: x * x + self["offset"]

    def method(self, x):
        return self(x)


CALLABLES = {
    "eval": eval("lambda x: lambda x: x * x + 1", {}),
    "partial": functools.partial(lambda offset, x: lambda x: x * x + offset, 1.0),
    "object": Table(offset=1.0),
    "method": Table(offset=1.0).method,
    "wrapped": functools.wraps(squared)(lambda x: lambda x: x * x + 1),
    "nameless": functools.partial(Table(offset=1.0)),
}


class TestAnyCallable:
    @pytest.mark.parametrize("make", CALLABLES.values(), ids=CALLABLES)
    def test_is_registered_and_found_again(self, make):
        nobuco.converter(squared)(make)
        assert find_converter(squared).function is make
        report = nobuco.pytorch_to_keras(lambda x: squared(x), [ROW], return_report=True, verbose=False)[1]
        assert report.ok and not report.first_bad()
        place, source = nobuco.locate_converter(squared)
        assert place and source
        nobuco.converter(squared)(make)  # as a cell does that is run again

    @pytest.mark.parametrize("make", [*CALLABLES.values(), max], ids=[*CALLABLES, "builtin"])
    def test_is_not_replaced_by_another(self, make):
        nobuco.converter(squared)(make)
        with pytest.raises(nobuco.ConverterRegistrationError, match="already has a converter, at "):
            nobuco.converter(squared)(lambda x: lambda x: x)
        nobuco.converter(squared, override=True)(lambda x: lambda x: x)

    def test_one_that_fails_is_named(self):
        nobuco.converter(squared)(eval("lambda x: 1 / 0", {}))
        with pytest.raises(nobuco.ConversionError, match=r'File "<string>", line 1.*ZeroDivisionError'):
            nobuco.pytorch_to_keras(lambda x: squared(x), [ROW], verbose=False)

    def test_what_is_not_written_in_python_shows_itself(self):
        nobuco.converter(squared)(max)
        place, source = nobuco.locate_converter(squared)
        assert place == "<built-in function max>" and "not written in Python" in source
