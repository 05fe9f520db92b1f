"""The plugin in its surroundings: ini files of each kind, its absence, colours, what TensorFlow says, the summary."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys

import pytest

from tests.test_plugin_named import project  # noqa: F401  a fixture

TOML = """
[tool.pytest]
addopts = ["-p", "no:hypothesispytest"]
nobuco_backend = "fake_backend:FakeBackend"
nobuco_orders = ["nhwc", "nchw-nhwc"]
nobuco_runtimes = ["keras"]
nobuco_dynamic = "none"
nobuco_max_abs_diff = 0.6
nobuco_max_rel_diff = 1
nobuco_min_snr = 30
nobuco_xfails = ["gaps.txt"]
"""
native = pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="[tool.pytest] came with pytest 9")


@pytest.fixture
def toml(project):  # noqa: F811
    (project.path / "tox.ini").unlink()
    (project.path / "gaps.txt").write_text("Other[*]  # a gap\n")
    return project


@native
def test_native_types_in_toml(toml):
    (toml.path / "pyproject.toml").write_text(TOML)
    models = ["--nobuco-model", "nets.Broken", "--nobuco-model", "nets.Other", "-v"]
    result = toml.runpytest_subprocess(*models)
    result.assert_outcomes(passed=2, failed=2)  # of the known gaps that there are not
    result.stdout.fnmatch_lines(["*Broken[[]nchw-nhwc-static-keras] PASSED*"])
    (toml.path / "pyproject.toml").write_text(TOML.replace("0.6", "1e-2") + "nobuco_quick = true\n")
    result = toml.runpytest_subprocess("--nobuco-model", "nets.Broken", "-k", "Broken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*allowed 0.01 (max_abs_diff of the ini file and max_rel_diff of the ini file).*"])


@native
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('nobuco_max_abs_diff = "1e-3"', "*nobuco_max_abs_diff* expects a float, got str: '1e-3'; give a number *"),
        ("nobuco_max_abs_diff = -1", "*nobuco_max_abs_diff: '-1' is no bound*"),
        ('nobuco_orders = "nhwc"', "*nobuco_orders* expects a list*"),
        ("nobuco_quick = 1", "*nobuco_quick* expects a bool*"),
    ],
)
def test_wrong_types_in_toml_are_told(toml, line, message):
    key = line.partition(" ")[0]
    text = re.sub(rf"^{key} .*\n", "", TOML, flags=re.MULTILINE) + line + "\n"
    (toml.path / "pyproject.toml").write_text(text)
    result = toml.runpytest_subprocess("--nobuco-model", "nets.Net")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()


def test_a_number_in_an_ini_file_that_is_none(project):  # noqa: F811
    project.makeini("[pytest]\nnobuco_max_rel_diff = little")
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: ini key nobuco_max_rel_diff: *'little'*"])


# --- without the plugin

MARKED = """
    import pytest
    from fake_backend import Net

    @pytest.mark.convert
    def test_net():
        return Net()

    @pytest.mark.convert(inputs=["1,3"])
    def net():
        return Net()

    @pytest.mark.convert
    class Marked(Net): ...

    class TestNets:
        @pytest.mark.convert
        @staticmethod
        def net():
            return Net()

    def test_own(): pass
"""


def guarded() -> list[str]:
    """How the guard is loaded: by its entry point, or by name where nobuco was installed before it had one."""
    entry_points = importlib.metadata.entry_points(group="pytest11")
    return [] if "nobuco_guard" in entry_points.names else ["-p", "pytest_nobuco.guard"]


def test_the_guard_is_an_entry_point(pytestconfig):
    text = (pytestconfig.rootpath / "pyproject.toml").read_text()
    assert 'nobuco_guard = "pytest_nobuco.guard"' in text.partition("[project.entry-points.pytest11]")[2]


@pytest.mark.parametrize(
    "options", [[], ["--strict-markers"], pytest.param(["-n2"], marks=pytest.mark.full)], ids=" ".join
)
def test_without_the_plugin_marked_models_fail(project, options):  # noqa: F811
    project.makepyfile(test_nets=MARKED)
    project.makeini("[pytest]\naddopts = -p no:hypothesispytest")
    words = ["-p", "no:nobuco", *guarded(), *options]
    result = project.runpytest_subprocess(*words)
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(["-p no:nobuco turned off the plugin that compares this model with PyTorch*"])
    result = project.runpytest_subprocess(*words, "-m", "not convert")
    assert result.ret == 0 and result.parseoutcomes()["passed"] == 1


def test_with_the_plugin_the_guard_does_nothing(project):  # noqa: F811
    project.makepyfile(test_nets=MARKED)
    project.runpytest_subprocess(*guarded()).assert_outcomes(passed=17)


# --- what is printed


@pytest.mark.full
def test_no_colour(project, monkeypatch):  # noqa: F811
    monkeypatch.setenv("NO_COLOR", "1")
    result = project.runpytest_subprocess("--nobuco-model", "nets.Broken", "-v")
    assert "\x1b" not in result.stdout.str()
    made = project.run(sys.executable, "-m", "nobuco", "coverage", "torch.relu")
    assert "\x1b" not in made.stdout.str()


def test_coverage_goes_by_no_color_on_a_terminal(monkeypatch, capsys):
    from nobuco.cli.main import main

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, has_colour in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", name)
        main(["coverage", "torch.special.zeta"])
        assert ("\x1b" in capsys.readouterr().out) is has_colour


def test_the_summary_counts_what_was_compared(project):  # noqa: F811
    project.makepyfile(
        test_nets="""
        import pytest
        from fake_backend import Net, Broken

        @pytest.mark.convert(runtimes=["keras", "tflite", "tfjs"])
        def some():
            return Net()

        @pytest.mark.convert(xfail={"*-tflite": "a gap"}, orders=["nhwc"])
        def gap():
            return Broken()
        """
    )
    result = project.runpytest()
    result.stdout.fnmatch_lines_random(
        ["✓ test_nets.py::some *4 of 4 match, 2 skipped *", "✗ test_nets.py::gap *0 of 1 match, 1 known gap *"]
    )


def test_tensorflow_says_nothing_of_itself(pytester):
    pytester.makepyfile(
        nets="""
        import sys
        from torch import nn

        class Net(nn.Linear):
            def __init__(self):
                print("of the user", file=sys.stderr)
                super().__init__(4, 4)
        """
    )
    words = ["--nobuco-model", "nets.Net", "--nobuco-input", "2,4", "--nobuco-max-abs-diff", "0", "--nobuco-quick"]
    environment = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    try:
        result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", *words, "-rA")
    finally:
        os.environ.update(environment)
    text = result.stdout.str() + result.stderr.str()
    assert not re.findall(r"absl|oneDNN|XNNPACK|cuda|^[IWE]\d{4} ", text, re.MULTILINE)
    assert "of the user" in text
