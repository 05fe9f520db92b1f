"""Operations without a converter, opened into the ATen calls that PyTorch makes of them.

The operations are custom ones, or lose their converter for the test, so that no new converter makes a test void.
"""

from __future__ import annotations

import re
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.cells import cell_len
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.builtin import registered_converters
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.registry import registry
from nobuco.report import render_text
from tests import parity
from tests.custom_operations import both, grow, swirl
from tests.parity import assert_matches

PYTORCH = ChannelOrder.PYTORCH
IMAGE = torch.rand(1, 3, 6, 5)
ROW = torch.rand(2, 4) - 0.4


def convert(model, *args, **options):
    return parity.convert(model, *args, return_report=True, **options)


def assert_converts(model, *args, **options):
    """Convert and compare, on the traced inputs and on others; gives the report."""
    keras_model, report = convert(model, *args, **options)
    assert report.ok, report.first_bad()
    for inputs in (args, tuple(x * 0.5 + 0.1 for x in args)):
        assert_matches(keras_model, model, *inputs)
    return report


def opened_in(report):
    """The opened nodes' ATen calls, by the name of the node."""
    return {node.name: [child.name for child in node.children] for node in report.walk() if node.opened}


@contextmanager
def without_converter(*operations):
    """The operations have no converter in this block."""
    registered_converters()
    with registry.restoring():
        for operation in operations:
            registry.remove(operation)
        yield


class TestCalls:
    def test_a_public_operation_that_has_lost_its_converter(self):
        with without_converter(F.softsign, F.cosine_similarity):
            report = assert_converts(lambda x, y: F.cosine_similarity(F.softsign(x), y), IMAGE, IMAGE + 0.5)
        assert set(opened_in(report)) == {"torch.nn.functional.softsign", "torch.cosine_similarity"}

    def test_arguments_reach_the_calls(self):
        assert_converts(lambda x: swirl(x, 3.0) - swirl(x=x, turns=0.5), ROW)

    def test_several_results(self):
        report = assert_converts(lambda x: both(x), ROW)
        assert opened_in(report) == {
            "torch.ops.nobuco_tests.both.default": ["torch.ops.aten.exp.default", "torch.ops.aten.sum.dim_IntList"]
        }

    def test_one_of_several_results(self):
        assert_converts(lambda x: both(x)[1] * 2, ROW)

    def test_an_operation_that_writes_to_its_argument(self):
        def program(x, by):
            y = x * 1
            part = y[:, 1:]
            grow(part, by)
            return y, part + 1

        assert_converts(program, ROW, torch.rand(3))

    def test_a_method_in_place(self):
        with without_converter(torch.Tensor.lerp_):
            report = assert_converts(lambda x, y: (x * 1).lerp_(y, 0.3), ROW, ROW + 1)
        assert "torch.Tensor.lerp_" in opened_in(report)

    def test_out(self):
        def program(x):
            result = torch.zeros(2, 4)
            torch.hypot(x, x + 1, out=result)
            return result * 2

        with without_converter(torch.hypot):
            report = assert_converts(program, ROW)
        assert "torch.hypot" in opened_in(report)

    def test_what_gives_back_its_argument(self):
        @torch.library.custom_op("nobuco_tests::passed", mutates_args=())
        def passed(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.clone(), x.clone()

        assert_converts(lambda x: passed(x), ROW)

    def test_within_a_module_that_is_called_twice(self):
        class Swirl(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x):
                return swirl(self.linear(x))

        module = Swirl()
        assert_converts(lambda x: module(module(x)), ROW)

    def test_within_the_sides_of_a_branch(self):
        def program(x):
            return torch.cond(x.sum() > 0, lambda x: swirl(x) + 1, lambda x: both(x)[0] - 1, (x,))

        report = assert_converts(program, ROW)
        assert len(opened_in(report)) == 2
        keras_model, _ = convert(program, ROW)
        for x in (ROW.abs(), -ROW.abs()):
            assert_matches(keras_model, program, x)

    def test_within_a_loop(self):
        def program(x):
            return torch.while_loop(lambda n, x: n < 3, lambda n, x: (n + 1, swirl(x)), (torch.tensor(0), x))[1]

        assert_converts(program, ROW)

    def test_a_parameter_stays_a_weight(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.rand(4))

            def forward(self, x):
                return swirl(x * self.scale) + swirl(self.scale)

        keras_model, report = convert(Net(), ROW)
        assert report.ok and len(keras_model.trainable_weights) == 1

    def test_what_depends_on_no_input_is_a_constant(self):
        keras_model, report = convert(lambda x: x + swirl(torch.ones(4)), ROW)
        assert report.ok and not opened_in(report) and len(keras_model.layers) == 2

    def test_it_saves_and_loads_without_pytorch(self, tmp_path):
        keras_model, _ = convert(lambda x: swirl(x), ROW)
        keras_model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(loaded(ROW.numpy()), swirl(ROW), rtol=1e-5, atol=1e-6)


class TestOrder:
    """Opened calls are planned with all others, so an image stays channels-last through them."""

    def test_element_by_element_calls_take_any_order(self):
        @torch.library.custom_op("nobuco_tests::bent", mutates_args=())
        def bent(x: torch.Tensor) -> torch.Tensor:
            return torch.where(x > 0, x, x.exp() - 1) * x.sigmoid()

        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), _Module(bent), nn.Conv2d(4, 2, 3))
        keras_model, report = convert(
            net, IMAGE, inputs_channel_order=ChannelOrder.TENSORFLOW, outputs_channel_order=None
        )
        assert report.ok and report.transpositions == 0
        with torch.no_grad():
            expected = net(IMAGE).permute(0, 2, 3, 1)
        np.testing.assert_allclose(keras_model(IMAGE.permute(0, 2, 3, 1).numpy()), expected, atol=1e-5)

    def test_calls_on_dimensions_follow_the_order(self):
        @torch.library.custom_op("nobuco_tests::evened", mutates_args=())
        def evened(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x - x.mean(1, keepdim=True), x.amax(dim=(2, 3), keepdim=True).expand_as(x)], 1)

        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), _Module(evened), nn.Conv2d(8, 2, 3))
        _, report = convert(net, IMAGE, inputs_channel_order=ChannelOrder.TENSORFLOW, outputs_channel_order=None)
        assert report.ok and report.transpositions == 0

    def test_a_convolution_without_converter_is_one_in_aten(self):
        with without_converter(torch.conv2d):
            net = nn.Sequential(nn.ReLU(), _Module(lambda x: F.conv2d(x, torch.ones(2, 3, 3, 3)) * x.mean()), nn.ReLU())
            _, report = convert(net, IMAGE, inputs_channel_order=ChannelOrder.TENSORFLOW, outputs_channel_order=None)
        assert report.ok and report.transpositions == 0
        assert "torch.ops.aten.convolution.default" in opened_in(report)["torch.conv2d"]


class _Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


FOLLOWED = {
    "shift": lambda x: torch.fft.fftshift(x, 0),
    "shift back": lambda x: torch.fft.ifftshift(x),
    "log space": lambda x: torch.logspace(0, 1, x.shape[0])[:, None] * x,
    "correlations": lambda x: torch.corrcoef(x.mT),
    "blocks": lambda x: torch.block_diag(x, x),
    "pairs": lambda x: torch.combinations(torch.arange(x.shape[0])) + x.sum(),
    "quantile": lambda x: x.quantile(0.3, 0),
    "triangle": lambda x: (x @ x.mT)[tuple(torch.triu_indices(x.shape[0], x.shape[0], 1))],
}


class TestSizes:
    def test_calls_without_sizes_work_at_any(self):
        keras_model, report = convert(lambda x: both(x)[0], ROW, input_shapes={ROW: (None, 4)})
        assert report.ok and report.warnings == () and keras_model.output.shape == (None, 4)
        assert_matches(keras_model, lambda x: both(x)[0], torch.rand(7, 4))

    def test_calls_with_the_examples_sizes_are_warned_about(self):
        @torch.library.custom_op("nobuco_tests::shortened", mutates_args=())
        def shortened(x: torch.Tensor) -> torch.Tensor:
            return x[: x.shape[0] ** 3 % 7 + 1].clone()

        x = torch.rand(4, 3)
        line = self.test_calls_with_the_examples_sizes_are_warned_about.__func__.__code__.co_firstlineno
        with pytest.warns(
            nobuco.NobucoWarning, match=rf"test_opening.py\", line {line + 10}: .*sizes of the example"
        ) as seen:
            convert(lambda x: shortened(x[:, :2]) * x.shape[0],
                    x, input_shapes={x: (None, 3)})  # fmt: skip
        assert seen

    @pytest.mark.parametrize("name", FOLLOWED)
    def test_sizes_in_the_calls_are_followed(self, name):
        program, x = FOLLOWED[name], torch.randn(5, 4)
        keras_model, report = convert(program, x, input_shapes={x: (None, 4)})
        assert report.ok and not report.warnings
        file = to_tflite(keras_model)
        for length in (2, 4, 9, 32):
            x = torch.randn(length, 4)
            for got in (keras_model(x.numpy()), run_tflite(file, [x.numpy()])[0]):
                np.testing.assert_allclose(got, program(x), atol=1e-5)

    def test_what_follows_from_an_inferred_size_is_followed(self):
        """One less than a product of two sizes, of which only the product is known to be there."""
        program, x = lambda x: x.quantile(torch.tensor([0.3, 0.9])), torch.randn(5, 4)
        keras_model, report = convert(program, x, input_shapes={x: (None, None)})
        assert report.ok and not report.warnings
        assert_matches(keras_model, program, torch.randn(7, 3))

    def test_right_by_chance_at_one_size_is_told(self):
        """Where 2 rows are rolled by 1 and by 3 the same comes out."""

        @torch.library.custom_op("nobuco_tests::rolled", mutates_args=())
        def rolled(x: torch.Tensor) -> torch.Tensor:
            return x.roll(x.shape[0] ** 3 % 7, 0)

        x = torch.rand(5, 3)
        with pytest.warns(nobuco.NobucoWarning, match=r"right where x.shape\[0\] == 5"):
            convert(lambda x: rolled(x), x, input_shapes={x: (None, 3)})

    def test_where_other_calls_are_made_is_told(self):
        @torch.library.custom_op("nobuco_tests::unlike_alone", mutates_args=())
        def unlike_alone(x: torch.Tensor) -> torch.Tensor:
            return x.sin() if x.shape[0] > 1 else x.cos() + 1

        x = torch.rand(5, 3)
        with pytest.warns(nobuco.NobucoWarning, match=r"others at other sizes; .*right where x.shape\[0\] != 1"):
            convert(lambda x: unlike_alone(x), x, input_shapes={x: (None, 3)})


class TestReport:
    @pytest.fixture
    def report(self):
        return convert(nn.Sequential(nn.Linear(4, 4), _Module(swirl)), ROW)[1]

    def test_it_marks_the_node_and_lists_its_calls(self, report):
        assert opened_in(report) == {
            "torch.ops.nobuco_tests.swirl.default": [
                "torch.ops.aten.mul.Tensor",
                "torch.ops.aten.sin.default",
                "torch.ops.aten.mean.dim",
                "torch.ops.aten.add.Tensor",
            ]
        }
        (node,) = [node for node in report.walk() if node.opened]
        assert all(call.direct and call.own.matches for call in node.children)
        assert "test_opening.py" in str(node.invoked)

    def test_in_a_terminal_of_80_columns(self, report):
        text = render_text(report, width=80)
        assert "▿ opened into ATen calls" in text
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines) if "nobuco_tests.swirl" in line)
        assert re.match(r"└ ▾ 1: _Module → nobuco_tests\.swirl|.*▿ .*nobuco_tests\.swirl", lines[start])
        assert [re.sub(r"  +.*", "", line.strip()) for line in lines[start + 1 : start + 5]] == [
            "├ ✓ aten.mul.Tensor",
            "├ ✓ aten.sin",
            "├ ✓ aten.mean.dim",
            "└ ✓ aten.add.Tensor",
        ]
        assert all(cell_len(line) <= 80 for line in lines)

    def test_colour_adds_nothing_but_colour(self, report):
        painted = render_text(report, width=80, color=True)
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == render_text(report, width=80)
