"""The plugin's reports: what is gathered from the workers, and what each form of a report tells."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nobuco.report.html.calls import ancestors, read_graph
from pytest_nobuco.report.as_json import to_json
from pytest_nobuco.report.as_markdown import to_markdown
from pytest_nobuco.report.data import SuiteReport, rows_of
from pytest_nobuco.report.verdict import verdict
from pytest_nobuco.results import OutputResult
from pytest_nobuco.summary import summarize
from tests.report_fixture import conversion_graph, conversion_report, full_report, matrix, model_cell

INI = "[pytest]\naddopts = -p no:hypothesispytest\nnobuco_backend = fake_backend:FakeBackend\n"
MODELS = [word for name in ("Net", "Broken", "Nan") for word in ("--nobuco-model", f"nets.{name}")]
CASE = ("nhwc", "nhwc", "static", "tflite")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the models of the fake backend, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    fake = (Path(__file__).parent / "fake_backend.py").read_text()
    pytester.makepyfile(fake_backend=fake, nets="from fake_backend import Broken, Nan, Net, NoKeras")
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


@pytest.fixture
def conversion():
    return conversion_report()


@pytest.fixture
def graph():
    return conversion_graph()


# --- the data


def test_rows_are_worst_first():
    fine, wrong = matrix("Fine", 1e-6), matrix("Wrong", 0.5, wrong=True)
    broken, worse = matrix("Nan", math.nan), matrix("Worse", 2.0, wrong=True)
    skipped = [replace(cell, model="Skipped", outcome="skipped") for cell in fine]
    unset = [replace(cell, model="Unset", outcome="error", outputs=()) for cell in fine]
    rows = rows_of([*fine, *skipped, *wrong, *broken, *worse, *unset, *matrix("Coarse", 1e-5)])
    assert [row.model for row in rows] == ["Nan", "Unset", "Worse", "Wrong", "Coarse", "Fine", "Skipped"]


@pytest.mark.parametrize(
    ("outputs", "outcome", "figure"),
    [
        ([(1.5e-3, "")], "failed", "1.5e-03"),
        ([(0.0, ""), (1.5e-3, "")], "failed", "1.5e-03"),
        ([(0.0, "")], "passed", "0"),
        ([(None, "NaN in 1 element where 0 expected")], "failed", "NaN"),
        ([(None, "Shape is (1, 2), expected (2, 1). Dtype is int32, expected int64.")], "failed", "shape+dtype"),
        ([(None, "something new"), (0.0, "")], "failed", "failed"),
        ([(math.inf, "")], "failed", "failed"),
        ([], "error", "error"),
        ([], "skipped", "skipped"),
        ([], "passed", ""),
    ],
)
def test_the_figure_of_a_cell(outputs, outcome, figure):
    found = tuple(OutputResult(number, number, False, text) for number, text in outputs)
    assert replace(model_cell("Net", CASE, 0.0), outputs=found, outcome=outcome).figure == figure


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ("pp", "✓ 2 models match PyTorch in 2 of 2 forms; the furthest is m0 in *"),
        ("p", "✓ 1 model matches PyTorch in 1 of 1 form; *"),
        ("ps", "✓ 2 models match PyTorch in 1 of 2 forms; * 1 form was skipped."),
        ("fp", "✗ 1 of 2 models fails, in 1 of 2 forms; the worst is m0 in nhwc-nhwc-static-tflite (1.0e-01)."),
        ("ffx", "✗ 2 of 3 models fail, in 2 of 3 forms; * 1 known gap."),
        ("ss", "– Nothing matches, though nothing fails. 2 forms were skipped."),
        ("xx", "– Nothing matches, though nothing fails. 2 known gaps."),
        ("", "– No model ran, so there is nothing to say of parity."),
    ],
)
def test_the_verdict(outcomes, words):
    names = {"p": "passed", "f": "failed", "s": "skipped", "x": "xfailed"}
    cells = [replace(model_cell(f"m{i}", CASE, 0.1), outcome=names[letter]) for i, letter in enumerate(outcomes)]
    said = " ".join(verdict(SuiteReport(rows_of(cells))))
    assert re.fullmatch(re.escape(words).replace(r"\*", ".*"), said), said


def test_an_interrupted_session_is_no_success():
    mark, words = verdict(SuiteReport(rows_of([model_cell("m", CASE, 0.0)]), complete=False))
    assert mark == "–"
    assert words.endswith("The session was interrupted, so this is not all of it.")


# --- the conversion's graph


def test_culprit_and_worst_are_those_of_the_conversions_own_report(conversion, graph):
    read = read_graph(graph)
    assert conversion.first_bad().name.endswith("scale")
    assert read.culprit.label == "scale"
    assert read.worst.accumulated.max_abs == conversion.worst_node().accumulated.max_abs
    measured = [node for node in conversion.in_order() if node.accumulated is not None]
    assert [call.accumulated.of_peak for call in read.measured] == [n.accumulated.relative_to_peak for n in measured]


def test_what_lies_inside_a_converted_call_is_left_out(conversion, graph):
    calls = [call for top in read_graph(graph).calls for call in top.walk()]
    assert {node.status.name for node in conversion.walk()} >= {"INSIDE", "DONE", "IMPRECISE"}
    assert "INSIDE" not in {call.status for call in calls}
    assert [call.label for call in calls][:3] == ["Wrong", "stem: Block", "0: Conv2d"]


def test_ancestors_of_a_call(graph):
    read = read_graph(graph)
    conv = read.calls[0].children[0].children[0]
    assert [call.label for call in ancestors(read.calls, conv)] == ["Wrong", "stem: Block"]


def test_what_has_no_measure_is_infinitely_wrong():
    nan = {"got": 1, "expected": 0, "differing": 1}
    broken = {"relative_to_peak": 0.0, "max_abs": 0.0, "matches": False, "text": "NaN", "nan": nan}
    far = {"relative_to_peak": "inf", "max_abs": 3.0, "matches": False, "text": "from zeros"}
    fine = {"relative_to_peak": 1e-7, "max_abs": 1e-7, "matches": True, "text": ""}
    nodes = [{"name": name, "accumulated": error} for name, error in (("a", fine), ("b", broken), ("c", far))]
    read = read_graph({"nodes": nodes})
    assert [call.accumulated.of_peak for call in read.measured] == [1e-7, math.inf, math.inf]
    assert read.worst.label == "b"


# --- JSON


def strict(text):
    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_holds_everything_and_only_json(graph):
    report = full_report(graph)
    odd = replace(report.latency[0], extra={"ratio": math.inf, "rest": [math.nan]})
    data = strict(to_json(replace(report, latency=(odd,))))
    assert data["format"] == 1
    assert data["verdict"]["failed"] is True
    rows = [(row["model"], len(row["cases"])) for row in data["models"]]
    assert rows[:2] == [("nets.Nan", 32), ("torch.op_03", 4)]
    assert data["models"][0]["cases"][0]["max_abs"] is None
    assert data["latency"][0]["extra"] == {"ratio": "inf", "rest": ["nan"]}
    assert data["graphs"]["Wrong-nchw-nchw"] == json.loads(json.dumps(graph))


# --- Markdown


def test_markdown_is_verdict_table_and_folded_failures(graph):
    text = to_markdown(full_report(graph))
    lines = text.splitlines()
    assert lines[0].startswith("## ✗ 3 of 5 models and 1 of 40 converters fail, in 69 of 320 forms;")
    table = lines[lines.index("### Models") + 2 :][:7]
    assert {line.count("|") for line in table} == {7}
    assert table[0] == "|  | keras | keras\\_file | savedmodel | tflite | match |"
    assert table[3] == "| ✗ **nets.Fragile** | ✓ 4.0e-05 | ✓ 4.0e-05 | ✓ 4.0e-05 | ✗ 3.1e-03 | 31 of 32 |"
    assert "✓ 38 converters match in every form that ran." in lines
    assert text.count("<details>") == text.count("</details>") == 61
    assert "And 9 more." in lines
    assert "| nets.Fine | TFLite XNNPACK, 1 thread | 3.20 ms |" in text


def test_markdown_cannot_be_broken_by_what_it_shows():
    odd = replace(
        model_cell("a|b<script>*", CASE, 0.5, fails=True), message="```\n</details><b>\n````", case="x|y_<i>", axes={}
    )
    text = to_markdown(SuiteReport(rows_of([odd])))
    assert r"a\|b&lt;script&gt;\*" in text
    assert "<script>" not in text
    assert "\n`````text\n```\n</details><b>\n````\n`````\n" in text


def test_markdown_fits_a_job_summary():
    cells = [replace(cell, message="x" * 100_000) for i in range(30) for cell in matrix(f"Net{i}", math.nan)]
    assert len(to_markdown(SuiteReport(rows_of(cells))).encode()) < 2**20


# --- the terminal


def lines_of(report, verbosity=0, width=80):
    return [line for _, line in summarize(report, verbosity, width)]


def test_terminal_has_a_line_per_model_worst_first_within_the_width(graph):
    lines = lines_of(full_report(graph))
    assert [line.split()[:2] for line in lines[:5]] == [
        ["✗", "nets.Nan"], ["✗", "torch.op_03"], ["✗", "nets.Fragile"], ["✗", "nets.Wrong"], ["~", "torch.op_05"],
    ]  # fmt: skip
    assert "31 of 32 match  3.1e-03  nhwc-nhwc-static-tflite" in lines[2]
    assert lines[-2:] == ["✓ 38 converters match in 152 forms", "52 conversions for 320 items"]
    long = full_report(graph)
    rows = tuple(replace(row, model="package.module." * 9 + row.model) for row in long.rows)
    for width in (60, 80, 120):
        assert max(map(len, lines_of(replace(long, rows=rows), 1, width))) <= width


def test_terminal_with_v_has_every_item_and_its_bound(graph):
    lines = lines_of(full_report(graph), verbosity=1, width=120)
    assert len([line for line in lines if line.startswith("    ")]) == 320
    assert any("✗ nhwc-nhwc-static-tflite      3.1e-03  0.2 s  max abs 1.0e-04 scaled" in line for line in lines)


def test_terminal_section_with_and_without_colour(project):
    # The same process would cache what it found out about the terminal.
    plain = project.runpytest(*MODELS, "--color=no", "--tb=no", "-rN").stdout.str()
    coloured = project.runpytest(*MODELS, "--color=yes", "--tb=no", "-rN").stdout.str()
    section = plain[plain.index("= nobuco =") :]
    assert "\x1b" not in plain
    assert "\x1b[31m✗ nets.Nan" in coloured
    assert "\x1b[32m✓ nets.Net" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert section.splitlines()[1:-1] == bare[bare.index("= nobuco =") :].splitlines()[1:-1]


# --- from items to files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xml", "the suffix says what to write: .json, .html, .md"),
        ("out", "the suffix says what to write: .json, .html, .md"),
        ("nowhere/out.html", "there is no directory *nowhere"),
        ("folder.html", "that is a directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_a_usage_error(project, name, message):
    project.mkdir("folder.html")
    result = project.runpytest(*MODELS, "--nobuco-report", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--nobuco-report {name}: {message}"])
    result.stdout.no_fnmatch_line("*passed*")


@pytest.mark.parametrize("flags", [(), ("-n2",), ("-p", "no:xdist"), ("-p", "no:terminal")])
def test_all_forms_are_written_by_the_controller_alone(project, flags):
    reports = [f"out.{suffix}" for suffix in ("json", "html", "md")]
    options = [word for name in reports for word in ("--nobuco-report", name)]
    result = project.runpytest_subprocess(*MODELS, *options, *flags)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if "no:terminal" not in flags:
        result.stdout.fnmatch_lines([f"report: *{name}" for name in reports])
    assert sorted(path.name for path in project.path.iterdir() if "out." in path.name) == sorted(reports)
    data = strict((project.path / "out.json").read_text(encoding="utf-8"))
    found = {row["model"]: {case["outcome"] for case in row["cases"]} for row in data["models"]}
    assert list(found) == ["nets.Nan", "nets.Broken", "nets.Net"]
    assert found == {"nets.Nan": {"failed"}, "nets.Broken": {"failed"}, "nets.Net": {"passed"}}
    case = data["models"][1]["cases"][0]
    assert case["max_abs"] == 0.5
    assert case["command"].startswith("pytest --nobuco-model nets.Broken")
    assert "output 0: off by 0.5" in case["message"]
    assert set(case["axes"]) == {"inputs", "outputs", "shape", "runtime"}
    assert data["graphs"][case["conversion"]]["model"] == "Broken"
    assert data["environment"]["python"]
    assert "nets.Broken" in (project.path / "out.html").read_text(encoding="utf-8")
    assert "**nets.Broken**" in (project.path / "out.md").read_text(encoding="utf-8")


def test_an_item_that_could_not_be_set_up_or_was_skipped_has_its_row(project):
    project.makepyfile(more="from fake_backend import Net\nabsent = Net(error=-1e-9)")
    models = ["--nobuco-model", "nets.nothing", "--nobuco-model", "more.absent"]
    project.runpytest(*models, "-k", "nhwc-nhwc-static", "--nobuco-report", "out.json")
    data = strict((project.path / "out.json").read_text(encoding="utf-8"))
    nothing, absent = data["models"]
    assert (nothing["model"], absent["model"]) == ("nets.nothing", "more.absent")
    assert {case["outcome"] for case in nothing["cases"]} == {"error"}
    assert "nets has no 'nothing'" in nothing["cases"][0]["message"]
    assert {case["axes"]["runtime"] for case in nothing["cases"]} >= {"keras", "tflite"}
    assert [case["message"] for case in absent["cases"] if case["outcome"] == "skipped"] == ["TFLite needs something"]


def test_a_known_gap_keeps_its_figure_and_its_reason(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Broken

            @pytest.mark.xfail(reason="not yet")
            @pytest.mark.convert(orders=["nhwc"], runtimes=["keras"])
            def net():
                return Broken()
        """
    )
    project.runpytest("--nobuco-report", "out.json")
    data = strict((project.path / "out.json").read_text(encoding="utf-8"))
    for case in data["models"][0]["cases"]:
        assert (case["outcome"], case["message"], case["max_abs"]) == ("xfailed", "not yet", 0.5)


def test_junit_has_scalars_and_no_graph(project):
    project.runpytest(*MODELS, "-k", "nhwc-nhwc-static-tflite", "--junitxml", "out.xml")
    text = (project.path / "out.xml").read_text(encoding="utf-8")
    for name, value in (("max_abs_diff", "0.5"), ("max_abs_diff", "inf"), ("case", CASE and "-".join(CASE))):
        assert f'name="nobuco_{name}" value="{value}"' in text
    assert "graph" not in text
    names = re.findall(r'<property name="(nobuco_\w+)"', text[: text.index("</testcase>")])
    assert len(names) == len(set(names))


def test_a_worker_that_dies_leaves_a_failing_row(project):
    project.makepyfile(deadly="import os\n\ndef net():\n    os._exit(1)\n")
    options = ["--nobuco-model", "deadly.net", "-k", "nhwc-nhwc-static-keras", "--nobuco-report", "out.json"]
    result = project.runpytest_subprocess(*options, "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    data = strict((project.path / "out.json").read_text(encoding="utf-8"))
    assert data["verdict"]["failed"] is True
    assert "crashed" in data["models"][0]["cases"][0]["message"]


def test_an_interrupted_session_is_written_and_says_so(project):
    project.makepyfile(test_own="def test_own(): raise KeyboardInterrupt")
    options = ["--nobuco-model", "nets.Net", "test_own.py", "--nobuco-report", "out.md"]
    project.runpytest(*options, no_reraise_ctrlc=True)
    assert "The session was interrupted" in (project.path / "out.md").read_text(encoding="utf-8")


def test_a_report_that_fails_to_be_written_is_no_success(project):
    project.makepyfile(
        test_own="import pathlib, shutil\ndef test_own(): shutil.rmtree(pathlib.Path(__file__).parent / 'folder')"
    )
    project.mkdir("folder")
    result = project.runpytest("test_own.py", "--nobuco-report", "folder/out.md")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["report not written: *folder*"])


def test_an_old_report_stays_whole_until_the_new_one_is(project):
    (project.path / "out.json").write_text("old")
    project.runpytest(*MODELS, "--collect-only", "--nobuco-report", "out.json")
    assert (project.path / "out.json").read_text() == "old"
    project.makepyfile(test_own="import os\ndef test_own(): assert open('out.json').read() == 'old'")
    project.runpytest(*MODELS, "test_own.py", "--nobuco-report", "out.json").assert_outcomes(passed=33, failed=64)
    assert strict((project.path / "out.json").read_text())["models"]


def test_other_peoples_tests_get_no_section(project):
    project.makepyfile(test_own="def test_own(): pass")
    project.runpytest().stdout.no_fnmatch_line("*= nobuco =*")
