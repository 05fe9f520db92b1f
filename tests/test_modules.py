"""Modules that are more than their class: weights made anew for each call, hooks, lazy ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import nobuco
from tests.parity import assert_converts, convert
from tests.programs import IMAGE, ROW, Net, layer_names


@pytest.fixture
def net():
    return Net().eval()


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
            keras_model, report = convert(lazy.train(), IMAGE, return_report=True)
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
