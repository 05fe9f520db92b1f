"""Every argument of `pytorch_to_keras`, held to what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.bridge import to_numpy
from nobuco.export.tflite_file import to_tflite

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW
IMAGE = torch.rand(1, 3, 6, 5)


def convert(model, *args, verbose=False, **options):
    return nobuco.pytorch_to_keras(model, list(args), verbose=verbose, **options)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()


def two_outputs(x, y):
    return F.relu(x) + y, x * 2 - y


def names(tensors):
    return [tensor.name for tensor in tensors]


def assert_close(ours, theirs, order=PYTORCH):
    np.testing.assert_allclose(to_numpy(nobuco.t_keras2pytorch(ours, order)), to_numpy(theirs), rtol=1e-5, atol=1e-5)


class TestChannelOrders:
    @pytest.mark.parametrize("given", [PYTORCH, TENSORFLOW])
    def test_one_order_for_all_inputs(self, given):
        model = convert(two_outputs, IMAGE, IMAGE + 1, inputs_channel_order=given)
        shape = (1, 3, 6, 5) if given is PYTORCH else (1, 6, 5, 3)
        assert [tuple(t.shape) for t in model.inputs] == [shape, shape]

    def test_an_order_per_input_tensor(self):
        x, y = torch.rand(1, 3, 6, 5), torch.rand(1, 3, 6, 5)
        orders = {y: PYTORCH, x: TENSORFLOW}
        model = convert(two_outputs, x, y, inputs_channel_order=orders, outputs_channel_order=TENSORFLOW)
        assert [tuple(t.shape) for t in model.inputs] == [(1, 6, 5, 3), (1, 3, 6, 5)]
        feeds = [nobuco.t_pytorch2keras(x, TENSORFLOW), nobuco.t_pytorch2keras(y, PYTORCH)]
        for ours, theirs in zip(model(feeds), two_outputs(x, y)):
            assert_close(ours, theirs, TENSORFLOW)

    def test_an_input_that_the_dict_leaves_out_is_channels_last(self):
        x, y = torch.rand(1, 3, 6, 5), torch.rand(1, 3, 6, 5)
        model = convert(two_outputs, x, y, inputs_channel_order={y: PYTORCH})
        assert [tuple(t.shape) for t in model.inputs] == [(1, 6, 5, 3), (1, 3, 6, 5)]

    @pytest.mark.parametrize("given", [PYTORCH, TENSORFLOW])
    def test_one_order_for_all_outputs(self, given):
        model = convert(two_outputs, IMAGE, IMAGE + 1, outputs_channel_order=given)
        feeds = [nobuco.t_pytorch2keras(t, TENSORFLOW) for t in (IMAGE, IMAGE + 1)]
        for ours, theirs in zip(model(feeds), two_outputs(IMAGE, IMAGE + 1)):
            assert_close(ours, theirs, given)

    def test_an_order_per_output_index_the_others_cheapest(self):
        model = convert(two_outputs, IMAGE, IMAGE + 1, outputs_channel_order={0: PYTORCH})
        assert [tuple(t.shape) for t in model.outputs] == [(1, 3, 6, 5), (1, 6, 5, 3)]

    @pytest.mark.parametrize("inputs", [PYTORCH, TENSORFLOW])
    def test_none_is_the_cheapest(self, inputs):
        model, report = convert(
            two_outputs, IMAGE, IMAGE + 1, inputs_channel_order=inputs, outputs_channel_order=None, return_report=True
        )
        assert report.transpositions == 0
        assert model.outputs[0].shape == model.inputs[0].shape

    def test_tensors_of_rank_two_have_no_order(self):
        x = torch.rand(4, 3)
        for order in (PYTORCH, TENSORFLOW):
            model = convert(lambda x: x + 1, x, inputs_channel_order=order, outputs_channel_order=order)
            assert_close(model(x.numpy()), x + 1)

    def test_aliases(self):
        assert ChannelOrder.CHANNEL_FIRST is PYTORCH and ChannelOrder.CHANNEL_LAST is TENSORFLOW


class TestNames:
    def test_inputs_are_named_after_the_parameters(self):
        assert names(convert(two_outputs, IMAGE, IMAGE).inputs) == ["x", "y"]

    @pytest.mark.parametrize("given", ["tensor", "index", "sequence"])
    def test_input_names(self, given):
        x, y = torch.rand(1, 3, 6, 5), torch.rand(1, 3, 6, 5)
        spelled = {"tensor": {y: "right", x: "left"}, "index": {1: "right", 0: "left"}, "sequence": ["left", "right"]}
        model = convert(two_outputs, x, y, input_names=spelled[given])
        assert names(model.inputs) == ["left", "right"]
        assert model.get_layer("left").output is model.inputs[0]
        by_name = dict(zip(("left", "right"), (nobuco.t_pytorch2keras(t, TENSORFLOW) for t in (x, y))))
        assert_close(model(by_name)[0], two_outputs(x, y)[0], TENSORFLOW)

    def test_some_inputs_named(self):
        x, y = torch.rand(1, 3, 6, 5), torch.rand(1, 3, 6, 5)
        assert names(convert(two_outputs, x, y, input_names={y: "right"}).inputs) == ["x", "right"]

    @pytest.mark.parametrize("given", [{0: "sum", 1: "difference"}, ["sum", "difference"]])
    def test_output_names(self, given):
        model = convert(two_outputs, IMAGE, IMAGE, output_names=given)
        assert model.output_names == ["sum", "difference"]
        assert model.get_layer("difference").output is model.outputs[1]

    def test_names_stand_in_the_tflite_signature(self):
        model = convert(two_outputs, IMAGE, IMAGE, input_names=["left", "right"], output_names=["sum", "difference"])
        interpreter = Interpreter(model_content=to_tflite(model))
        signature = interpreter.get_signature_list()["serving_default"]
        assert sorted(signature["inputs"]) == ["left", "right"]
        assert sorted(signature["outputs"]) == ["difference", "sum"]
        feed = np.random.default_rng(0).random((1, 6, 5, 3), np.float32)
        results = interpreter.get_signature_runner()(left=feed, right=np.zeros_like(feed))
        np.testing.assert_allclose(results["difference"], feed * 2, rtol=1e-6)

    def test_names_that_a_signature_does_not_take(self):
        inputs, outputs = ["a.b", "a_b"], ["_", "sortie ä"]
        model = convert(two_outputs, IMAGE, IMAGE, input_names=inputs, output_names=outputs)
        assert names(model.inputs) == inputs and model.output_names == ["_", "sortie__"]
        signature = Interpreter(model_content=to_tflite(model)).get_signature_list()["serving_default"]
        assert sorted(signature["inputs"]) == ["a_b", "a_b_"] and sorted(signature["outputs"]) == ["sortie__", "t_"]

    def test_an_input_and_an_output_may_not_share_a_name_silently(self):
        with pytest.raises(nobuco.InputError, match="'x'"):
            convert(two_outputs, IMAGE, IMAGE, output_names=["x", "z"])

    def test_an_input_named_like_a_layer(self):
        module = nn.Sequential(nn.Linear(3, 3)).eval()
        model = convert(module, torch.rand(2, 3), input_names=["0"])
        assert names(model.inputs) == ["0"]


class TestConstants:
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3, 1, 1))
            self.register_buffer("shift", torch.rand(3, 1, 1))

        def forward(self, x):
            return x * self.scale + self.shift

    def test_as_variables(self):
        module = self.Scaled()
        model = convert(module, IMAGE)
        assert [tuple(w.shape) for w in model.trainable_weights] == [(3, 1, 1)]
        assert [tuple(w.shape) for w in model.non_trainable_weights] == [(3, 1, 1)]
        model.get_layer("scale").set_weights([np.zeros((3, 1, 1), np.float32)])
        shift = module.shift.expand(1, 3, 6, 5)
        assert_close(model(nobuco.t_pytorch2keras(IMAGE, TENSORFLOW)), shift, TENSORFLOW)

    def test_embedded(self):
        module = self.Scaled()
        model = convert(module, IMAGE, constants_to_variables=False)
        assert model.weights == []
        assert_close(model(nobuco.t_pytorch2keras(IMAGE, TENSORFLOW)), module(IMAGE), TENSORFLOW)

    def test_the_models_weights_are_its_own(self):
        module = self.Scaled()
        model = convert(module, IMAGE)
        expected = module(IMAGE)
        with torch.no_grad():
            module.scale.zero_()
            module.shift.zero_()
        assert_close(model(nobuco.t_pytorch2keras(IMAGE, TENSORFLOW)), expected, TENSORFLOW)

    def test_embedded_constants_are_the_models_own(self):
        module = self.Scaled()
        model = convert(module, IMAGE, constants_to_variables=False)
        expected = module(IMAGE)
        with torch.no_grad():
            module.scale.zero_()
        assert_close(model(nobuco.t_pytorch2keras(IMAGE, TENSORFLOW)), expected, TENSORFLOW)


class TestValidation:
    def test_outputs_only(self):
        _, report = convert(network(), IMAGE, full_validation=False, return_report=True)
        assert len(report.outputs) == 1 and report.ok
        assert all(node.own is None for node in report.walk())

    def test_every_node(self):
        _, report = convert(network(), IMAGE, return_report=True)
        leaves = [node for node in report.walk() if node.direct]
        assert len(leaves) == 3 and all(node.own is not None for node in leaves)

    def test_the_tolerance_decides(self):
        @nobuco.traceable
        def nearly_double(x):
            return x * 2

        @nobuco.converter(nearly_double)
        def convert_nearly_double(x):
            return lambda x: x * 2 + 0.01

        for allowed, ok in ((0.1, True), (0.001, False)):
            _, report = convert(nearly_double, IMAGE, validation_tolerance=allowed, return_report=True)
            assert report.ok is ok
        nobuco.unregister_converter(nearly_double)

    def test_outputs_of_pytorch(self):
        module = network()
        _, outputs = convert(module, IMAGE, return_outputs_pt=True)
        assert torch.equal(outputs, module(IMAGE)) and not outputs.requires_grad

    def test_outputs_of_pytorch_keep_their_structure(self):
        _, outputs, report = convert(
            lambda x: {"a": x + 1, "b": (x, [x * 2])}, IMAGE, return_outputs_pt=True, return_report=True
        )
        assert torch.equal(outputs["b"][1][0], IMAGE * 2) and torch.equal(outputs["b"][0], IMAGE)
        assert report.ok


class TestConsole:
    def test_silent(self, capfd):
        convert(network(), IMAGE)
        assert capfd.readouterr() == ("", "")

    def test_the_tree_goes_to_stderr(self, capfd):
        convert(network(), IMAGE, verbose=True)
        out, err = capfd.readouterr()
        assert out == "" and "Conv2d" in err and "conv" in err.lower()

    @pytest.mark.parametrize(("detail", "shown"), [(nobuco.TraceLevel.NEVER, False), (nobuco.TraceLevel.ALWAYS, True)])
    def test_source_lines(self, capfd, detail, shown):
        convert(network(), IMAGE, verbose=True, debug_traces=detail)
        assert ('File "' in capfd.readouterr().err) is shown


class TestShapes:
    def test_traced_sizes_stay_symbolic(self):
        x = torch.rand(1, 3, 6, 9)

        def corner(x):
            return x[:, :, x.shape[2] // 3 :, x.shape[3] // 3 :]

        model = convert(corner, x, input_shapes={x: (None, 3, None, None)})
        other = torch.rand(2, 3, 9, 12)
        assert model.inputs[0].shape == (None, None, None, 3)
        assert_close(model(nobuco.t_pytorch2keras(other, TENSORFLOW)), corner(other), TENSORFLOW)

    def test_sizes_may_be_kept_fixed(self):
        x = torch.rand(1, 3, 6, 9)
        model = convert(
            lambda x: x[:, :, x.shape[2] // 3 :], x, input_shapes={x: (None, 3, None, 9)}, trace_shape=False
        )
        other = torch.rand(2, 3, 9, 9)
        assert_close(model(nobuco.t_pytorch2keras(other, TENSORFLOW)), other[:, :, 2:], TENSORFLOW)


def test_arguments_by_keyword_and_position():
    x, y = torch.rand(2, 3), torch.rand(2, 3)
    model = convert(lambda x, *, y, scale: x - y * scale, x, kwargs={"y": y, "scale": 3})
    assert names(model.inputs) == ["x", "y"]
    assert_close(model([x.numpy(), y.numpy()]), x - y * 3)


def test_a_program_of_keywords_alone():
    x = torch.rand(2, 3)
    model = nobuco.pytorch_to_keras(lambda x: x + 1, kwargs={"x": x}, verbose=False)
    assert_close(model(x.numpy()), x + 1)


def test_callables_that_are_no_modules():
    class Program:
        def __call__(self, x):
            return x + 1

        def method(self, x):
            return x + 2

    x = torch.rand(2, 3)
    assert_close(convert(Program(), x)(x.numpy()), x + 1)
    assert_close(convert(Program().method, x)(x.numpy()), x + 2)
    assert_close(convert(torch.sigmoid, x)(x.numpy()), torch.sigmoid(x))
    assert_close(
        convert(network().forward, IMAGE)(nobuco.t_pytorch2keras(IMAGE, TENSORFLOW)), network()(IMAGE), TENSORFLOW
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_conversion_leaves_the_module_as_it_was():
    module = network()
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    x = IMAGE.clone().requires_grad_()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    convert(module, x)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert torch.equal(x, IMAGE) and x.grad is None
