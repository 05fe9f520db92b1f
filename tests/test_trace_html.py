"""The HTML trace: when it is written, what it holds, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.report import Port, Report, Status, render_html, report_to_dict, save_html
from nobuco.report.html.calls import read_graph
from nobuco.report.html.lanes import line_map
from tests.html_page import Page
from tests.reports import call, off_by


class Turned(nn.Module):
    """Its softmax over the last axis of an image is asked for channels first, its convolution needs channels last."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x) + x, x.flatten(1)


def convert(model, **given):
    x = torch.randn(1, 3, 8, 8)
    return nobuco.pytorch_to_keras(model.eval(), args=[x], verbose=False, **given)


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    _, report = convert(Turned(), outputs_channel_order=ChannelOrder.PYTORCH, return_report=True)
    return report


@pytest.fixture
def doubling(restored_registry):
    """A function with a wrong converter; `doubling.converter` can be replaced."""

    @nobuco.traceable
    def double(x):
        return 2 * x

    nobuco.converter(double)(lambda x: lambda x: 2.1 * x)
    return double


class Doubled(nn.Module):
    def __init__(self, double):
        super().__init__()
        self.before, self.double, self.after = nn.Conv2d(3, 4, 3), double, nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.after(self.double(self.before(x)))


class TestData:
    def test_orders_stand_beside_the_tensors_that_have_one(self, report):
        conv = next(node for node in report.walk() if node.path == "stem.0")
        assert conv.inputs[0] == "float32[1, 3, 8, 8] TENSORFLOW"
        assert conv.outputs == ("float32[1, 4, 6, 6] TENSORFLOW",)
        flat = next(node for node in report.walk() if node.name.endswith("flatten"))
        assert flat.outputs == ("float32[1, 144]",)

    def test_what_enters_and_leaves(self, report):
        (source,) = report.sources
        assert (source.name, source.tensor) == ("x", "float32[1, 3, 8, 8] TENSORFLOW")
        assert [port.tensor for port in report.results] == ["float32[1, 4, 6, 6] PYTORCH", "float32[1, 144]"]
        assert [port.turned for port in report.results] == [True, False]
        made = {value for node in report.walk() for value in node.makes}
        assert {port.value for port in report.results} <= made
        assert source.value not in made

    def test_what_the_planner_saw(self, report):
        relu = next(node for node in report.walk() if node.name.endswith("relu") and node.direct)
        last, first = relu.choices
        image = 4 * 4 * 6 * 6
        assert (last.inputs, last.outputs, last.chosen) == (("TENSORFLOW",), ("TENSORFLOW",), True)
        assert (first.inputs, first.outputs, first.chosen) == (("PYTORCH",), ("PYTORCH",), False)
        assert last.moved == report.moved
        # The convolution's output would be turned before it, and its own behind it, once for all that read it.
        assert first.moved == report.moved + 2 * image
        assert next(node for node in report.walk() if node.path == "head").choices[0].chosen

    def test_layer_and_source_lead_back(self, report):
        conv = next(node for node in report.walk() if node.path == "stem.0")
        assert conv.layer == "stem.0"
        assert conv.source == "x = self.stem(x)"

    def test_first_off_is_where_what_adds_up_leaves_its_bound(self):
        creeping = [call("a", accumulated=off_by(0.05)), call("b", own=off_by(0.06), accumulated=off_by(0.11))]
        assert Report("Net", (call("Net", "", *creeping),)).first_off() is creeping[1]
        assert Report("Net", (creeping[0],)).first_off() is None


class TestWriting:
    def test_true_writes_to_the_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        convert(nn.Conv2d(3, 2, 1), save_trace_html=True)
        assert [path.name for path in tmp_path.iterdir()] == ["trace.html"]
        assert "Conv2d matches PyTorch" in (tmp_path / "trace.html").read_text(encoding="utf-8")

    def test_also_where_the_model_differs(self, tmp_path, doubling):
        path = tmp_path / "page.html"
        convert(Doubled(doubling), save_trace_html=path)
        text = path.read_text(encoding="utf-8")
        assert "Doubled differs from PyTorch" in text
        (culprit,) = Page(text).by_class("culprit", "node")
        assert "open" in culprit[1]

    def test_also_where_a_converter_raises_with_the_tree_up_to_there(self, tmp_path, doubling):
        nobuco.converter(doubling, override=True)(lambda x: 1 / 0)
        path = tmp_path / "page.html"
        with pytest.raises(nobuco.ConverterError, match="division by zero") as caught:
            convert(Doubled(doubling), save_trace_html=path)
        statuses = {node.path or node.name.rpartition(".")[2]: node.status for node in caught.value.report.walk()}
        assert (statuses["before"], statuses["double"], statuses["after"]) == (
            *(Status.DONE, Status.FAILED, Status.UNREACHED),
        )
        assert not caught.value.report.ok
        text = path.read_text(encoding="utf-8")
        assert "Doubled could not be converted" in text
        assert "division by zero" in text

    def test_also_where_a_converter_raises_before_anything_is_built(self, doubling):
        manual = nobuco.ChannelOrderingStrategy.MANUAL
        nobuco.converter(doubling, channel_ordering_strategy=manual, override=True)(lambda x: 1 / 0)
        with pytest.raises(nobuco.ConverterError) as caught:
            convert(Doubled(doubling))
        (failed,) = (node for node in caught.value.report.walk() if node.status is Status.FAILED)
        assert failed.name.endswith("double")
        assert "division by zero" in failed.message

    def test_also_where_converters_are_missing(self, tmp_path):
        path = tmp_path / "page.html"
        with pytest.raises(nobuco.ConversionError) as caught:
            convert(Doubled(lambda x: x + torch.linalg.eigvalsh(x)[..., None]), save_trace_html=path, decompose=False)
        (missing,) = (node for node in caught.value.report.walk() if node.status is Status.NO_CONVERTER)
        assert "eigvalsh" in missing.name
        assert "no converter" in path.read_text(encoding="utf-8")

    @pytest.mark.parametrize("given", ["nowhere/page.html", "."])
    def test_a_path_that_cannot_be_written_is_refused_before_anything_runs(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(nobuco.InputError, match="cannot write the HTML trace to"):
            nobuco.pytorch_to_keras(None, save_trace_html=given)

    def test_the_old_page_stays_whole_until_the_new_one_is(self, tmp_path, report, monkeypatch):
        path = tmp_path / "page.html"
        path.write_text("old")
        with pytest.raises(ValueError, match="format"):
            save_html(replace(report, stages={"build": "long"}), path)
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "old")]
        assert save_html(report, path) == path
        assert [file.name for file in tmp_path.iterdir()] == ["page.html"]

    def test_a_page_can_be_made_of_json_later(self, report):
        data = json.loads(json.dumps(report_to_dict(report), allow_nan=False))
        assert render_html(data) == render_html(report)

    def test_an_editor_that_nobody_knows_is_refused(self, report):
        assert 'data-editor="vscode"' in render_html(report, editor="vscode")
        with pytest.raises(nobuco.InputError, match="editor is 'ed'; give one of '', 'vscode'"):
            render_html(report, editor="ed")


class TestPage:
    def test_is_well_formed_and_needs_nothing_from_elsewhere(self, report):
        text = render_html(report)
        page = Page(text)
        ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids))
        links = {attrs["href"] for _, attrs, _ in page.elements if "href" in attrs}
        assert links and {link.removeprefix("#") for link in links} <= set(ids)
        assert not [attrs for _, attrs, _ in page.elements if "src" in attrs]
        assert not re.search(r"https?://|@import|url\(", text)

    def test_each_call_is_there_with_all_that_is_known_of_it(self, report):
        page = Page(render_html(report))
        assert len(page.by_class("node")) == len(list(report.walk()))
        text = " ".join(part for part, _ in page.text)
        relu = next(node for node in report.walk() if node.name.endswith("relu") and node.direct)
        for words in (
            *(relu.inputs[0], relu.own.describe(), relu.accumulated.describe(), str(relu.invoked), relu.converted),
            *(" channels last → channels last: chosen", " channels first → channels first: would move 1.15 kB more"),
            *("2 transpositions (1.15 kB a run)", "x = self.stem(x)"),
        ):
            assert words in text, words

    def test_escapes_everything(self):
        evil = "<script>alert('x')</script>\"&\x00"
        node = call(
            evil, evil, status=Status.FAILED, message=evil + "\x1b[1m", outputs=(evil,), source=evil, layer=evil
        )
        ports = (Port(evil, evil, 1),)
        report = Report(evil, (node,), sources=ports, results=ports, warnings=(evil,), error=evil, stages={evil: 1.0})
        text = render_html(report)
        Page(text)
        assert text.count("<script>") == 2
        assert "\x00" not in text and "\x1b" not in text

    def test_of_nothing(self):
        assert "Net matches PyTorch" in render_html(Report("Net", ()))


class TestLineMap:
    """In the maps that follow, a column of letters is a lane: its maker, `|`, its readers."""

    def drawn(self, report):
        found = line_map(read_graph(report_to_dict(report)))
        rows = [[" "] * found.width for _ in found.stops]
        for lane in found.lanes:
            for row in range(lane.made + 1, max(lane.read)):
                rows[row][lane.column] = "|"
        for row, column in enumerate(found.columns):
            stop = found.stops[row]
            sign = stop.call.label[0] if stop.call else stop.port.name[0] if stop.port else "%"
            rows[row][column] = sign
        return ["".join(row).rstrip() for row in rows]

    def test_a_skip_runs_beside_what_it_skips(self):
        nodes = (
            call("a", reads=(0,), makes=(1,), outputs=("float32[1]",)),
            call("b", reads=(1,), makes=(2,), outputs=("float32[1]",)),
            call("c", reads=(2, 1), makes=(3,), outputs=("float32[1]",)),
        )
        report = Report("Net", nodes, sources=(Port("x", "", 0),), results=(Port("y", "", 3),))
        assert self.drawn(report) == ["x", "a", "|b", " c", " y"]

    def test_a_tensor_that_is_transposed_for_two_is_so_once(self):
        image = "float32[1, 2, 3, 4]"
        nodes = (
            call("a", reads=(0,), makes=(1,), turned=(0,), outputs=(f"{image} PYTORCH",)),
            call("b", reads=(0,), makes=(2,), turned=(0,), outputs=(f"{image} PYTORCH",)),
        )
        ends = (Port("y", "", 1), Port("z", "", 2, turned=True))
        report = Report("Net", nodes, sources=(Port("x", f"{image} TENSORFLOW", 0),), results=ends)
        graph = line_map(read_graph(report_to_dict(report)))
        assert [stop.tensor for stop in graph.stops if not stop.call and not stop.port] == [
            *(f"{image} PYTORCH", f"{image} TENSORFLOW"),
        ]
        assert self.drawn(report) == ["x", "%", "|a", "b|", "|y", "%", "z"]

    def test_what_is_no_part_of_the_model_has_no_row(self):
        inner = call("inside", status=Status.INSIDE)
        nodes = (call("a", "", inner, direct=True), call("b", constant=True), call("c", "", call("d")))
        graph = line_map(
            read_graph(
                report_to_dict(Report("Net", nodes)),
            )
        )
        assert [stop.call.label for stop in graph.stops] == ["a", "d"]
