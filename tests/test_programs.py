"""Every kind of program that PyTorch has, each compared with PyTorch itself and left as it was."""

from __future__ import annotations

import copy
import functools
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import nobuco
from nobuco import ChannelOrder
from nobuco.builtin import registered_converters
from nobuco.environment.versions import release
from nobuco.registry import registry

PYTORCH = ChannelOrder.PYTORCH
IMAGE = torch.rand(2, 3, 8, 8)
ROW = torch.rand(2, 4) - 0.4
# What is left of a number near one after a few roundings to bfloat16, whose steps there are 2**-8 to 2**-7 wide.
BFLOAT16 = 2e-2


def convert(model, *args, **options):
    """The Keras model and the report, in PyTorch's order on both sides."""
    options = {"inputs_channel_order": PYTORCH, "outputs_channel_order": PYTORCH, "verbose": False} | options
    return nobuco.pytorch_to_keras(model, list(args) or None, return_report=True, **options)


def assert_converts(model, *args, reference=None, atol=1e-5, **options):
    """Convert, compare with PyTorch on the traced inputs and on others, and see that nothing has changed."""
    before, surroundings = everything(model), torchs_state()
    keras_model, report = convert(model, *args, **options)
    assert report.ok, report.first_bad()
    assert torchs_state() == surroundings
    assert_same(everything(model), before)
    for given in (args, tuple(x * 0.5 + 0.1 if x.is_floating_point() else x for x in args)):
        assert_matches(keras_model, reference or model, *given, atol=atol)
    return keras_model


def assert_matches(keras_model, reference, *args, atol=1e-5):
    with torch.no_grad():
        expected = reference(*(x.clone() for x in args))
    feeds = [x.numpy() for x in args]
    got = keras.tree.flatten(keras_model(feeds[0] if len(feeds) == 1 else feeds, training=False))
    for ours, theirs in zip(got, expected if isinstance(expected, (tuple, list)) else [expected], strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=atol)


def everything(model):
    """The tensors, training flags and hooks of a module."""
    if not isinstance(model, nn.Module):
        return {}, [], []
    modules = list(model.modules())
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules]
    return copy.deepcopy(dict(model.state_dict())), [(type(m), getattr(m, "training", None)) for m in modules], hooks


def assert_same(now, before):
    assert now[1:] == before[1:]
    assert now[0].keys() == before[0].keys()
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in now[0].items())


def torchs_state():
    """What a conversion switches while it runs."""
    return {
        "gradients": torch.is_grad_enabled(),
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "hooks": len(torch.nn.modules.module._global_forward_hooks),
        "optimized TorchScript": torch._C._get_graph_executor_optimize(),
        "random": torch.get_rng_state().sum().item(),
        "relu": F.relu,
        "call": nn.Module.__call__,
    }


class Net(nn.Module):
    """A small classifier; with a write in place, so that more than calls is to be seen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4))
        with torch.no_grad():
            self.bn.running_mean.uniform_()
            self.bn.running_var.uniform_(0.5, 2)
            self.bn.weight.uniform_(0.5, 2)

    def forward(self, x):
        y = self.pool(F.relu(self.bn(self.conv(x)))).mean((2, 3))
        y += 1
        return self.head(y)


class Counter(nn.Module):
    """A module with a buffer that each call changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count.add_(1)
        return x * self.count


@pytest.fixture
def net():
    return Net().eval()


def layer_names(keras_model):
    return [layer.name for layer in keras_model.layers]


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
        _, report = convert(torch.export.export(net, (IMAGE,)), IMAGE)
        first = Net.forward.__code__.co_firstlineno
        lines = {node.name: node.invoked.line for node in report.walk() if node.invoked.file == __file__}
        assert lines["torch.ops.aten.conv2d.default"] == first + 1
        assert lines["torch.ops.aten.add_.Tensor"] == first + 2
        assert lines["torch.ops.aten.linear.default"] == first + 3

    def test_an_exported_program_in_core_aten(self, net):
        exported = torch.export.export(net, (IMAGE,)).run_decompositions()
        assert_converts(exported, IMAGE, reference=net)

    def test_an_exported_program_brings_its_arguments_with_it(self, net):
        keras_model, report = convert(torch.export.export(net, (IMAGE,)))
        assert report.ok
        assert_matches(keras_model, net, IMAGE)

    def test_an_exported_program_with_a_dynamic_axis(self, net):
        exported = torch.export.export(net, (IMAGE,), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},))
        keras_model, report = convert(exported, IMAGE, input_shapes={IMAGE: (None, 3, 8, 8)})
        assert report.ok and report.warnings == () and keras_model.output.shape == (None, 4)
        assert_matches(keras_model, net, torch.rand(5, 3, 8, 8))

    def test_an_exported_program_with_state(self):
        keras_model, _ = convert(torch.export.export(Counter(), (ROW,)))
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
        keras_model, report = convert(exported, x)
        assert report.ok and not any(node.opened for node in report.walk())
        got, expected = keras_model(x.numpy())[0], layer(x)[0]
        np.testing.assert_allclose(got, expected.detach(), atol=1e-5)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_pt2_file(self, net, tmp_path, kind):
        torch.export.save(torch.export.export(net, (IMAGE,)), tmp_path / "classifier.pt2")
        path = kind(tmp_path / "classifier.pt2")
        assert_converts(path, IMAGE, reference=net)
        keras_model, report = convert(path)
        assert report.model == "classifier"
        assert_matches(keras_model, net, IMAGE)

    def test_files_that_hold_no_program(self, net, tmp_path):
        with pytest.raises(nobuco.InputError, match=r"'.*nowhere\.pt2', where no file is"):
            convert(tmp_path / "nowhere.pt2", IMAGE)
        torch.save(net.state_dict(), tmp_path / "weights.pt")
        with pytest.raises(nobuco.InputError, match=r"holds no program .* or the module with its weights loaded"):
            convert(tmp_path / "weights.pt", IMAGE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
class TestScripts:
    @pytest.mark.parametrize(
        "make", [torch.jit.script, lambda net: torch.jit.trace(net, IMAGE)], ids=["script", "trace"]
    )
    def test_a_module(self, net, make):
        keras_model = assert_converts(make(net), IMAGE, reference=net)
        assert {"conv.weight", "bn.weight"} <= set(layer_names(keras_model))
        assert len(keras_model.trainable_weights) == len(list(net.parameters()))

    def test_a_file(self, net, tmp_path):
        torch.jit.script(net).save(tmp_path / "net.pt")
        assert_converts(tmp_path / "net.pt", IMAGE, reference=net)

    def test_a_frozen_module(self, net):
        assert_converts(torch.jit.freeze(torch.jit.script(net)), IMAGE, reference=net)

    def test_a_module_in_the_layout_of_onednn_is_refused(self, net):
        optimized = torch.jit.optimize_for_inference(torch.jit.script(net))
        with pytest.raises(nobuco.ConversionError, match=r"oneDNN's own way.* as it was before that"):
            convert(optimized, IMAGE)

    def test_a_function_that_writes_in_place(self):
        @torch.jit.script
        def function(x):
            y = x.sin()
            y[:, 0] = 2.0
            y += 1
            return y * 3, y.t()

        assert_converts(function, ROW)

    def test_inside_of_a_module(self, net):
        keras_model = assert_converts(nn.Sequential(nn.Conv2d(3, 3, 1), torch.jit.script(net), nn.Tanh()).eval(), IMAGE)
        assert {"0", "1.conv.weight"} <= set(layer_names(keras_model))

    @pytest.mark.parametrize("assigns", [True, False])
    def test_state(self, assigns):
        class Assigning(Counter):
            def forward(self, x):
                self.count = self.count + 1
                return x * self.count

        scripted = torch.jit.script(Assigning() if assigns else Counter())
        keras_model, _ = convert(scripted, ROW)
        assert scripted.count.item() == 0
        calls = [np.asarray(keras_model(ROW.numpy())) for _ in range(2)]
        np.testing.assert_allclose(calls, [ROW, ROW * 2], rtol=1e-6)

    def test_a_batch_norm_in_training(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
        with pytest.warns(nobuco.NobucoWarning, match="training mode, so '1'"):
            keras_model, report = convert(torch.jit.script(module), IMAGE)
        assert report.ok
        for name in ("first", "second"):
            np.testing.assert_allclose(keras_model(IMAGE.numpy()), module(IMAGE).detach(), atol=1e-4, err_msg=name)

    def test_a_recurrent_and_a_transformer_layer(self):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(4, 3, batch_first=True)

            def forward(self, x):
                return self.lstm(x)[0][:, -1]

        last, layer = Last(), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        assert_converts(torch.jit.script(last), torch.rand(2, 5, 4), reference=last)
        assert_converts(torch.jit.script(layer), torch.rand(2, 5, 8), reference=layer)

    def test_a_dynamic_axis(self):
        linear = nn.Linear(4, 3)
        keras_model, report = convert(torch.jit.script(linear), ROW, input_shapes={ROW: (None, 4)})
        assert report.warnings == () and keras_model.output.shape == (None, 3)
        assert_matches(keras_model, linear, torch.rand(7, 4))

    def test_a_branch_on_data_is_warned_about(self):
        @torch.jit.script
        def function(x):
            return x + 1 if bool(x.sum() > 0) else x - 1

        with pytest.warns(nobuco.NobucoWarning, match="_local_scalar_dense.* branch taken"):
            convert(function, ROW)

    def test_one_that_raises_leaves_torch_as_it_was(self):
        @torch.jit.script
        def function(x):
            return x @ x

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = torch.jit.script(nn.Linear(3, 3))

            def forward(self, x):
                return self.inner(x)

        programs = (function, Net())
        before = torchs_state()
        for program in programs:
            with pytest.raises(RuntimeError):
                convert(program, ROW)
            assert torchs_state() == before


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
        _, report = convert(wrapper, ROW)
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


class LowRank(nn.Module):
    """A parametrization that adds a product of two thin matrices to a weight, as LoRA does."""

    def __init__(self, rows, columns, rank=2):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.rand(rank, columns)), nn.Parameter(torch.rand(rows, rank))

    def forward(self, weight):
        return weight + self.b @ self.a


class TestModules:
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.parametrize(
        "wrap",
        [nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm],
        ids=["weight_norm", "spectral_norm", "new_weight_norm", "new_spectral_norm"],
    )
    def test_normalised_weights(self, wrap):
        assert_converts(nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.ReLU(), wrap(nn.Conv2d(4, 2, 3))).eval(), IMAGE)

    def test_a_low_rank_parametrization(self):
        linear = nn.Linear(4, 3)
        parametrize.register_parametrization(linear, "weight", LowRank(3, 4))
        keras_model = assert_converts(nn.Sequential(linear), ROW)
        assert len(keras_model.trainable_weights) == 2, "one layer of Keras's own, with the sum as its kernel"

    def test_an_adapter_around_a_layer(self):
        class Adapted(nn.Module):
            def __init__(self, base):
                super().__init__()
                self.base, self.down, self.up = base, nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)
                base.requires_grad_(False)

            def forward(self, x):
                return self.base(x) + self.up(self.down(x)) * 0.5

        keras_model = assert_converts(nn.Sequential(Adapted(nn.Linear(4, 3))), ROW)
        assert {"0.base", "0.down", "0.up"} <= set(layer_names(keras_model))

    def test_hooks_of_every_kind(self, net):
        net.conv.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        net.bn.register_forward_hook(lambda module, args, output: output - 1)
        net.pool.register_forward_hook(lambda module, args, kwargs, output: output * 3, with_kwargs=True)
        net.head.register_forward_hook(lambda module, args, output: output + 1, prepend=True, always_call=True)
        net.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] + 1,), kwargs), with_kwargs=True)
        net.head[0].register_full_backward_hook(lambda module, given, got: None)
        keras_model = assert_converts(net, IMAGE)
        assert {"conv", "bn"} <= set(layer_names(keras_model)), "still layers of Keras's own"

    def test_lazy_modules_are_initialised_by_the_example(self):
        lazy = nn.Sequential(
            nn.LazyConv2d(4, 3),
            nn.LazyBatchNorm2d(),
            nn.Flatten(),
            nn.LazyLinear(5),
            nn.BatchNorm1d(5),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keras_model, report = convert(lazy.train(), IMAGE)
        assert report.ok and all(module.training for module in lazy.modules())
        assert type(lazy[0]) is nn.Conv2d and lazy[1].running_mean.eq(0).all() and lazy[4].num_batches_tracked == 0
        np.testing.assert_array_equal(keras_model.get_layer("0").bias, lazy[0].bias.detach())

    def test_a_lazy_module_that_the_example_does_not_reach(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.used, self.spare = nn.LazyLinear(3), nn.LazyLinear(3)

            def forward(self, x):
                return self.used(x)

        with pytest.raises(nobuco.InputError, match="'spare' is lazy and the example call does not reach it"):
            convert(Net(), ROW)


class TestTransforms:
    @pytest.mark.parametrize("reentrant", [True, False])
    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
    def test_checkpoint(self, net, reentrant):
        assert_converts(lambda x: checkpoint(net, x, use_reentrant=reentrant) + 1, IMAGE)

    def test_a_custom_autograd_function(self):
        class Scaled(torch.autograd.Function):
            @staticmethod
            def forward(x, factor):
                return x * factor, (x > 0).float()

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(inputs[0])
                ctx.mark_non_differentiable(output[1])

            @staticmethod
            def backward(ctx, grad, _):
                return grad, None

        class Written(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark_dirty(x)
                return x.add_(1)

            @staticmethod
            def backward(ctx, grad):
                return grad

        def program(x):
            y, positive = Scaled.apply(x, 3)
            z = y * 1
            return Written.apply(z) + z, positive

        assert_converts(program, ROW)

    def test_a_converter_for_an_autograd_function_is_one_for_the_function_around_it(self):
        class Clamp(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clamp(0, 0.5)

        for operation in (Clamp, Clamp.apply):
            with pytest.raises(nobuco.ConverterRegistrationError, match=r"calls Clamp\.apply with @nobuco\.traceable"):
                nobuco.converter(operation)(lambda x: lambda x: x)

        @nobuco.traceable
        def clamp(x):
            return Clamp.apply(x)

        registered_converters()
        with registry.restoring():
            nobuco.converter(clamp)(lambda x: lambda x: tf.clip_by_value(x, 0, 0.5))
            _, report = convert(lambda x: clamp(x) + 1, ROW)
        served = [node.name.rpartition(".")[2] for node in report.walk() if node.direct]
        assert report.ok and served == ["clamp", "add"]

    def test_vmap(self):
        assert_converts(lambda x: torch.vmap(lambda row: row.exp() / row.exp().sum())(x), ROW)

    def test_vmap_along_other_dimensions(self):
        matrix = torch.rand(4, 5)
        product = torch.vmap(lambda row, other: row @ other, in_dims=(1, None), out_dims=2)
        assert_converts(lambda x: product(x, matrix), torch.rand(6, 3, 4))

    def test_vmap_of_vmap_of_a_module(self):
        linear = nn.Linear(4, 3)
        keras_model = assert_converts(lambda x: torch.vmap(torch.vmap(linear))(x), torch.rand(2, 5, 4))
        assert len(keras_model.trainable_weights) == 2

    def test_vmap_of_a_module_inside_of_another_with_writes(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.each = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))

            def forward(self, x):
                y = torch.vmap(self.each)(self.first(x))
                y[:, 0] = 1
                return y * 2

        assert "first" in layer_names(assert_converts(Net(), ROW))

    def test_vmap_with_a_dynamic_axis(self):
        function = lambda x: torch.vmap(torch.sum)(x).exp()  # noqa: E731
        keras_model, report = convert(function, ROW, input_shapes={ROW: (None, 4)})
        assert report.ok and keras_model.output.shape == (None,)
        assert_matches(keras_model, function, torch.rand(5, 4))

    def test_gradients(self):
        def forces(x):
            with torch.enable_grad():
                at = x.clone().requires_grad_()
                return torch.autograd.grad((at.exp() * at.tanh()).sum(), at)[0]

        def accumulated(x):
            with torch.enable_grad():
                at = x.clone().requires_grad_()
                (at**3).sum().backward()
                return at.grad

        assert_converts(forces, ROW)
        assert_converts(accumulated, ROW)
        assert_converts(torch.func.grad(lambda x: (x.exp() ** 2).sum()), ROW)
        assert_converts(lambda x: torch.func.jacrev(torch.tanh)(x[0]), ROW)
        assert_converts(lambda x: torch.func.jvp(torch.sin, (x,), (x,))[1], ROW)
        assert_converts(lambda x: torch.func.hessian(lambda row: (row**3).sum())(x[0]), ROW)

    def test_gradients_of_a_module(self):
        class Energy(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

            def forward(self, x):
                with torch.enable_grad():
                    x = x.clone().requires_grad_()
                    energy = self.net(x)
                    return energy.detach(), -torch.autograd.grad(energy.sum(), x)[0]

        keras_model = assert_converts(Energy(), ROW)
        assert len(keras_model.trainable_weights) == 4

    def test_functional_call_with_other_parameters(self):
        linear = nn.Linear(4, 3)
        other = {"weight": nn.Parameter(torch.rand(3, 4)), "bias": torch.rand(3)}
        assert_converts(lambda x: torch.func.functional_call(linear, other, (x,)), ROW)

    def test_functional_call_of_a_module_with_converted_parts(self, net):
        other = {name: p.detach() * 0.5 + 0.1 for name, p in net.named_parameters()}

        class Swapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x):
                return self.net(x) + torch.func.functional_call(self.net, other, (x,))

        assert_converts(Swapped().eval(), IMAGE)

    def test_functional_call_with_parameters_that_depend_on_the_input(self):
        linear = nn.Linear(4, 3)
        assert_converts(lambda x: torch.func.functional_call(linear, {"weight": linear.weight * x.mean()}, (x,)), ROW)

    def test_an_ensemble_stacked_and_mapped(self):
        members = [nn.Linear(4, 3) for _ in range(3)]
        parameters, _ = torch.func.stack_module_state(members)
        base = copy.deepcopy(members[0]).to("meta")

        def ensemble(x):
            return torch.vmap(lambda p, x: torch.func.functional_call(base, p, (x,)), in_dims=(0, None))(parameters, x)

        keras_model, report = convert(ensemble, ROW)
        assert report.ok
        expected = torch.stack([member(ROW) for member in members])
        np.testing.assert_allclose(keras_model(ROW.numpy()), expected.detach(), atol=1e-5)


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
    keras_model, _ = convert(program, x)
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


class TestContexts:
    def test_grad_modes_nested(self, net):
        @torch.inference_mode()
        def program(x):
            with torch.no_grad():
                y = net(x)
                with torch.enable_grad(), torch.inference_mode(False):
                    z = y.clone() * 2
                y[:, 0] = 0
            return y + z

        assert_converts(program, IMAGE)
        with torch.inference_mode():
            assert_converts(program, IMAGE.clone())

    def test_autocast(self, net):
        class Cast(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return self.net(x).float()

        keras_model = assert_converts(Cast().eval(), IMAGE, atol=BFLOAT16, validation_tolerance=BFLOAT16)
        assert len(keras_model.trainable_weights) == len(list(net.parameters()))

    def test_autocast_is_kept_to_its_block(self):
        linear = nn.Linear(4, 4)

        def program(x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = linear(x)
                with torch.autocast("cpu", enabled=False):
                    z = linear(y.float())
            return y.float() + z + linear(x)

        keras_model, report = convert(program, ROW, validation_tolerance=BFLOAT16)
        assert report.ok
        opened = [node for node in report.walk() if node.opened]
        assert [node.name for node in opened] == ["torch.nn.functional.linear"], "the two others are as ever"
        assert "torch.ops.aten._to_copy.default" in {call.name for call in opened[0].children}
        assert_matches(keras_model, program, ROW, atol=BFLOAT16)

    def test_autocast_of_what_is_composed(self):
        def program(x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return torch.einsum("bi,bj->ij", x, x), F.mse_loss(x, x.bfloat16() * 2)

        keras_model, report = convert(program, ROW)
        assert report.ok, report.first_bad()
        with torch.no_grad():
            product, loss = program(ROW)
        ours = keras_model(ROW.numpy())
        assert [x.dtype.name for x in ours] == ["bfloat16", "float32"]
        np.testing.assert_allclose(np.asarray(ours[0], np.float32), product.float(), rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(ours[1], loss, rtol=1e-3)

    def test_converting_inside_of_autocast(self):
        linear = nn.Linear(4, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            keras_model, report = convert(linear, ROW)
            expected = linear(ROW)
        assert report.ok and keras_model.output.dtype == "bfloat16"
        np.testing.assert_allclose(
            np.asarray(keras_model(ROW.numpy()), np.float32), expected.detach().float(), atol=2e-2
        )
