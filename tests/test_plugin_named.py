"""The plugin: models that the command line names, each with its inputs, in a file too, and the ids that it prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.fake_project import INI, ids

CASES = [f"{order}-{order}-static-{runtime}" for order in ("nchw", "nhwc") for runtime in ("keras", "tflite")]
NETS = """
    from fake_backend import Broken, Net

    class Other(Net):
        @staticmethod
        def made():
            return Other()

        @classmethod
        def small(cls):
            return cls()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, no_worker: None) -> pytest.Pytester:
    """A project with the models of the fake backend."""
    pytester.makepyfile(fake_backend=(Path(__file__).parent / "fake_backend.py").read_text(), nets=NETS)
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def converted(result: pytest.RunResult) -> set[tuple[str, str]]:
    """Which model was converted with which inputs."""
    words = [line.partition("CONVERTED ")[2].split(" ", 3) for line in result.outlines if "CONVERTED" in line]
    return {(name, inputs) for name, _, _, inputs in words}


def run(project: pytest.Pytester, command: str, *options: str) -> pytest.RunResult:
    words = [word.replace("-m=", "--nobuco-model=").replace("-i=", "--nobuco-input=") for word in shlex.split(command)]
    return project.runpytest(*words, *options)


# --- inputs


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("-m=nets.Net -i=1,3 -m=nets.Other -i=1,4 -i=2", {("Net", "['1,3']"), ("Other", "['1,4', '2']")}),
        ("-m=nets.Net -m=nets.Other -i=1,4", {("Net", "['1,4']"), ("Other", "['1,4']")}),
        ("-i=1,5 -m=nets.Net -i=1,3 -m=nets.Other", {("Net", "['1,3']"), ("Other", "['1,5']")}),
        ("-m=nets.Net -i=1,3 -m=nets.Other", {("Net", "['1,3']"), ("Other", "[]")}),
        ("-m=nets.Net -i=1,3 -m=nets.Net -i=1,4", {("Net", "['1,3']"), ("Net", "['1,4']")}),
    ],
)
def test_each_model_has_the_inputs_that_follow_it(project, command, expected):
    result = run(project, command, "-s", "--nobuco-runtime=keras", "--nobuco-order=nhwc")
    assert converted(result) == expected
    assert result.ret == 0


def test_a_model_at_several_sizes_has_several_rows(project):
    result = run(project, "-m=nets.Net -i=1,3 -m=nets.Net -i=1,4", "-v")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(
        ["nobuco::Net#1[[]nchw-*", "nobuco::Net#2[[]nchw-*", "✓ nets.Net#1 *", "✓ nets.Net#2 *"]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1x=1,3", "'1x' is no keyword"),
        ("=1,3", "'' is no keyword"),
        ("ids=x=1,3", "'ids=x' is no keyword"),
    ],
)
def test_a_name_that_is_no_keyword(project, text, message):
    result = run(project, "-m=nets.Net", f"--nobuco-input={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])


def test_inputs_of_no_model(project):
    result = run(project, "-i=1,3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nobuco-input 1,3: an input of which model? Give --nobuco-model*"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("-i=a=1,3 -i=a=1,4", "'a' was given twice: a=1,4"),
        ("-i=a=1,3 -i=a.b=1,4", "'a' is a tensor already, so a.b=1,4 cannot be in it"),
    ],
)
def test_two_inputs_of_one_name(project, inputs, message):
    result = run(project, f"-m=nets.Net {inputs}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --nobuco-model: nets.Net: {message}"])


@pytest.mark.full
def test_real_models_with_keyword_and_dict_inputs(pytester):
    pytester.makepyfile(
        nets="""
        from torch import nn

        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(1000, 4)

        class Keywords(Base):
            def forward(self, ids, *, mask):
                return self.embedding(ids) * mask[..., None]

        class Dict(Base):
            def forward(self, x, batch):
                return self.embedding(batch["ids"]) * batch["more"]["mask"][..., None] + x

            @classmethod
            def made(cls):
                return cls()
        """
    )
    words = ["--nobuco-model", "nets.Keywords", "--nobuco-input", "ids=2,7?:int64:900:1000"]
    words += ["--nobuco-input", "mask=2,7?", "--nobuco-model", "nets:Dict.made", "--nobuco-input", "4"]
    words += ["--nobuco-input", "batch.ids=2,7:int64:0:1000", "--nobuco-input", "batch.more.mask=2,7"]
    result = pytester.runpytest_subprocess(*words, "--nobuco-quick", "-rA")
    assert "failed" not in result.stdout.lines[-1], result.stdout.str()
    result.stdout.fnmatch_lines_random(["PASSED nobuco::Keywords*static-tflite]", "PASSED nobuco::made*tflite]"])


# --- factories


@pytest.mark.parametrize("name", ["nets.Other.made", "nets:Other.made", "nets.Other.small", "nets:Other.small"])
def test_static_and_class_methods_are_factories(project, name):
    result = run(project, f"-m={name}", "-s")
    result.assert_outcomes(passed=4)
    assert converted(result) == {("Other", "[]")}


def test_marked_methods_are_factories(project):
    project.makepyfile(
        test_nets="""
        import pytest
        from fake_backend import Net

        class TestNets:
            @pytest.mark.convert
            @staticmethod
            def one():
                return Net()

            @staticmethod
            @pytest.mark.convert
            def two():
                return Net()

            @classmethod
            @pytest.mark.convert
            def three(cls):
                assert cls is TestNets
                return Net()
        """
    )
    project.runpytest("-v").assert_outcomes(passed=12)


# --- files

TEXT = """\
# a hub
nets.Net 1,3,8,8 --order nhwc --runtime keras  # the first
nets.Broken --max-abs-diff 1 --order nhwc --runtime keras
nets.Broken 1,4 --xfail 'a gap' --order nhwc --runtime keras

nets.Other ids=1,5:int64 --order nhwc --runtime keras --dynamic none --trace-shape
"""
YAML = """\
- {model: nets.Net, inputs: ["1,3,8,8"], orders: [nhwc], runtimes: [keras]}
- model: nets.Broken
  max_abs_diff: 1e0
  orders: [nhwc]
  runtimes: [keras]
- nets.Broken 1,4 --xfail 'a gap' --order nhwc --runtime keras
- {model: nets.Other, inputs: {ids: "1,5:int64"}, orders: [nhwc], runtimes: [keras], dynamic: none, trace_shape: true}
"""
IDS = [f"nobuco::{name}[nhwc-nhwc-static-keras]" for name in ("Net", "Broken#1", "Broken#2", "Other")]


@pytest.mark.parametrize(("name", "text"), [("hub.txt", TEXT), ("hub.yaml", YAML)])
def test_a_file_of_models(project, name, text):
    (project.path / name).write_text(text)
    assert ids(project.runpytest("--nobuco-models", name, "--collect-only", "-q")) == IDS
    result = project.runpytest("--nobuco-models", name, "-s")
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines_random(
        ["*CONVERTED Other -nhwc () [[]'ids=1,5:int64'] {'trace_shape': True}*", "✓ nets.Broken#1 *5.0e-01*"]
    )
    project.runpytest_subprocess("--nobuco-models", name, "-n2").assert_outcomes(passed=3, xfailed=1)


def test_inputs_for_the_lines_that_have_none(project):
    (project.path / "hub.txt").write_text("nets.Net 1,3\nnets.Other\n")
    result = project.runpytest("--nobuco-models", "hub.txt", "--nobuco-input", "1,7", "-s")
    assert converted(result) == {("Net", "['1,3']"), ("Other", "['1,7']")}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.txt", None, "--nobuco-models absent.txt: No such file or directory"),
        ("hub.txt", "# nothing", "--nobuco-models hub.txt: there is no model in it"),
        ("hub.txt", "nets.Net 1,x", "hub.txt:1: '1,x': 'x' is no whole number*"),
        ("hub.txt", "nets.Net\nnets.Net --runtme keras", "hub.txt:2: *--runtme*the form is MODEL *--runtime*"),
        ("hub.txt", "nets.Net --max-abs-diff big", "hub.txt:1: *max_abs_diff='big' is no bound*"),
        ("hub.txt", "nets.Net 'a", "hub.txt:1: No closing quotation"),
        ("hub.txt", "nets.Net --order nhcw", "hub.txt:1: nets.Net: orders: unknown order 'nhcw'*"),
        ("hub.txt", "nets.Net --runtime onnx", "hub.txt:1: nets.Net: runtimes: unknown runtime 'onnx'*"),
        ("hub.yaml", "- model: nets.Net\n  ordrs: [nhwc]", "hub.yaml:entry 1: nets.Net: *no argument 'ordrs'*"),
        ("hub.yaml", "model: nets.Net", "--nobuco-models hub.yaml: give a list*"),
        ("hub.yaml", "- 3", "hub.yaml:entry 1: 3 names no model*"),
        ("hub.yaml", "- [", "--nobuco-models hub.yaml: while parsing*"),
        ("hub.yaml", "- model: nets.Net\n  min_snr: true", "hub.yaml:entry 1: min_snr=True is no bound*"),
    ],
)
def test_a_wrong_file_is_told_before_anything_runs(project, name, text, message):
    if text is not None:
        (project.path / name).write_text(text)
    result = project.runpytest("--nobuco-models", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


# --- ids


@pytest.mark.parametrize(
    ("ids_", "count"),
    [
        (["nobuco::Net[nhwc-nhwc-static-keras]"], 1),
        (["nobuco::nets.Net[nhwc-nhwc-static-keras]"], 1),
        (["nobuco::Net"], 4),
        (["nobuco::Net[nhwc-nhwc-static-keras]", "nobuco::Other"], 5),
        (["nobuco::Net[nhwc-nhwc-static-keras]", "test_own.py"], 2),
        (["nobuco::Net[nhwc-nhwc-static-keras]", "-n2"], 1),
    ],
)
def test_printed_ids_run(project, ids_, count):
    project.makepyfile(test_own="def test_own(): pass")
    (project.path / "nobuco").mkdir()  # a folder of that name changes nothing
    result = project.runpytest_subprocess("--nobuco-model", "nets.Net", "--nobuco-model", "nets.Other", *ids_)
    result.assert_outcomes(passed=count)


def test_the_commands_of_failures_run(project):
    (project.path / "hub.txt").write_text("nets.Net\nnets.Broken 1,4 --runtime tflite_int8 --order nhwc\n")
    for words in (["--nobuco-models", "hub.txt"], ["--nobuco-model", "nets.Broken", "--nobuco-input", "a=1,3"]):
        result = project.runpytest(*words, "-x")
        (line,) = {line for line in result.outlines if line.startswith("  reproduce: pytest ")}
        project.runpytest(*shlex.split(line)[2:]).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobuco::Net"], "nobuco::Net: to run it say what it is: --nobuco-model NAME*"),
        (["--nobuco-model=nets.Net", "nobuco::Nett"], "nobuco::Nett: there is no such item; did you mean 'Net'?"),
        (
            ["--nobuco-model=nets.Net", "nobuco::Net[nhwc-nhwc-static-kera]"],
            "nobuco::Net[[]nhwc-nhwc-static-kera]: * did you mean 'nobuco::Net[[]nhwc-nhwc-static-keras]'?",
        ),
    ],
)
def test_an_id_of_nothing(project, words, message):
    result = project.runpytest(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
