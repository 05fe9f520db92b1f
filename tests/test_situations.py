"""Programs that do what a converter does not expect: hooks, parametrizations, state kept and written."""

from __future__ import annotations

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from nobuco import ChannelOrder
from tests.parity import assert_converts, check_parity

PYTORCH = ChannelOrder.PYTORCH
IMAGE = torch.rand(1, 3, 6, 5)
ROW = torch.rand(2, 4)


def conv():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1)


class TestHooks:
    def test_a_hook_that_changes_the_output(self):
        module = nn.Sequential(conv(), nn.ReLU())
        module[0].register_forward_hook(lambda module, args, output: output * 2 - 1)
        assert_converts(module, IMAGE)

    def test_a_hook_that_replaces_the_output_by_another_structure(self):
        module = nn.Sequential(conv())
        module[0].register_forward_hook(lambda module, args, output: (output, output.mean()))
        assert_converts(module, IMAGE)

    def test_a_hook_that_writes_the_output_in_place(self):
        module = nn.Sequential(conv(), nn.Sigmoid())

        def hook(module, args, output):
            output[:, :1] = 0
            output.mul_(3)

        module[0].register_forward_hook(hook)
        assert_converts(module, IMAGE)

    def test_a_pre_hook_that_changes_the_input(self):
        module = nn.Sequential(conv(), nn.ReLU())
        module[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        assert_converts(module, IMAGE)

    def test_a_pre_hook_with_keywords(self):
        class Scale(nn.Module):
            def forward(self, x, factor=1):
                return x * factor

        module = nn.Sequential(Scale(), conv())
        module[0].register_forward_pre_hook(lambda module, args, kwargs: (args, {"factor": 3}), with_kwargs=True)
        assert_converts(module, IMAGE)

    def test_hooks_on_the_whole(self):
        module = conv()
        module.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
        module.register_forward_hook(lambda module, args, output: output.relu())
        assert_converts(module, IMAGE)

    def test_a_hook_that_keeps_features(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU())
                self.kept = {}
                self.body[0].register_forward_hook(lambda module, args, output: self.kept.update(first=output))

            def forward(self, x):
                return self.body(x) + self.kept["first"]

        assert_converts(Net(), IMAGE)

    def test_one_module_twice_with_a_hook(self):
        linear = nn.Linear(4, 4)
        linear.register_forward_hook(lambda module, args, output: output + 1)
        assert_converts(nn.Sequential(linear, nn.Tanh(), linear), ROW)

    def test_a_multi_head_attention_with_a_hook(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
                self.attention.register_forward_hook(lambda module, args, output: (output[0] * 2, output[1]))

            def forward(self, x):
                return self.attention(x, x, x)

        assert_converts(Net(), torch.rand(1, 5, 8))

    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.parametrize(
        "apply",
        [
            lambda m: nn.utils.weight_norm(m),
            lambda m: nn.utils.spectral_norm(m),
            lambda m: parametrizations.weight_norm(m),
            lambda m: parametrizations.spectral_norm(m),
            lambda m: parametrize.register_parametrization(m, "weight", nn.Softplus()),
        ],
        ids=["weight_norm", "spectral_norm", "new_weight_norm", "new_spectral_norm", "own"],
    )
    @pytest.mark.parametrize(("make", "x"), [(conv, IMAGE), (lambda: nn.Linear(4, 3), ROW)], ids=["conv", "linear"])
    def test_weights_computed_from_others(self, apply, make, x):
        assert_converts(nn.Sequential(apply(make())), x)

    @pytest.mark.filterwarnings("ignore::FutureWarning")
    def test_weights_computed_from_others_can_be_embedded_and_removed(self):
        module = parametrizations.weight_norm(conv())
        assert_converts(nn.Sequential(module), IMAGE, constants_to_variables=False)
        parametrize.remove_parametrizations(module, "weight")
        model = assert_converts(nn.Sequential(module), IMAGE)
        assert isinstance(model.get_layer("0"), keras.layers.Conv2D)

    def test_a_normalised_weight_of_an_lstm(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = parametrizations.weight_norm(nn.LSTM(4, 3, batch_first=True), "weight_hh_l0")

            def forward(self, x):
                return self.lstm(x)[0]

        assert_converts(Net(), torch.rand(1, 5, 4))

    def test_pruned_weights(self):
        from torch.nn.utils import prune

        module = conv()
        prune.l1_unstructured(module, "weight", 0.5)
        assert_converts(nn.Sequential(module), IMAGE)


class TestState:
    def test_a_module_reads_what_another_kept(self):
        class Keeper(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv()

            def forward(self, x):
                self.kept = self.conv(x)
                return self.kept.relu()

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.keeper = Keeper()

            def forward(self, x):
                return self.keeper(x) * self.keeper.kept.sigmoid()

        assert_converts(Net(), IMAGE)

    def test_a_module_that_writes_into_its_argument(self):
        class Writer(nn.Module):
            def forward(self, x):
                x[:, 0] = 1
                x += 1

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.writer = conv(), Writer()

            def forward(self, x):
                y = self.conv(x)
                self.writer(y)
                return y

        assert_converts(Net(), IMAGE)

    def test_native_layers_that_write_in_place(self):
        module = nn.Sequential(conv(), nn.ReLU6(inplace=True), nn.Hardswish(inplace=True), nn.Dropout(inplace=True))
        assert_converts(module, IMAGE)

    def test_a_residual_of_what_an_in_place_layer_overwrote(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.relu = conv(), nn.ReLU(inplace=True)

            def forward(self, x):
                y = self.conv(x)
                z = self.relu(y)
                return y + z

        assert_converts(Net(), IMAGE - 0.5)

    def test_data_and_detach(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x):
                y = self.linear(x)
                return y.detach() + y.data * 2 + self.linear.weight.data.sum() + self.linear.weight.detach().mean(0)

        assert_converts(Net(), ROW)

    def test_a_constant_made_once_and_kept(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = None

            def forward(self, x):
                if self.table is None:
                    self.table = torch.arange(x.shape[-1], dtype=x.dtype)
                return x * self.table

        assert_converts(Net(), ROW)

    def test_closures_and_module_globals(self):
        offset, linear = torch.rand(4), nn.Linear(4, 2)
        assert_converts(lambda x: linear(x + offset), ROW)


class TestContainers:
    def test_a_sequential_subclass_with_a_forward_of_its_own(self):
        class Residual(nn.Sequential):
            def forward(self, x):
                return x + super().forward(x)

        assert_converts(Residual(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()), IMAGE)

    def test_lists_and_dicts(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
                self.acts = nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})
                self.scales = nn.ParameterList([nn.Parameter(torch.rand(4)) for _ in range(3)])
                self.shifts = nn.ParameterDict({"a": nn.Parameter(torch.rand(4))})

            def forward(self, x):
                for layer, act, scale in zip(self.layers, (*self.acts.values(), nn.Identity()), self.scales):
                    x = act(layer(x)) * scale
                return x + self.shifts["a"]

        assert_converts(Net(), ROW)

    def test_fused_layers(self):
        norm = nn.BatchNorm2d(4).eval()
        norm.running_mean.uniform_()
        norm.running_var.uniform_(0.5, 2)
        assert_converts(torch.nn.utils.fusion.fuse_conv_bn_eval(conv().eval(), norm), IMAGE)

    def test_a_module_made_in_the_forward(self):
        assert_converts(lambda x: nn.Softmax(dim=1)(nn.AvgPool2d(2)(x)), IMAGE)

    def test_forward_called_directly(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv()

            def forward(self, x):
                return self.conv.forward(x) + F.conv2d(x, self.conv.weight, padding=1)

        assert_converts(Net(), IMAGE)

    def test_a_weight_shared_by_two_layers_and_transposed(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.down = nn.Linear(4, 2)

            def forward(self, x):
                return F.linear(self.down(x), self.down.weight.t())

        assert_converts(Net(), ROW)

    def test_arguments_by_keyword_to_native_layers(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.linear = conv(), nn.Linear(5, 5)

            def forward(self, x):
                return self.linear(input=self.conv(input=x))

        assert_converts(Net(), IMAGE)


class TestContexts:
    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_grad_modes_around_the_call(self, context):
        with context():
            assert_converts(nn.Sequential(conv(), nn.ReLU()), IMAGE.clone())

    @pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
    def test_grad_modes_inside(self, context):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv()

            def forward(self, x):
                with context():
                    y = self.conv(x)
                return y.relu()

        assert_converts(Net(), IMAGE)

    def test_inference_mode_inside(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv()

            @torch.inference_mode()
            def forward(self, x):
                y = self.conv(x)
                y[:, 0] = 0
                return y.relu_()

        assert_converts(Net(), IMAGE)

    def test_autocast_that_is_off(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = conv()

            def forward(self, x):
                with torch.autocast("cpu", enabled=False):
                    return self.conv(x.float())

        assert_converts(Net(), IMAGE)

    def test_autocast_that_is_on(self):
        class Net(nn.Module):
            def forward(self, x):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return F.linear(x, torch.ones(3, 4)).float()

        # Within one rounding of bfloat16: processors sum in another order.
        check_parity(Net(), ROW, rtol=torch.finfo(torch.bfloat16).eps)

    @pytest.mark.parametrize("reentrant", [True, False])
    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
    def test_checkpoints(self, reentrant):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(conv(), nn.ReLU())

            def forward(self, x):
                return checkpoint(self.body, x, use_reentrant=reentrant) + 1

        assert_converts(Net(), IMAGE)

    def test_a_custom_autograd_function(self):
        class Clamp(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clamp(0, 0.5)

            @staticmethod
            def backward(ctx, grad):
                return grad

        assert_converts(lambda x: Clamp.apply(x) + 1, ROW)

    def test_scripted_and_compiled_helpers(self):
        @torch.jit.ignore
        def helper(x):
            return x * 2

        assert_converts(lambda x: helper(x) + 1, ROW)
