"""`nobuco.testing`: the plugin's comparison without pytest, and the report as a notebook shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nobuco
from nobuco.testing import assert_parity


@nobuco.traceable
def doubled(x):
    return x * 2


@pytest.fixture
def wrong_converter():
    nobuco.converter(doubled)(lambda x: lambda x: x * 2.1)
    yield
    nobuco.unregister_converter(doubled)


class Branches(nn.Module):
    def forward(self, x, y):
        return {"sum": x + y, "rest": (x.argmax(1), y.mean((2, 3)))}


@pytest.mark.parametrize("order", ["nhwc", "nchw"])
def test_what_is_right_passes_in_every_runtime(order):
    x, y = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    runtimes = ("keras", "keras_file", "savedmodel", "tflite")
    model = assert_parity(Branches(), [x], {"y": y}, runtimes=runtimes, inputs_channel_order=order)
    assert list(model.output) == ["sum", "rest"]


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")  # it is said once, by the assertion
def test_what_is_wrong_is_told_by_output_runtime_and_culprit(wrong_converter):
    with pytest.raises(AssertionError) as raised:
        assert_parity(lambda x: doubled(x) + 1, [torch.randn(2, 3)])
    title, output, culprit, tflite = str(raised.value).splitlines()
    assert title.endswith("does not match PyTorch:")
    assert output.strip().startswith("output 0: Values differ in 6 of 6 elements")
    assert "doubled at File" in culprit and __file__.rpartition("/")[2] in culprit
    assert tflite.strip().startswith("tflite, output 0: Values differ")


def test_a_bound_of_ones_own(wrong_converter):
    assert_parity(doubled, [torch.full((2, 3), 0.1)], max_abs_diff=0.5)
    with pytest.raises(AssertionError, match=r"max abs 1\.0e-03"):
        assert_parity(doubled, [torch.full((2, 3), 0.1)], max_abs_diff=0.001)


def test_what_is_computed_in_16_bits_is_held_to_their_bound():
    net = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 4)).half().eval()
    assert_parity(lambda x: net(x.half()).float(), [torch.randn(2, 8)])


@pytest.mark.parametrize("runtimes", [("onnx",), "tflite", 5, None])
def test_a_runtime_that_there_is_not(runtimes):
    with pytest.raises(nobuco.InputError, match=r"runtimes is .*; give a list of some of keras, keras_file"):
        assert_parity(nn.ReLU(), [torch.randn(2, 3)], runtimes=runtimes)


def test_a_notebook_shows_the_verdict_and_what_to_look_at(wrong_converter):
    with pytest.warns(nobuco.NobucoWarning, match="does not match"):
        _, report = nobuco.pytorch_to_keras(
            lambda x: doubled(x) + 1, [torch.randn(2, 3)], return_report=True, verbose=False
        )
    page = report._repr_html_()
    assert "✗ does not match PyTorch" in page and "Values differ in 6 of 6 elements" in page
    assert "&lt;lambda&gt;" in page and "<lambda>" not in page
    assert "Calls to look at (1)" in page
    _, report = nobuco.pytorch_to_keras(nn.ReLU(), [torch.randn(2, 3)], return_report=True, verbose=False)
    assert "✓ matches PyTorch" in report._repr_html_()
