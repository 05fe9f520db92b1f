"""Programs in TorchScript, each compared with PyTorch itself and left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from tests.parity import assert_converts, assert_matches, convert, torchs_state
from tests.programs import IMAGE, ROW, Counter, Net, layer_names


@pytest.fixture
def net():
    return Net().eval()


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
        keras_model = convert(scripted, ROW)
        assert scripted.count.item() == 0
        calls = [np.asarray(keras_model(ROW.numpy())) for _ in range(2)]
        np.testing.assert_allclose(calls, [ROW, ROW * 2], rtol=1e-6)

    def test_a_batch_norm_in_training(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
        with pytest.warns(nobuco.NobucoWarning, match="training mode, so '1'"):
            keras_model, report = convert(torch.jit.script(module), IMAGE, return_report=True)
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
        keras_model, report = convert(torch.jit.script(linear), ROW, input_shapes={ROW: (None, 4)}, return_report=True)
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
