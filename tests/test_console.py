"""The report's data and its text: what is expected is written out by hand, as a reader would want it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from nobuco.parity import compare
from nobuco.report import (
    NodeReport,
    Status,
    TraceLevel,
    render_text,
)
from tests.reports import TOLERANCE, call, off_by, report


def tree_of(*nodes: NodeReport, **given: Any) -> list[str]:
    """The lines between legend and summary."""
    sections = render_text(report(*nodes), **given).split("\n\n")
    return sections[1].splitlines()


class TestTree:
    def test_names_calls_relative_to_the_module_around_them(self) -> None:
        conv = call("Conv2d", "stem.0.conv", outputs=("float32[1,8,4,4] TENSORFLOW",))
        gelu = call("gelu", "stem.0", outputs=("float32[1, 8, 4, 4] PYTORCH",))
        block = call("Block", "stem.0", conv, gelu)
        split = call("chunk", outputs=("int64[2]", "int64[2]", "int64[1]"))
        assert tree_of(call("Net", "", block, split)) == [
            "▾ Net",
            "├ ▾ stem.0: Block",
            "│ ├ ✓ conv: Conv2d  float32[1,8,4,4] TF",
            "│ └ ✓ gelu          float32[1,8,4,4] PT",
            "└ ✓ chunk           int64[2] +2",
        ]

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("torch.nn.Conv2d", "Conv2d"),
            ("torch.nn.functional.relu", "F.relu"),
            ("torch.cat", "torch.cat"),
            ("torch.Tensor.__getitem__", "Tensor.__getitem__"),
            ("mylib.nets.unet.Block", "Block"),
            ("__main__.Net.bn_conv", "Net.bn_conv"),
            ("mylib.ops.swish", "swish"),
        ],
    )
    def test_uses_the_names_that_people_use(self, name: str, shown: str) -> None:
        assert tree_of(call(name)) == [f"✓ {shown}"]

    def test_shows_each_kind_of_call_by_a_mark_and_a_word(self) -> None:
        lines = tree_of(
            call("a", constant=True),
            call("b", disconnected=True),
            call("c", useless=True),
            call("d", reused=True, transposed=2),
            call("e", status=Status.IMPRECISE, own=off_by(0.5)),
            call("f", status=Status.FAILED),
            call("g", status=Status.NO_CONVERTER),
            detail=TraceLevel.NEVER,
        )
        assert lines == [
            "· a  constant",
            "· b  unused",
            "· c  no effect",
            "✓ d  reused ⇄2",
            "≈ e  (max diff 5.0e-01, 25.0%)",
            "  Values differ in 1 of 1 element, worst at (0,): expected 2, got 2.5, off by",
            "  5.0e-01 (25.0% of the peak 2); allowed 1.0e-01: max abs 1.0e-01 (this test).",
            "✗ f  (failed)",
            "? g  (no converter)",
        ]

    def test_tells_an_error_that_came_in_from_one_made_here(self) -> None:
        inherited = call("relu", status=Status.IMPRECISE, own=off_by(0.0), accumulated=off_by(1.0), line=7)
        assert tree_of(inherited) == ["≈ relu  (inherited: max diff 1.0e+00, 50.0%)"]

    def test_says_what_a_broken_result_differs_in(self) -> None:
        broken = compare(np.zeros((2, 1), np.float16), np.zeros((1, 2)), TOLERANCE)
        node = call("mul", status=Status.FAILED, own=broken)
        assert tree_of(node, detail=TraceLevel.NEVER) == [
            "✗ mul  (shape and dtype differs)",
            "  Shape is (2, 1), expected (1, 2).",
            "  Dtype is float16, expected float64.",
        ]

    def test_wraps_a_message_under_its_guides_and_cuts_a_long_one(self) -> None:
        long = "\n".join(["first line that is rather long for so few columns", *"abcdefghij"])
        failed = call("f", status=Status.FAILED, message=long)
        lines = tree_of(call("Net", "", failed, call("g")), width=40, detail=TraceLevel.NEVER)
        assert lines[2:4] == ["│   first line that is rather long for", "│   so few columns"]
        assert lines[-2:] == ["│   … 3 more lines", "└ ✓ g"]

    def test_control_characters_do_not_reach_the_terminal(self) -> None:
        lines = tree_of(call("f\x1b[2J", status=Status.FAILED, message="a\x1b[2Jb\rc"), detail=TraceLevel.NEVER)
        assert lines == ["✗ f [2J  (failed)", "  a [2Jb c"]

    def test_draws_a_call_that_made_one_other_in_the_same_line(self) -> None:
        act = call("Hardswish", "act", call("hardswish", "act"))
        assert tree_of(call("Net", "", act, call("g"))) == [
            "▾ Net",
            "├ ✓ act: Hardswish → hardswish",
            "└ ✓ g",
        ]

    def test_keeps_a_call_apart_that_has_something_of_its_own_to_say(self) -> None:
        act = call("Hardswish", "act", call("hardswish", "act"), reused=True)
        lines = tree_of(call("Net", "", act, call("g")))
        assert lines == ["▾ Net", "├ ▾ act: Hardswish  reused", "│ └ ✓ hardswish", "└ ✓ g"]


class TestFolding:
    @staticmethod
    def layer(index: int, **given: Any) -> NodeReport:
        path = f"enc.layer.{index}"
        return call("Layer", path, call("Linear", f"{path}.fc", **given), call("gelu", path))

    def test_equal_calls_in_a_row_are_shown_once(self) -> None:
        layers = [self.layer(i) for i in range(12)]
        assert tree_of(call("Net", "", call("Encoder", "enc", *layers), call("g"))) == [
            "▾ Net",
            "├ ▾ enc: Encoder",
            "│ ├ ▾ layer.0: Layer",
            "│ │ ├ ✓ fc: Linear",
            "│ │ └ ✓ gelu",
            "│ └ ≡ 11 more: layer.1 … layer.11",
            "└ ✓ g",
        ]

    def test_one_that_differs_is_shown_however_deep_the_difference(self) -> None:
        layers = [self.layer(i) for i in range(9)]
        layers[4] = self.layer(4, status=Status.IMPRECISE, own=off_by(1.0))
        text = "\n".join(tree_of(call("Encoder", "enc", *layers)))
        assert [int(i) for i in re.findall(r"[├└] . layer\.(\d): Layer", text)] == [0, 4, 5]
        assert "3 more: layer.1 … layer.3" in text
        assert "3 more: layer.6 … layer.8" in text

    @pytest.mark.parametrize("given", [{"reused": True}, {"transposed": 1}, {"outputs": ("int64[3]",)}])
    def test_what_looks_otherwise_is_not_equal(self, given: dict[str, Any]) -> None:
        lines = tree_of(call("a", "1"), call("a", "2", **given), call("a", "3"))
        assert len(lines) == 3

    def test_constants_are_folded_whatever_computed_them(self) -> None:
        constants = [call(name, constant=True, outputs=(name,)) for name in ("zeros", "arange", "add", "mul")]
        lines = tree_of(call("Net", "", *constants, call("g")))
        assert lines == ["▾ Net", "├ · zeros  constant  zeros", "├ ≡ 3 more constant", "└ ✓ g"]

    def test_two_are_not_folded(self) -> None:
        assert tree_of(call("a"), call("a")) == ["✓ a", "✓ a"]

    def test_errors_are_never_folded(self) -> None:
        bad = call("a", status=Status.NO_CONVERTER)
        assert len(tree_of(bad, bad, bad, detail=TraceLevel.NEVER)) == 3

    def test_everything_is_shown_when_all_is_asked_for(self) -> None:
        layers = [self.layer(i) for i in range(4)]
        text = "\n".join(tree_of(call("Encoder", "enc", *layers), detail=TraceLevel.ALWAYS))
        assert text.count(": Layer") == 4


class TestDetail:
    inside = call("conv2d", "conv", status=Status.INSIDE, direct=False, line=30)
    conv = call("Conv2d", "conv", inside, direct=True, line=20, defined='File "conv.py", line 2')
    bad = call("sin", status=Status.IMPRECISE, own=off_by(1.0), line=40, converted='File "c.py", line 3')
    net = call("Net", "", conv, bad, status=Status.IMPRECISE, line=10)

    def source_lines(self, detail: TraceLevel) -> list[str]:
        lines = tree_of(self.net, detail=detail)
        return [line.lstrip("│ ") for line in lines if "File " in line]

    def test_default_names_the_lines_of_what_went_wrong_and_not_of_what_holds_it(self) -> None:
        assert self.source_lines(TraceLevel.DEFAULT) == ['I File "net.py", line 40', 'C File "c.py", line 3']

    def test_never(self) -> None:
        assert self.source_lines(TraceLevel.NEVER) == []

    def test_always(self) -> None:
        lines = self.source_lines(TraceLevel.ALWAYS)
        assert 'I File "net.py", line 10' in lines
        assert 'D File "conv.py", line 2' in lines
        assert 'I File "net.py", line 30' in lines, "what lies inside a converted call is shown too"

    def test_what_lies_inside_a_converted_call_is_left_out_by_default(self) -> None:
        assert not any("conv2d" in line for line in tree_of(self.net))

    def test_a_missing_converter_is_not_blamed_on_the_module_around_it(self) -> None:
        gap = call("erf", status=Status.NO_CONVERTER, line=5)
        lines = tree_of(call("Net", "", gap, call("g"), status=Status.NO_CONVERTER))
        assert lines == ["▾ Net", "├ ? erf  (no converter)", '│   I File "net.py", line 5', "└ ✓ g"]


class TestLayout:
    @staticmethod
    def deep(depth: int, **given: Any) -> NodeReport:
        node = call("conv", "p", outputs=("float32[1,16,112,112] TENSORFLOW",), **given)
        for _ in range(depth):
            node = call("AVeryLongModuleNameThatGoesOnAndOn", "p", node, call("relu", "p"))
        return node

    @pytest.mark.parametrize("width", [40, 60, 80, 120])
    @pytest.mark.parametrize("depth", [1, 5, 40])
    def test_no_line_is_wider_than_the_terminal(self, width: int, depth: int) -> None:
        bad = self.deep(depth, status=Status.IMPRECISE, own=off_by(1.0), message="some words " * 30)
        text = render_text(report(bad, outputs=(off_by(1.0),), stages={"trace": 1.0}), width=width)
        for line in text.splitlines():
            assert cell_len(line) <= width or 'File "' in line, line

    def test_a_long_name_is_shortened_in_its_middle(self) -> None:
        (line,) = tree_of(call("abcdefghijklmnopqrstuvwxyz0123456789", status=Status.DONE), width=22)
        assert line == "✓ abcdefghij…123456789"
        assert cell_len(line) == 22

    def test_wide_characters_count_as_two_columns(self) -> None:
        (line,) = tree_of(call("模块模块模块模块模块模块模块"), width=21)
        assert cell_len(line) <= 21
        assert line.startswith("✓ 模块")
        assert line.endswith("模块")

    def test_a_source_line_is_never_cut(self) -> None:
        place = f'File "/{"very/" * 30}long.py", line 3'
        text = render_text(report(call("f", status=Status.FAILED, converted=place)), width=60)
        assert place in text

    def test_no_line_ends_in_blanks(self) -> None:
        text = render_text(report(self.deep(3)), width=80)
        assert not re.search(r"[ \t]$", text, re.MULTILINE)


class TestAround:
    def test_the_legend_explains_the_marks_that_occur_and_no_others(self) -> None:
        fine = render_text(report(call("relu"))).splitlines()
        assert fine[0] == "✓ converted"
        gap = call("Net", "", call("f", status=Status.NO_CONVERTER), call("g", transposed=1))
        legend = render_text(report(gap)).split("\n\n")[0]
        for meaning in (
            "no converter",
            "opened into the calls below",
            "transposed before it",
            "where invoked",
        ):
            assert meaning in legend
        assert "imprecise" not in legend

    def test_the_summary(self) -> None:
        bad = call("sin", "b.act", status=Status.IMPRECISE, own=off_by(0.5), accumulated=off_by(0.5), line=12)
        late = call("torch.add", "", accumulated=off_by(1.0))
        text = render_text(
            report(
                call("Net", "", call("Block", "b", bad, late)),
                outputs=(off_by(0.0), off_by(1.0)),
                transpositions=1,
                stages={"trace": 0.3, "build": 1.5},
                warnings=("bool(tensor) fixes a branch",),
            ),
            width=100,
        )
        assert text.split("\n\n")[2].splitlines() == [
            "≈ Net: 2 calls converted, 1 of them imprecise, 1 transposition",
            "  outputs   2 of 2: Values differ in 1 of 1 element, worst at (0,): expected 2, got 3, off by",
            "            1.0e+00 (50.0% of the peak 2); allowed 1.0e-01: max abs 1.0e-01 (this test).",
            "  first bad b.act: sin",
            '            File "net.py", line 12',
            "  worst     b: torch.add, max diff 1.0e+00, 50.0%",
            "  time      1.8 s: trace 0.3 s, build 1.5 s",
            "  warning   bool(tensor) fixes a branch",
        ]

    @pytest.mark.parametrize(
        ("node", "mark"),
        [
            (call("f"), "✓"),
            (call("f", status=Status.FAILED), "✗"),
            (call("f", status=Status.NO_CONVERTER), "✗"),
        ],
    )
    def test_the_verdict_has_a_mark(self, node: NodeReport, mark: str) -> None:
        assert f"{mark} Net: " in render_text(report(node))

    def test_a_model_without_calls(self) -> None:
        assert render_text(report()) == "✓ Net: 0 calls converted, no transpositions\n"
