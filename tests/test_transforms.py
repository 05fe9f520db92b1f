"""Functions of functions, and contexts: gradients, `vmap`, checkpoints, other parameters, autocast."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import nobuco
from nobuco.builtin import registered_converters
from nobuco.registry import registry
from tests.parity import assert_converts, assert_matches, convert
from tests.programs import IMAGE, ROW, Net, layer_names

# What is left of a number near one after a few roundings to bfloat16, whose steps there are 2**-8 to 2**-7 wide.
BFLOAT16 = 2e-2


@pytest.fixture
def net():
    return Net().eval()


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
            _, report = convert(lambda x: clamp(x) + 1, ROW, return_report=True)
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
        keras_model, report = convert(function, ROW, input_shapes={ROW: (None, 4)}, return_report=True)
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

        keras_model, report = convert(ensemble, ROW, return_report=True)
        assert report.ok
        expected = torch.stack([member(ROW) for member in members])
        np.testing.assert_allclose(keras_model(ROW.numpy()), expected.detach(), atol=1e-5)


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

        keras_model, report = convert(program, ROW, validation_tolerance=BFLOAT16, return_report=True)
        assert report.ok
        opened = [node for node in report.walk() if node.opened]
        assert [node.name for node in opened] == ["torch.nn.functional.linear"], "the two others are as ever"
        assert "torch.ops.aten._to_copy.default" in {call.name for call in opened[0].children}
        assert_matches(keras_model, program, ROW, atol=BFLOAT16)

    def test_autocast_of_what_is_composed(self):
        def program(x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return torch.einsum("bi,bj->ij", x, x), F.mse_loss(x, x.bfloat16() * 2)

        keras_model, report = convert(program, ROW, return_report=True)
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
            keras_model, report = convert(linear, ROW, return_report=True)
            expected = linear(ROW)
        assert report.ok and keras_model.output.dtype == "bfloat16"
        np.testing.assert_allclose(
            np.asarray(keras_model(ROW.numpy()), np.float32), expected.detach().float(), atol=2e-2
        )
