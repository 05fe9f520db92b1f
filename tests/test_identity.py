"""A module that is derived from, or made to be another than, one with a converter is converted as what it is."""

from __future__ import annotations

import copy
import functools
from types import MethodType

import keras
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils import parametrize

import nobuco
from tests.parity import assert_converts

IMAGE, ROW, STEPS = torch.rand(1, 3, 6, 5), torch.rand(2, 4), torch.rand(2, 5, 4)


def normalization(kind=nn.BatchNorm2d):
    """One whose statistics are not those of an identity."""
    module = kind(3)
    with torch.no_grad():
        for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
            tensor.uniform_(0.5, 2)
    return module


def is_native(model, kind):
    """Whether a layer of Keras's own stands for the module."""
    return any(isinstance(layer, kind) for layer in model.layers)


class Doubled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


class TestSubclasses:
    def test_a_forward_whose_base_inherits_its_own(self):
        class WithActivation(nn.BatchNorm2d):
            def forward(self, x):
                return super().forward(x).relu() - 1

        assert_converts(nn.Sequential(normalization(WithActivation)), IMAGE)

    def test_a_forward_written_anew(self):
        class Frozen(nn.BatchNorm2d):
            def forward(self, x):
                return F.batch_norm(x, self.running_mean, self.running_var, self.weight * 2, self.bias, eps=self.eps)

        assert_converts(nn.Sequential(normalization(Frozen)), IMAGE)

    def test_a_forward_that_computes_the_same_keeps_the_layer(self):
        class Guarded(nn.Conv2d):
            def forward(self, x):
                return super().forward(x) if x.numel() else x

        assert is_native(assert_converts(nn.Sequential(Guarded(3, 4, 3)), IMAGE), keras.layers.Conv2D)

    def test_a_forward_that_calls_nothing(self):
        class Off(nn.Linear):
            def forward(self, x):
                return x

        assert_converts(nn.Sequential(nn.ReLU(), Off(4, 4)), ROW)

    def test_a_forward_of_a_class_mixed_in(self):
        class Half:
            def forward(self, x):
                return super().forward(x) / 2

        assert_converts(nn.Sequential(type("Mixed", (Half, nn.Linear), {})(4, 3)), ROW)

    def test_a_weight_that_depends_on_the_input(self):
        class Hyper(nn.Linear):
            def forward(self, x):
                return F.linear(x, self.weight * x.mean(), self.bias)

        assert_converts(nn.Sequential(Hyper(4, 3)), ROW)

    def test_a_method_that_forward_calls(self):
        class Standardised(nn.Conv2d):
            def _conv_forward(self, x, weight, bias):
                return super()._conv_forward(x, weight - weight.mean((1, 2, 3), keepdim=True), bias)

        assert_converts(nn.Sequential(Standardised(3, 4, 3)), IMAGE)

    def test_a_method_that_makes_no_call(self):
        class Swapped(nn.LSTM):
            def permute_hidden(self, hidden, permutation):
                return hidden[1], hidden[0]

        assert_converts(Swapped(4, 3, batch_first=True), STEPS)

    def test_a_method_that_computes_numbers(self):
        class Larger(nn.ConvTranspose2d):
            def _output_padding(self, *args, **kwargs):
                return [1, 1]

        module = Larger(3, 4, 3, stride=2, padding=1)
        assert_converts(lambda x: module(x, output_size=[12, 10]), IMAGE)

    def test_a_check_that_is_left_out_keeps_the_layer(self):
        class Unchecked(nn.BatchNorm2d):
            def _check_input_dim(self, input):
                pass

        model = assert_converts(nn.Sequential(normalization(Unchecked)), IMAGE)
        assert is_native(model, keras.layers.BatchNormalization)

    def test_a_weight_that_is_a_property(self):
        class Bounded(nn.Linear):
            weight = property(lambda self: self.raw.tanh())

            def __init__(self):
                nn.Module.__init__(self)
                self.raw, self.bias = nn.Parameter(torch.randn(3, 4)), None

        assert_converts(nn.Sequential(Bounded()), ROW)

    def test_attributes_of_another_getter(self):
        class Scaled(nn.Linear):
            def __getattr__(self, name):
                return super().__getattr__(name) * (3 if name == "weight" else 1)

        assert_converts(nn.Sequential(Scaled(4, 3)), ROW)

    @pytest.mark.parametrize("name", ["__call__", "_call_impl", "_wrapped_call_impl"])
    def test_a_call_of_its_own(self, name):
        def call(self, x):
            return getattr(nn.Linear, name)(self, x) * 3

        kind = type("Called", (nn.Linear,), {name: call, "__call__": call})
        assert_converts(nn.Sequential(kind(4, 3)), ROW)
        assert_converts(kind(4, 3), ROW)

    def test_a_call_that_goes_round_the_hooks(self):
        kind = type("Direct", (nn.Linear,), {"__call__": lambda self, x: self.forward(x) * 3})
        assert_converts(nn.Sequential(kind(4, 3)), ROW)

    def test_a_class_of_the_same_name(self):
        class Linear(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight, self.bias = nn.Parameter(torch.randn(3, 4)), None

            def forward(self, x):
                return F.linear(x, self.weight.abs())

        assert_converts(nn.Sequential(Linear()), ROW)

    def test_a_decision_on_values(self):
        class Deciding(nn.Linear):
            def forward(self, x):
                return super().forward(x) if x.sum() > 4 else super().forward(-x)

        assert_converts(nn.Sequential(Deciding(4, 3)), ROW + 1, explore_branches=True)


class TestInstances:
    def test_a_replaced_forward(self):
        module = nn.Linear(4, 3)
        forward = module.forward
        module.forward = lambda x: forward(x) * 2
        assert_converts(nn.Sequential(module), ROW)
        assert_converts(copy.deepcopy(nn.Sequential(module)), ROW)

    def test_a_forward_wrapped_as_libraries_do_it(self):
        module = nn.Linear(4, 3)
        forward = module.forward
        module.forward = functools.update_wrapper(functools.partial(lambda m, x: forward(x) * 2, module), forward)
        assert_converts(nn.Sequential(module), ROW)

    def test_a_forward_wrapped_for_nothing_keeps_the_layer(self):
        module = nn.Linear(4, 3)
        module.forward = functools.wraps(module.forward)(functools.partial(module.forward))
        assert is_native(assert_converts(nn.Sequential(module), ROW), keras.layers.Dense)

    def test_a_replaced_method(self):
        module = nn.Conv2d(3, 4, 3)
        plain = module._conv_forward
        module._conv_forward = lambda x, weight, bias: plain(x, weight * 2, bias)
        assert_converts(nn.Sequential(module), IMAGE)

    def test_a_forward_chosen_in_the_beginning(self):
        class Chosen(nn.Linear):
            def __init__(self, *args):
                super().__init__(*args)
                self.forward = self.doubled

            def doubled(self, x):
                return nn.Linear.forward(self, x) * 2

        assert_converts(nn.Sequential(Chosen(4, 3)), ROW)

    def test_a_class_given_afterwards(self):
        module = nn.Linear(4, 3)
        module.__class__ = Doubled
        assert_converts(nn.Sequential(module), ROW)

    def test_a_method_of_this_instance(self):
        module = normalization()
        module.forward = MethodType(lambda self, x: x - self.running_mean[:, None, None], module)
        assert_converts(nn.Sequential(module), IMAGE)


class TestHooks:
    @pytest.mark.parametrize("options", [{}, {"always_call": True}, {"prepend": True}])
    def test_outputs(self, options):
        module = nn.Linear(4, 3)
        module.register_forward_hook(lambda module, args, kwargs, output: output * 2, with_kwargs=True, **options)
        assert_converts(nn.Sequential(module), ROW)

    def test_inputs(self):
        module = nn.Linear(4, 3)
        module.register_forward_pre_hook(lambda module, args, kwargs: ((), {"input": args[0] * 2}), with_kwargs=True)
        assert_converts(nn.Sequential(module), ROW)

    def test_outputs_in_place(self):
        module = nn.Linear(4, 3)
        module.register_forward_hook(lambda module, args, output: output.mul_(2))
        assert_converts(nn.Sequential(module), ROW)

    @pytest.mark.parametrize(
        ("register", "hook"),
        [
            (register_module_forward_hook, lambda m, args, output: output * 2 if isinstance(m, nn.Linear) else None),
            (register_module_forward_pre_hook, lambda m, args: (args[0] * 2,) if isinstance(m, nn.Linear) else None),
        ],
    )
    def test_those_of_others_for_all_modules(self, register, hook):
        handle = register(hook)
        try:
            assert_converts(nn.Sequential(nn.Linear(4, 3)), ROW)
        finally:
            handle.remove()


class TestWeights:
    def test_given_from_outside(self):
        module, others = nn.Linear(4, 3), {"weight": torch.randn(3, 4), "bias": torch.randn(3)}
        assert_converts(lambda x: torch.func.functional_call(module, others, (x,)), ROW)

    @pytest.mark.parametrize("makes_other", [lambda w: w * 2, lambda w: nn.Parameter(w * 2)])
    def test_exchanged_for_one_call(self, makes_other):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 3)

            def forward(self, x):
                own = self.linear._parameters.pop("weight")
                self.linear.__dict__["weight"] = makes_other(own)
                y = self.linear(x)
                self.linear._parameters["weight"] = self.linear.__dict__.pop("weight") / 2
                self.linear._parameters["weight"] = own
                return y

        assert_converts(Net(), ROW)

    def test_changed_between_two_calls(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x):
                y = self.linear(x)
                self.linear.weight.data.mul_(2)
                z = self.linear(y)
                self.linear.weight.data.div_(2)
                return y + z

        assert_converts(Net(), ROW)

    def test_a_parametrization_with_chance_in_it(self):
        class Noisy(nn.Module):
            def forward(self, weight):
                return weight + 0 * torch.rand_like(weight)

        module = nn.Linear(4, 3)
        parametrize.register_parametrization(module, "weight", Noisy())
        assert not is_native(assert_converts(nn.Sequential(module), ROW), keras.layers.Dense)

    def test_the_list_of_a_recurrent_layer(self):
        module = nn.LSTM(4, 3, batch_first=True)
        module._flat_weights[0] = module._flat_weights[0].detach() * 2
        assert_converts(module, STEPS)

    def test_a_tensor_class_that_says_what_calls_do(self):
        class Doubling(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                if func is F.linear:
                    return F.linear(args[0], args[1].as_subclass(torch.Tensor) * 2, *args[2:])
                return super().__torch_function__(func, types, args, kwargs or {})

        weight = torch.randn(3, 4).as_subclass(Doubling)
        module = nn.Linear(4, 3)
        module.weight = nn.Parameter(weight)
        assert_converts(lambda x: F.linear(x, weight), ROW)
        assert_converts(lambda x: module(x), ROW)  # of which no state is taken: PyTorch does not copy such a tensor

    def test_equal_weights_that_change_places(self):
        class Averaged(nn.Linear):
            def __init__(self, *args):
                super().__init__(*args)
                self.register_buffer("average", self.weight.detach().clone())

            def forward(self, x):
                return F.linear(x, self.average, self.bias)

        module = nn.Sequential(Averaged(4, 3))
        model = assert_converts(module, ROW)
        state = {key: tensor + (1 if key == "0.average" else 0) for key, tensor in module.state_dict().items()}
        nobuco.load_state_dict(model, state)
        module.load_state_dict(state)
        torch.testing.assert_close(torch.tensor(model(ROW.numpy()).numpy()), module(ROW).detach())

    def test_a_parameter_class(self):
        module = nn.Linear(4, 3)
        module.weight = type("Own", (nn.Parameter,), {})(module.weight.detach())
        assert is_native(assert_converts(nn.Sequential(module), ROW), keras.layers.Dense)


class TestFlags:
    def test_flags_that_forward_sets_for_one_call(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = normalization()

            def forward(self, x):
                self.bn.training, self.bn.track_running_stats = True, False
                y = self.bn(x)
                self.bn.training, self.bn.track_running_stats = False, True
                return y + self.bn(x)

        assert_converts(Net(), IMAGE)


class TestPartsAndWrappers:
    def test_a_part_that_only_lends_its_weights(self):
        attention = nn.MultiheadAttention(4, 2, batch_first=True).eval()
        attention.out_proj = Doubled(4, 4)
        assert_converts(lambda x: attention(x, x, x)[0], STEPS)

    def test_a_part_whose_weight_is_computed(self):
        attention = nn.MultiheadAttention(4, 2, batch_first=True).eval()
        parametrize.register_parametrization(attention.out_proj, "weight", nn.Tanh())
        assert_converts(lambda x: attention(x, x, x)[0], STEPS)

    def test_a_part_of_a_decoder_layer(self):
        layer = nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)
        layer.linear1, layer.activation, layer.norm1 = Doubled(4, 8), torch.sin, normalization(nn.BatchNorm1d)
        layer.norm1 = nn.LayerNorm(4, elementwise_affine=False)
        assert_converts(layer, STEPS, STEPS + 1)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize(
        "around",
        [
            lambda m: torch.compile(m, backend="eager"),
            torch.jit.script,
            lambda m: torch.jit.trace(m.eval(), IMAGE),
            nn.DataParallel,
            lambda m: torch.fx.symbolic_trace(nn.Sequential(m)),
            copy.deepcopy,
        ],
        ids=["compile", "script", "trace", "DataParallel", "fx", "deepcopy"],
    )
    def test_around_a_derived_module(self, around):
        assert_converts(nn.Sequential(around(Normed(3)), nn.Tanh()), IMAGE)


class Normed(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels)
        nn.init.uniform_(self.running_mean)

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return torch.relu(x) - 1
