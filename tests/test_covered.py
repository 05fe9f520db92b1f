"""What converts, asked before converting; the operations are the tests' own, so that the answers stay."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest
import torch
import torch.nn.functional as F
from rich.cells import cell_len
from torch import nn

import nobuco
from nobuco.builtin import registered_converters
from nobuco.registry import registry
from nobuco.report import CallCoverage, Coverage, Served, render_coverage
from tests.custom_operations import holds_sealed, sealed

ROW = torch.rand(2, 4)


@torch.library.custom_op("nobuco_coverage::bent", mutates_args=())
def bent(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x) + x.mean(-1, keepdim=True)


class TestOperations:
    @pytest.mark.parametrize(
        ("subject", "name"),
        [
            (F.gelu, "torch.nn.functional.gelu"),
            ("torch.nn.functional.gelu", "torch.nn.functional.gelu"),
            (torch.Tensor.add_, "torch.Tensor.add_"),
            ("torch.ops.aten.mm.default", "torch.ops.aten.mm.default"),
            (nn.Conv2d, "torch.nn.Conv2d"),
        ],
    )
    def test_one_that_has_a_converter(self, subject, name):
        coverage = nobuco.coverage(subject)
        (call,) = coverage.calls
        assert (coverage.subject, call.name, call.served) == (name, name, Served.CONVERTER)
        assert re.search(r'nobuco.converters.*\.py", line \d+$', call.converter)
        assert coverage.complete and coverage.missing == ()

    def test_one_that_opens_is_tried_on_an_example(self):
        (call,) = nobuco.coverage(bent).calls
        assert (call.name, call.served, call.converter) == (
            "torch.ops.nobuco_coverage.bent.default",
            Served.OPENED,
            None,
        )
        assert [inner.name.removeprefix("torch.ops.aten.") for inner in call.into] == [
            "sin.default",
            "mean.dim",
            "add.Tensor",
        ]
        assert all(inner.served is Served.CONVERTER for inner in call.into)

    def test_one_that_opens_with_arguments_of_ones_own(self):
        coverage = nobuco.coverage(bent, [torch.rand(3, 5, 7)])
        assert coverage.calls[0].inputs == ("float32[3, 5, 7]",) and coverage.calls[0].count == 1

    def test_one_that_has_a_gap_inside(self):
        coverage = nobuco.coverage(holds_sealed)
        assert coverage.calls[0].served is Served.OPENED
        assert coverage.missing == ("torch.ops.nobuco_tests_closed.sealed.default",) and not coverage.complete

    def test_one_that_nothing_converts(self):
        coverage = nobuco.coverage(sealed)
        assert coverage.calls[0].served is Served.NOTHING and coverage.calls[0].into == ()

    def test_a_name_that_is_none(self):
        for name in ("torch.nn.functional.no_such_thing", "no_such_package.function"):
            with pytest.raises(nobuco.InputError, match=f"there is no '{name}'"):
                nobuco.coverage(name)

    def test_a_module_class_without_a_converter_wants_an_instance(self):
        class Own(nn.Module):
            pass

        with pytest.raises(nobuco.InputError, match=r"Own has no converter of its own.* give an instance"):
            nobuco.coverage(Own)

    def test_what_no_example_is_found_for_wants_arguments(self):
        @nobuco.traceable
        def picky(x):
            if x.shape != (5, 7):
                raise ValueError("not that")
            return bent(x)

        with pytest.raises(nobuco.InputError, match="picky has no converter, and no example was found"):
            nobuco.coverage(picky)
        assert nobuco.coverage(picky, [torch.rand(5, 7)]).complete


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.relu(self.second(self.first(x)))
        y = bent(y) + bent(y * 2)
        return torch.relu(holds_sealed(y)) + sealed(y)


class TestPrograms:
    @pytest.fixture
    def coverage(self):
        return nobuco.coverage(Net(), [ROW])

    def test_each_operation_with_its_calls(self, coverage):
        by_name = {call.name: call for call in coverage.calls}
        first = Net.forward.__code__.co_firstlineno
        assert by_name["torch.nn.Linear"].count == 2 and by_name["torch.relu"].count == 2
        assert [site.line for site in by_name["torch.relu"].sites] == [first + 1, first + 3]
        assert by_name["torch.ops.nobuco_coverage.bent.default"].count == 2
        assert by_name["torch.Tensor.add"].count == 2
        assert {call.served for call in coverage.calls} == set(Served)

    def test_counts(self, coverage):
        assert coverage.count(Served.CONVERTER) == 2 + 2 + 1 + 2
        assert coverage.count(Served.OPENED) == 2
        assert coverage.count(Served.NOTHING) == 2, "sealed, and what holds it"
        assert coverage.missing == ("torch.ops.nobuco_tests_closed.sealed.default",)

    def test_it_agrees_with_the_conversion(self, coverage):
        with pytest.raises(nobuco.ConversionError) as caught:
            nobuco.pytorch_to_keras(Net(), [ROW], verbose=False)
        assert {f"torch.ops.{gap}" for gap in caught.value.gaps} == set(coverage.missing)

    def test_a_converter_of_ones_own_counts(self, coverage):
        registered_converters()
        with registry.restoring():
            nobuco.converter(sealed)(lambda x: lambda x: x * 2)
            again = nobuco.coverage(Net(), [ROW])
        assert again.complete and not coverage.complete

    def test_inside_of_branches(self):
        coverage = nobuco.coverage(
            lambda x: torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos() + x.cos(), (x,)), [ROW]
        )
        counts = {call.name.rpartition(".")[2]: call.count for call in coverage.calls}
        assert counts["sin"] == 1 and counts["cos"] == 2

    def test_programs_of_other_kinds(self, tmp_path):
        linear = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        exported = torch.export.export(linear, (ROW,))
        torch.export.save(exported, tmp_path / "linear.pt2")
        for subject in (exported, str(tmp_path / "linear.pt2")):
            coverage = nobuco.coverage(subject)
            assert [call.name for call in coverage.calls] == [
                "torch.ops.aten.linear.default",
                "torch.ops.aten.relu.default",
            ]

    def test_the_model_is_left_as_it_was(self):
        module = nn.Sequential(nn.BatchNorm1d(4)).train()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        nobuco.coverage(module, [ROW])
        assert module.training and all(torch.equal(before[name], t) for name, t in module.state_dict().items())

    def test_nothing_is_printed(self, capsys, coverage):
        assert capsys.readouterr() == ("", "")

    def test_it_is_frozen(self, coverage):
        with pytest.raises(FrozenInstanceError):
            coverage.subject = "other"


class TestText:
    coverage = Coverage(
        "Net",
        (
            CallCoverage("torch.nn.Conv2d", Served.CONVERTER, 3),
            CallCoverage(
                "mylib.swirl",
                Served.OPENED,
                1,
                into=(
                    CallCoverage("torch.ops.aten.sin.default", Served.CONVERTER, 1),
                    CallCoverage("torch.ops.aten.odd.default", Served.NOTHING, 2),
                ),
            ),
            CallCoverage("mylib.closed", Served.NOTHING, 1, reason="RuntimeError: no"),
        ),
    )

    def test_as_a_reader_wants_it(self):
        assert render_coverage(self.coverage).splitlines() == [
            "✓ converted   ? no converter   ▿ opened into ATen calls",
            "",
            "✓ Conv2d  3x",
            "▿ swirl",
            "├ ✓ aten.sin",
            "└ ? aten.odd  2x  (no converter)",
            "? closed  (no converter)",
            "  PyTorch cannot open it: RuntimeError: no",
            "",
            "? Net: 3 by a converter, 2 without a converter",
        ]

    @pytest.mark.parametrize("width", [40, 80])
    def test_it_keeps_to_the_width_and_to_the_words_with_colour(self, width):
        text = render_coverage(nobuco.coverage(bent), width=width)
        assert all(cell_len(line) <= width for line in text.splitlines() if "torch.ops" not in line)
        painted = render_coverage(self.coverage, width=width, color=True)
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == render_coverage(self.coverage, width=width)
