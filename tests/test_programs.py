"""Every kind of program that PyTorch has, each compared with PyTorch itself and left as it was."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco.environment.versions import release
from tests import programs
from tests.parity import assert_converts, assert_matches, convert
from tests.programs import IMAGE, ROW, Counter, Net, layer_names


@pytest.fixture
def net():
    return Net().eval()


class TestCallables:
    def test_a_function_and_a_lambda(self):
        assert_converts(torch.sigmoid, ROW)
        assert_converts(lambda x: torch.sigmoid(x) * 2, ROW)

    def test_a_partial_of_a_function(self):
        weight = nn.Parameter(torch.rand(3, 4))
        keras_model = assert_converts(functools.partial(F.linear, weight=weight, bias=torch.rand(3)), ROW)
        assert len(keras_model.trainable_weights) == 1

    def test_a_partial_of_a_module_has_its_layers(self, net):
        keras_model = assert_converts(functools.partial(net), IMAGE)
        assert {"conv", "bn", "head.0"} <= set(layer_names(keras_model))

    def test_a_bound_method_has_the_layers_of_its_module(self, net):
        keras_model = assert_converts(net.forward, IMAGE)
        assert {"conv", "bn", "head.0"} <= set(layer_names(keras_model))

    def test_an_object_that_is_no_module(self, net):
        class Pipeline:
            def __init__(self):
                self.net, self.scale = net, torch.rand(4)

            def __call__(self, x):
                return self.run(x) * self.scale

            def run(self, x):
                return self.net(x)

        for program in (Pipeline(), Pipeline().run):
            keras_model = assert_converts(program, IMAGE)
            assert {"net.conv", "net.head.0"} <= set(layer_names(keras_model))

    def test_a_function_around_functions_around_modules(self):
        def twice(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(function(x))

            return wrapper

        linear = nn.Linear(4, 4)
        keras_model = assert_converts(twice(lambda x: linear(x)), ROW)
        assert "linear" in layer_names(keras_model)


class TestGraphs:
    def test_an_fx_graph_module_has_the_layers_of_the_module(self, net):
        keras_model = assert_converts(torch.fx.symbolic_trace(net), IMAGE)
        assert {"conv", "bn", "head.0"} <= set(layer_names(keras_model))

    def test_an_exported_program(self, net):
        exported = torch.export.export(net, (IMAGE,))
        keras_model = assert_converts(exported, IMAGE, reference=net)
        assert {"conv.weight", "bn.running_mean"} <= set(layer_names(keras_model))
        assert len(keras_model.trainable_weights) == len(list(net.parameters()))

    def test_an_exported_program_remembers_its_lines(self, net):
        _, report = convert(torch.export.export(net, (IMAGE,)), IMAGE, return_report=True)
        first = Net.forward.__code__.co_firstlineno
        lines = {node.name: node.invoked.line for node in report.walk() if node.invoked.file == programs.__file__}
        assert lines["torch.ops.aten.conv2d.default"] == first + 1
        assert lines["torch.ops.aten.add_.Tensor"] == first + 2
        assert lines["torch.ops.aten.linear.default"] == first + 3

    def test_an_exported_program_in_core_aten(self, net):
        exported = torch.export.export(net, (IMAGE,)).run_decompositions()
        assert_converts(exported, IMAGE, reference=net)

    def test_an_exported_program_brings_its_arguments_with_it(self, net):
        keras_model, report = convert(torch.export.export(net, (IMAGE,)), return_report=True)
        assert report.ok
        assert_matches(keras_model, net, IMAGE)

    def test_an_exported_program_with_a_dynamic_axis(self, net):
        exported = torch.export.export(net, (IMAGE,), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},))
        keras_model, report = convert(exported, IMAGE, input_shapes={IMAGE: (None, 3, 8, 8)}, return_report=True)
        assert report.ok and report.warnings == () and keras_model.output.shape == (None, 4)
        assert_matches(keras_model, net, torch.rand(5, 3, 8, 8))

    def test_an_exported_program_with_state(self):
        keras_model = convert(torch.export.export(Counter(), (ROW,)))
        calls = [np.asarray(keras_model(ROW.numpy())) for _ in range(3)]
        np.testing.assert_allclose(calls, [ROW, ROW * 2, ROW * 3], rtol=1e-6)

    def test_an_exported_transformer(self):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        x = torch.rand(2, 5, 8)
        assert_converts(torch.export.export(layer, (x,)), x, reference=layer)

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    def test_an_exported_recurrent_layer_is_one_call(self, kind):
        layer, x = kind(4, 3, num_layers=2, bidirectional=True, batch_first=True).eval(), torch.rand(2, 9, 4)
        if release(torch.__version__) < (2, 10):
            with pytest.raises(ValueError, match="_flat_weights"):
                torch.export.export(layer, (x,))
            return  # PyTorch 2.9 exports no recurrent layer
        exported = torch.export.export(layer, (x,))
        keras_model, report = convert(exported, x, return_report=True)
        assert report.ok and not any(node.opened for node in report.walk())
        got, expected = keras_model(x.numpy())[0], layer(x)[0]
        np.testing.assert_allclose(got, expected.detach(), atol=1e-5)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_pt2_file(self, net, tmp_path, kind):
        torch.export.save(torch.export.export(net, (IMAGE,)), tmp_path / "classifier.pt2")
        path = kind(tmp_path / "classifier.pt2")
        assert_converts(path, IMAGE, reference=net)
        keras_model, report = convert(path, return_report=True)
        assert report.model == "classifier"
        assert_matches(keras_model, net, IMAGE)

    def test_files_that_hold_no_program(self, net, tmp_path):
        with pytest.raises(nobuco.InputError, match=r"'.*nowhere\.pt2', where no file is"):
            convert(tmp_path / "nowhere.pt2", IMAGE)
        torch.save(net.state_dict(), tmp_path / "weights.pt")
        with pytest.raises(nobuco.InputError, match=r"holds no program .* or the module with its weights loaded"):
            convert(tmp_path / "weights.pt", IMAGE)


class TestWrappers:
    @pytest.mark.parametrize("backend", ["eager", "inductor"])
    def test_a_compiled_module(self, net, backend):
        compiled = torch.compile(net, backend=backend)
        keras_model = assert_converts(compiled, IMAGE, reference=net)
        assert {"conv", "bn", "head.0"} <= set(layer_names(keras_model))

    def test_a_module_compiled_in_place(self, net):
        net.compile(backend="eager")
        assert "conv" in layer_names(assert_converts(net, IMAGE, reference=Net().eval()))

    def test_a_compiled_module_inside_of_another(self, net):
        keras_model = assert_converts(nn.Sequential(torch.compile(net, backend="eager")), IMAGE, reference=net)
        assert {"0.conv", "0.head.0"} <= set(layer_names(keras_model))

    def test_a_compiled_function(self):
        assert_converts(torch.compile(lambda x: F.relu(x) * 2, backend="eager"), ROW, reference=lambda x: F.relu(x) * 2)

    def test_a_hook_on_what_is_compiled_counts(self, net):
        compiled = torch.compile(net, backend="eager")
        compiled.register_forward_hook(lambda module, args, output: output * 2)
        assert_converts(compiled, IMAGE, reference=lambda x: net(x) * 2)

    def test_data_parallel(self, net):
        keras_model = assert_converts(nn.DataParallel(net), IMAGE)
        assert {"conv", "bn", "head.0"} <= set(layer_names(keras_model))

    def test_what_does_more_than_to_hand_calls_on(self, net):
        class Scaled(nn.DataParallel):
            def forward(self, x):
                return super().forward(x) * 3

        class Around(nn.Module):
            def __init__(self):
                super().__init__()
                self._orig_mod = net  # the name that `torch.compile` uses

            def forward(self, x):
                return self._orig_mod(x) * 3

        changed = nn.DataParallel(net)
        changed.forward = lambda x: net(x) * 3
        compiled = torch.compile(net, backend="eager")

        @functools.wraps(torch.compile(net.forward, backend="eager"))  # which copies the compiled one's attributes
        def wrapper(x):
            return net(x) * 3

        for model in (Scaled(net), Around(), changed, wrapper, lambda x: compiled(x) * 3):
            assert_converts(model, IMAGE, reference=lambda x: net(x) * 3)

    def test_what_only_a_wrapper_holds_is_left_as_it_was(self):
        norm = nn.BatchNorm1d(4).train()

        @functools.wraps(F.relu)
        def wrapper(x):
            return F.relu(norm(x))

        before = copy.deepcopy(norm.state_dict())
        _, report = convert(wrapper, ROW, return_report=True)
        assert report.ok
        assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())

    def test_an_object_that_has_any_attribute(self):
        class Proxy:
            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                return Proxy()

            def __call__(self, x):
                return F.relu(x) * 2

        assert_converts(Proxy(), ROW, reference=lambda x: F.relu(x) * 2)

    def test_an_error_that_the_program_catches(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.wrong = nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 5))
                self.right = nn.Linear(4, 2)

            def forward(self, x):
                try:
                    x = self.wrong(x)
                except RuntimeError:
                    x = self.right(x)
                return helper(x)

        @nobuco.traceable
        def failing(x):
            raise ValueError(F.relu(x))

        def helper(x):
            try:
                return failing(x)
            except ValueError as error:
                return error.args[0] + 1

        assert "right" in layer_names(assert_converts(Net().eval(), ROW))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.export.export(Net().eval(), (IMAGE,)),
        lambda: torch.jit.script(Net().eval()),
        lambda: torch.vmap(Net().eval().forward),
    ],
    ids=["export", "script", "vmap"],
)
def test_in_tflite_without_flex(make):
    from nobuco.export.tflite_file import run_tflite, to_tflite

    program = make()
    x = IMAGE[:, None] if not isinstance(program, (nn.Module, torch.export.ExportedProgram)) else IMAGE
    keras_model = convert(program, x)
    with torch.no_grad():
        expected = Net().eval()(IMAGE)
    (got,) = run_tflite(to_tflite(keras_model), [x.numpy()])
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-4)


class TestDispatcher:
    """Operators of `torch.ops` called by themselves, with views and writes among them."""

    def test_overloads_and_packets(self):
        aten = torch.ops.aten
        assert_converts(lambda x: aten.add(aten.add.Tensor(x, x), 1) + aten.relu_(x.clone()), ROW)

    def test_a_write_through_a_view(self):
        def program(x):
            y = x.clone()
            torch.ops.aten.mul_.Tensor(torch.ops.aten.select.int(y, 1, 0), torch.tensor(3.0))
            torch.ops.aten.slice.Tensor(y, 1, 1, 3).zero_()
            return y

        assert_converts(program, ROW)

    def test_where_a_tensor_lives_means_nothing(self):
        aten = torch.ops.aten
        assert_converts(lambda x: x + aten.ones.default([4], dtype=x.dtype, device=x.device, pin_memory=False), ROW)
