"""The plugin: every way in, what is collected, which bound holds, what a failure says.

The logic is tested with a backend without frameworks, in this process; what needs PyTorch and TensorFlow runs
in subprocesses, and there are few of those since each takes seconds to start.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from nobuco.subject.inputs import InputSpec, parse_input, read_inputs
from nobuco.subject.resolve import resolve
from tests.fake_project import FOUR, WHOLE, fake_project, ids


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return fake_project(pytester)


# --- the model option


@pytest.mark.parametrize("name", ["nets.Net", "nets:Net", "nets.factory", "nets.instance", "nets:Scope.Inner"])
def test_model_is_a_class_a_factory_or_an_instance(project, name):
    result = project.runpytest("--nobuco-model", name, "-v")
    result.assert_outcomes(passed=4)
    last = name.replace(":", ".").rpartition(".")[2]
    result.stdout.fnmatch_lines([f"nobuco::{last}[[]{case}] PASSED*" for case in FOUR])


def test_only_the_models_run_without_a_path(project):
    project.makepyfile(test_own="def test_own(): pass")
    project.runpytest("--nobuco-model", "nets.Net").assert_outcomes(passed=4)
    project.runpytest("--nobuco-model", "nets.Net", "test_own.py").assert_outcomes(passed=5)
    project.runpytest().assert_outcomes(passed=1)


def test_several_models_with_one_name_are_told_apart(project):
    project.makepyfile(others="from nets import Net")
    models = ["--nobuco-model", "nets.Net", "--nobuco-model", "others.Net", "--nobuco-model", "nets.factory"]
    found = ids(project.runpytest(*models, "--collect-only", "-q"))
    names = ["nets.Net", "others.Net", "factory"]
    assert found == [f"nobuco::{name}[{case}]" for name in names for case in FOUR]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.Net", "there is no module 'nowhere'*installed*"),
        ("nets.Nett", "nets has no 'Nett'. Did you mean 'Net'?"),
        ("nets:Scope.Iner", "Scope has no 'Iner'. Did you mean 'Inner'?"),
        ("bad_import.Net", "*importing bad_import failed: RuntimeError: not today"),
        ("bad_dependency.Net", "*importing bad_dependency failed: No module named 'no_such_dependency'"),
    ],
)
def test_wrong_name_is_an_error_that_says_why(project, name, message):
    project.makepyfile(bad_import="raise RuntimeError('not today')", bad_dependency="import no_such_dependency")
    result = project.runpytest("--nobuco-model", name, "-k", "nhwc-nhwc-static-keras")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --nobuco-model: {name}: {message}"])
    result = project.runpytest("--nobuco-model", name, "--nobuco-model", "nets.Net", "-k", "nhwc-nhwc-static-keras")
    result.assert_outcomes(errors=1, passed=1, deselected=6)
    result.stdout.fnmatch_lines([f"*--nobuco-model: {name}: {message}"])


def test_what_is_no_model_fails(project):
    models = ["--nobuco-model", "nets.no_model", "--nobuco-model", "nets.Net"]
    result = project.runpytest(*models, "-k", "nhwc-nhwc-static-keras")
    result.assert_outcomes(failed=1, passed=1, deselected=6)
    result.stdout.fnmatch_lines(["no_model[[]nhwc-nhwc-static-keras]: expected a model, got 3"])


def test_inputs_reach_the_model(project):
    inputs = ["--nobuco-input", "1,3,8,8", "--nobuco-input", "1,16:int64:0:9"]
    result = project.runpytest("--nobuco-model", "nets.Net", *inputs, "-s")
    result.stdout.fnmatch_lines(["*CONVERTED Net nhwc-nhwc () [[]'1,3,8,8', '1,16:int64:0:9']*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,3,x", "'x' is no whole number"),
        ("1,3:float12", "unknown dtype 'float12'"),
        ("1,3:int64:5:5", "LOW below HIGH"),
        ("1,3:float32:0:5", "needs an integer dtype"),
        ("1,3:int64:5", "is not of the form"),
        ("1,-3", "never negative"),
    ],
)
def test_wrong_input_is_a_usage_error(project, text, message):
    result = project.runpytest("--nobuco-model", "nets.Net", "--nobuco-input", text)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--nobuco-input*{message}*"])


@pytest.mark.parametrize(
    ("line", "arguments", "message"),
    [
        ("", ["--nobuco-runtime=onnx"], "*: --nobuco-runtime: unknown runtime 'onnx'; there are keras, *"),
        ("nobuco_runtimes = onnx", [], "*: ini key nobuco_runtimes: unknown runtime 'onnx'; there are keras, *"),
        ("nobuco_orders = nhcw", [], "ini key nobuco_orders: unknown order 'nhcw'; there are nchw, *"),
        ("nobuco_dynamic = XY", [], "ini key nobuco_dynamic: 'XY' names no axes; give *"),
        ("nobuco_quick = maybe", [], "ini key nobuco_quick: *'maybe'; give true or false"),
        ("nobuco_min_snr = high", [], "ini key nobuco_min_snr: *'high'; give a number from 0 up, e.g. 1e-4"),
        ("nobuco_pythons = x", [], "ini key nobuco_pythons: x: give NAME=PYTHON, *"),
        ("nobuco_xfails = absent", [], "ini key nobuco_xfails: *absent: No such file or directory"),
        ("nobuco_backend = onnx2tf", [], "ini key nobuco_backend: 'onnx2tf' is no backend; give addopts = *"),
    ],
)
def test_an_unknown_value_is_told_with_its_place_and_what_to_give(project, line, arguments, message):
    fake = "" if "backend" in line else "nobuco_backend = fake_backend:FakeBackend\n"
    project.makeini(f"[pytest]\n{fake}{line}\n")
    result = project.runpytest("--nobuco-model", "nets.Net", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.parametrize("option", ["order", "model", "input", "max-abs-diff", "runtime", "xfails", "seed"])
def test_dashes_in_place_of_a_value(project, option):
    result = project.runpytest("--nobuco-model", "nets.Net", f"--nobuco-{option}=--")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stderr.str()
    result.stderr.fnmatch_lines([f"*--nobuco-{option}*"])


# --- the session


def test_each_graph_is_converted_once(project):
    result = project.runpytest("--nobuco-model", "nets.Net", "--nobuco-model", "nets.factory", "-s")
    assert result.stdout.str().count("CONVERTED") == 4
    result.stdout.fnmatch_lines(["4 conversions for 8 items"])


def test_xdist_converts_each_graph_once(project):
    project.makeini(WHOLE)
    models = ["--nobuco-model", "nets.Net", "--nobuco-model", "nets.factory"]
    result = project.runpytest_subprocess(*models, "-n2")
    result.assert_outcomes(passed=64)
    result.stdout.fnmatch_lines(["16 conversions for 64 items"])


def test_the_summary_has_a_line_for_each_model(project):
    models = [f"nets.{name}" for name in ("Net", "Broken", "Nan", "nothing")]
    result = project.runpytest(*[word for name in models for word in ("--nobuco-model", name)])
    result.stdout.fnmatch_lines_random(
        [
            "✓ nets.Net * 4 of 4 match *0 *",
            "✗ nets.Broken * 0 of 4 match *5.0e-01 *nchw-nchw-static-keras",
            "✗ nets.Nan * 0 of 4 match *",
            "✗ nets.nothing * 0 of 4 match *",
        ]
    )


def test_other_peoples_tests_get_no_summary(project):
    project.makepyfile(test_own="def test_own(): pass")
    project.runpytest().stdout.no_fnmatch_line("*nobuco*conversion*")


def test_keyword_marker_and_last_failed_select(project):
    project.makepyfile(test_own="def test_own(): pass\ndef test_bad(): assert 0")
    models = ["--nobuco-model", "nets.Net", "--nobuco-model", "nets.Broken"]
    project.runpytest(*models, "-k", "Broken and tflite").assert_outcomes(failed=2, deselected=6)
    project.runpytest(*models, "-m", "convert").assert_outcomes(passed=4, failed=4)
    project.runpytest(*models, ".").assert_outcomes(passed=5, failed=5)
    project.runpytest(*models, ".", "--lf").assert_outcomes(failed=5, deselected=4)


@pytest.mark.parametrize("flags", [(), ("-n1",)])
def test_copies_of_a_process_are_refused(project, flags):
    project.makeconftest("def pytest_addoption(parser): parser.addoption('--forked', action='store_true')")
    result = project.runpytest("--nobuco-model", "nets.Net", "--forked", *flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --forked: *; --nobuco-isolate runs each model in a process of its own"])


def test_figures_reach_junit(project):
    project.runpytest("--nobuco-model", "nets.Broken", "--junitxml", "out.xml")
    text = (project.path / "out.xml").read_text()
    assert 'name="nobuco_max_abs_diff" value="0.5"' in text
    assert 'name="Broken[nhwc-nhwc-static-tflite]"' in text


@pytest.mark.parametrize("flags", [("-n2",), ("-p", "no:benchmark"), ("-p", "no:xdist"), ("-p", "no:cacheprovider")])
def test_with_and_without_other_plugins(project, flags):
    project.makepyfile(test_own="def test_own(): pass")
    models = ["--nobuco-model", "nets.Net", "--nobuco-model", "nets.Broken"]
    result = project.runpytest_subprocess(*models, *flags)
    result.assert_outcomes(passed=4, failed=4)
    result.stdout.fnmatch_lines(["✗ nets.Broken* 0 of 4 match*"])


def test_collecting_imports_neither_framework(pytester):
    pytester.makepyfile(
        nets="import torch",
        run="""
            import sys
            import pytest

            code = pytest.main(["--collect-only", "--nobuco-model", "nets.Net"])
            heavy = {"torch", "tensorflow", "keras", "numpy"} & set(sys.modules)
            sys.exit(f"imported {heavy}" if heavy else code)
        """,
    )
    done = subprocess.run([sys.executable, "run.py"], cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "32 tests collected" in done.stdout


# --- inputs


@pytest.mark.parametrize("text", ["1,3,224,224", "1,16:int64", "1,16:int64:0:1000", "4:bool", "2,2:bfloat16"])
def test_input_is_written_as_it_is_read(text):
    assert str(parse_input(text)) == text


def test_inputs_of_a_marker():
    image = InputSpec((1, 3, 8, 8))
    tokens = InputSpec((1, 16), "int64")
    assert read_inputs((1, 3, 8, 8)) == (image,)
    assert read_inputs("1,3,8,8") == (image,)
    assert read_inputs([(1, 3, 8, 8), "1,16:int64"]) == (image, tokens)
    tensor = object()
    assert read_inputs(tensor) == (tensor,)
    assert read_inputs([tensor, [tensor, tensor]]) == (tensor, [tensor, tensor])


def test_resolve_takes_submodules_and_attributes():
    assert resolve("os.path.join") is resolve("os.path:join")
