"""What users write themselves: traceable functions, converters of every strategy, conversions inside converters."""

from __future__ import annotations

import pkgutil
import re
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.builtin import find_converter, registered_converters
from nobuco.layers.output import called
from nobuco.layers.weight import WeightLayer
from nobuco.ops.names import Lacking
from nobuco.registry import operation_name, registry
from tests.parity import assert_close, tensors_of

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW
IMAGE = torch.rand(1, 3, 6, 4)


def convert(model, *args, **options):
    options = {"outputs_channel_order": PYTORCH} | options
    return nobuco.pytorch_to_keras(model, list(args), verbose=False, **options)


@contextmanager
def converter(operation, make, **options):
    """A converter for the time of a block."""
    registered_converters()  # the built-in ones are there before it
    with registry.restoring():
        nobuco.converter(operation, **options)(make)
        yield


def assert_matches(keras_model, module, *args):
    got = called(keras_model, [nobuco.t_pytorch2keras(x, TENSORFLOW) for x in args])
    assert_close(got, tensors_of(module, *args), PYTORCH)


@nobuco.traceable
def squared(x, shift=0):
    return x * x + shift


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            self.bn.running_mean.uniform_()
            self.bn.running_var.uniform_(0.5, 2)
            self.bn.weight.uniform_(0.5, 2)
            self.bn.bias.uniform_()

    @nobuco.traceable
    def bn_conv(self, x):
        return self.conv(self.bn(x))

    def forward(self, x):
        return F.relu(self.bn_conv(x))


class TestTraceable:
    def test_a_function_without_converter_opens(self):
        _, report = convert(lambda x: squared(x, shift=2), IMAGE, return_report=True)
        (node,) = [n for n in report.walk() if n.name.endswith("squared")]
        assert len(node.children) == 2 and report.ok

    def test_a_function_with_converter_gets_its_arguments(self):
        seen = []

        def make(x, shift=0):
            seen.append((type(x), tuple(x.shape), shift))
            return lambda x, shift=0: tf.square(x) + float(shift)

        with converter(squared, make, channel_ordering_strategy=ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS):
            model = convert(lambda x: squared(x, shift=2), IMAGE)
        assert seen == [(torch.Tensor, (1, 3, 6, 4), 2)]
        assert_matches(model, lambda x: squared(x, 2), IMAGE)

    def test_a_method_without_converter_opens(self):
        module = Stem().eval()
        assert_matches(convert(module, IMAGE), module, IMAGE)

    def test_a_method_with_a_converter_that_converts_its_modules(self):
        """The README's fusion of a batch norm into the convolution behind it."""

        def make(self, x):
            options = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
            bn, after = nobuco.pytorch_to_keras(self.bn, [x], return_outputs_pt=True, **options)
            conv = nobuco.pytorch_to_keras(self.conv, [after], **options)
            gamma, beta, mean, variance = bn.get_weights()
            kernel, bias = conv.get_weights()
            scale = gamma / np.sqrt(variance + self.bn.eps)
            shift = beta - mean * scale
            conv.set_weights([kernel * scale[:, None], (kernel * shift[:, None]).sum((0, 1, 2)) + bias])
            return lambda self, x: conv(x)

        module = Stem().eval()
        strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER
        with converter(Stem.bn_conv, make, channel_ordering_strategy=strategy):
            model, report = convert(module, IMAGE, return_report=True)
        assert report.ok
        assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
        assert len(model.trainable_weights) == 2
        assert_matches(model, module, IMAGE)

    def test_a_traceable_function_inside_a_module(self):
        class Net(nn.Module):
            def forward(self, x):
                return squared(F.relu(x)) + squared(x)

        assert_matches(convert(Net(), IMAGE), Net(), IMAGE)


class TestConverters:
    @pytest.mark.parametrize("strategy", [s for s in ChannelOrderingStrategy if s.name != "MANUAL"])
    @pytest.mark.parametrize("order", [PYTORCH, TENSORFLOW])
    def test_tensors_arrive_as_the_strategy_says(self, strategy, order):
        seen = []

        def make(x, shift=0):
            def call(x, shift=0):
                seen.append((nobuco.get_channel_order(x), tuple(x.shape)))
                if strategy is ChannelOrderingStrategy.OUTPUT_FORCE_PYTORCH_ORDER:
                    perm = nobuco.get_channel_order(x).transposition_to(PYTORCH, 4)
                    return tf.transpose(x * x, perm)
                return x * x

            return call

        with converter(squared, make, channel_ordering_strategy=strategy):
            _model, report = convert(squared, IMAGE, inputs_channel_order=order, return_report=True)
        allowed = {
            "FORCE_TENSORFLOW_ORDER": {TENSORFLOW},
            "FORCE_PYTORCH_ORDER": {PYTORCH},
        }.get(strategy.name, {PYTORCH, TENSORFLOW})
        assert {found for found, _ in seen} <= allowed
        for found, shape in seen:
            assert shape == ((1, 3, 6, 4) if found is PYTORCH else (1, 6, 4, 3))
        assert report.ok

    @pytest.mark.parametrize("order", [PYTORCH, TENSORFLOW])
    @pytest.mark.parametrize("leaves", [PYTORCH, TENSORFLOW])
    def test_manual_converters_say_how_their_output_lies(self, order, leaves):
        def make(x, shift=0):
            def call(x, shift=0):
                before = nobuco.get_channel_order(x)
                return nobuco.set_channel_order(tf.transpose(x * x, before.transposition_to(leaves, 4)), leaves)

            return call

        with converter(squared, make, channel_ordering_strategy=ChannelOrderingStrategy.MANUAL):
            model, report = convert(
                lambda x: squared(F.relu(x)) + 1,
                IMAGE,
                inputs_channel_order=order,
                outputs_channel_order=leaves,
                return_report=True,
            )
        assert report.ok and report.transpositions == 0
        assert model.output.shape == ((1, 3, 6, 4) if leaves is PYTORCH else (1, 6, 4, 3))

    def test_a_converter_may_return_a_keras_layer(self):
        class Squash(nn.Module):
            def forward(self, x):
                return torch.tanh(x)

        with converter(Squash, lambda self, x: keras.layers.Activation("tanh")):
            model = convert(nn.Sequential(Squash()), IMAGE)
        assert isinstance(model.get_layer("0"), keras.layers.Activation)
        assert_matches(model, torch.tanh, IMAGE)

    def test_a_converter_for_a_module_beats_those_of_its_parts(self):
        with converter(
            Stem,
            lambda self, x: lambda x: tf.zeros([1, 4, 2, 4]),
            channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER,
        ):
            _model, report = convert(Stem().eval(), IMAGE, return_report=True)
        assert not report.ok and "Stem" in report.first_bad().name
        assert len([n for n in report.walk() if n.direct]) == 1

    @pytest.mark.parametrize("reusable", [True, False])
    def test_reusable(self, reusable):
        class Scale(nn.Module):
            def forward(self, x):
                return x * 2

        made = []

        def make(self, x):
            made.append(x)
            return lambda x: x * 2

        scale = Scale()
        with converter(Scale, make, reusable=reusable):
            model = convert(nn.Sequential(scale, scale), IMAGE)
        assert len(made) == (1 if reusable else 2)
        assert_matches(model, lambda x: x * 4, IMAGE)

    @pytest.mark.parametrize("autocast", [True, False])
    def test_autocast(self, autocast):
        @nobuco.traceable
        def mixed(x, y):
            return x + y

        seen = []

        def make(x, y):
            def call(x, y):
                seen.append((x.dtype.name if hasattr(x.dtype, "name") else x.dtype, y.dtype))
                return tf.cast(x, tf.float32) + tf.cast(y, tf.float32)

            return call

        x, y = torch.rand(2, 3).half(), torch.rand(2, 3)
        with converter(mixed, make, autocast=autocast):
            model = convert(mixed, x, y)
        assert all((first == "float32") is autocast for first, _ in seen)
        assert_matches(model, mixed, x, y)

    def test_validate_func_replaces_the_comparison(self):
        asked = []
        for verdict, ok in ((True, True), (False, False), (1e-7, True), (1.0, False)):

            def judge(theirs, ours, verdict=verdict):
                asked.append((tuple(theirs.shape), tuple(ours.shape)))
                return verdict

            with converter(squared, lambda x, shift=0: lambda x, shift=0: x * x, validate_func=judge):
                _, report = convert(squared, IMAGE, return_report=True)
            assert report.ok is ok
        assert set(asked) == {((1, 3, 6, 4), (1, 3, 6, 4))}

    def test_functional_method_and_operator_spellings_reach_one_converter(self):
        assert find_converter(torch.add) is find_converter(torch.Tensor.__add__) is find_converter(torch.Tensor.add)

    def test_unregistered_it_falls_to_its_children(self):
        with registry.restoring():
            nobuco.unregister_converter(nn.Conv2d)
            model, report = convert(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), IMAGE, return_report=True)
        (node,) = [n for n in report.walk() if n.name.endswith("Conv2d")]
        assert report.ok and not node.direct and node.children
        assert len(model.trainable_weights) == 2

    def test_without_any_converter_it_is_a_gap(self):
        with registry.restoring():
            nobuco.unregister_converter(torch.erf)
            with pytest.raises(nobuco.ConversionError, match=r"torch\.erf, called 1 time"):
                convert(torch.erf, IMAGE, decompose=False)

    def test_inherited_converters_end_where_forward_is_overridden(self):
        class Same(nn.Conv2d):
            pass

        class Other(nn.Conv2d):
            def forward(self, x):
                return super().forward(x) * 2

        for kind in (Same, Other):
            module = kind(3, 4, 1).eval()
            assert_matches(convert(nn.Sequential(module), IMAGE), module, IMAGE)


class TestHelpers:
    @pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
    @pytest.mark.parametrize("order", [PYTORCH, TENSORFLOW])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
    def test_tensors_go_there_and_back(self, shape, order, dtype):
        x = (torch.rand(shape) * 3).to(dtype).requires_grad_(dtype.is_floating_point)
        there = nobuco.t_pytorch2keras(x, order)
        last = (shape[0], *shape[2:], shape[1]) if order is TENSORFLOW and len(shape) > 2 else shape
        assert there.shape == last and nobuco.get_channel_order(there) is order
        for back in (nobuco.t_keras2pytorch(there), nobuco.t_keras2pytorch(there, order)):
            assert back.dtype is dtype and torch.equal(back, x)

    @pytest.mark.parametrize(("force", "moves"), [(nobuco.force_pytorch_order, 2), (nobuco.force_tensorflow_order, 0)])
    def test_force_an_order(self, force, moves):
        def program(x):
            return F.relu(force(F.relu(x))) + 1

        _model, report = convert(program, IMAGE, outputs_channel_order=TENSORFLOW, return_report=True)
        assert report.ok and report.transpositions == moves
        assert torch.equal(force(IMAGE), IMAGE)

    def test_a_marker_of_the_users_own(self):
        """The README's `force_pytorch_order`, written out."""

        @nobuco.traceable
        def mark(inputs):
            return inputs

        def program(x):
            return F.relu(mark(F.relu(x))) + 1

        strategy = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
        with converter(mark, lambda inputs: lambda inputs: inputs, channel_ordering_strategy=strategy):
            _, report = convert(program, IMAGE, outputs_channel_order=TENSORFLOW, return_report=True)
            assert report.ok and report.transpositions == 2
        model = convert(program, IMAGE, input_shapes={IMAGE: (None, 3, None, None)})
        assert_matches(model, program, torch.rand(2, 3, 5, 7))

    def test_an_argument_that_a_traceable_function_writes_and_returns(self):
        @nobuco.traceable
        def increment(x):
            x += 1
            return x

        def program(x):
            y = x * 2
            z = increment(y)
            return y + z

        assert_matches(convert(program, IMAGE), program, IMAGE)
        with converter(increment, lambda x: lambda x: x + 1):
            assert_matches(convert(program, IMAGE), program, IMAGE)

    def test_weight_layer(self):
        """The README's converter of a module that owns a tensor."""

        class AddByMask(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.rand(3, 1, 1))

            def forward(self, x, mask):
                return x + self.weight * mask

        def make(self, x, mask):
            weight = WeightLayer.create(self.weight.detach().permute(1, 2, 0).numpy())

            def call(x, mask):
                return x + weight(x) * mask

            return call

        module, mask = AddByMask(), torch.rand(1, 3, 6, 4)
        with converter(AddByMask, make, channel_ordering_strategy=ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER):
            model = convert(module, IMAGE, mask)
        assert [tuple(w.shape) for w in model.trainable_weights] == [(1, 1, 3)]
        assert_matches(model, module, IMAGE, mask)

    def test_the_registered_operations_have_names_that_import(self):
        """The name that an error's ready-to-paste stub writes is the operation itself."""
        wrong = []
        for found in registered_converters():
            for operation in found.callables:
                name = operation_name(operation)
                name += ".__get__" if type(operation).__name__ == "method-wrapper" else ""
                try:
                    is_it = pkgutil.resolve_name(name) == operation
                except (AttributeError, ImportError):
                    is_it = False
                if not is_it:
                    wrong.append(name)
        assert wrong == []

    def test_an_operator_is_found_by_its_name(self):
        library = torch.library.Library("nobuco_named", "DEF")
        library.define("halved(Tensor x) -> Tensor")
        library.impl("halved", lambda x: x / 2, "CPU")
        with converter("nobuco_named::halved", lambda x: lambda x: x / 2):
            for spelled in (torch.ops.nobuco_named.halved, torch.ops.nobuco_named.halved.default):
                assert find_converter(spelled) is find_converter("nobuco_named::halved")
                assert_matches(convert(spelled, IMAGE), spelled, IMAGE)
        assert operation_name("nobuco_named::halved") == "torch.ops.nobuco_named.halved"

    def test_torchvision_is_not_imported_for_its_converters(self):
        code = Path(nobuco.__file__).parent.rglob("*.py")
        assert not [
            path for path in code if re.search(r"^\s*(import|from) torchvision", path.read_text(), re.MULTILINE)
        ]

    def test_every_converter_can_be_located(self):
        for found in registered_converters():
            there = [operation for operation in found.operations if not isinstance(operation, Lacking)]
            link, source = nobuco.locate_converter(there[0])
            assert link.startswith('File "') and source
