"""The plugin: which bound holds, and what a failure says."""

from __future__ import annotations

import shlex

import pytest

from tests.fake_project import INI, fake_project


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return fake_project(pytester)


# --- the gate


@pytest.mark.parametrize(
    ("own", "of_class", "option", "ini", "bound", "source"),
    [
        (0.1, 0.2, 0.3, 0.4, 0.1, "max_abs_diff of the marker"),
        (None, 0.2, 0.3, 0.4, 0.2, "max_abs_diff of the marker"),
        (None, None, 0.3, 0.4, 0.3, "max_abs_diff of the command line"),
        (None, None, None, 0.4, 0.4, "max_abs_diff of the ini file"),
        (None, None, None, None, 1e-4, "default of the dtype"),
        (0, 0.9, 0.9, 0.9, 0, "max_abs_diff of the marker"),
    ],
)
def test_the_nearest_bound_holds(project, own, of_class, option, ini, bound, source):
    project.makeini(INI + ("" if ini is None else f"nobuco_max_abs_diff = {ini}\n"))
    project.makepyfile(
        test_nets=f"""
            import pytest
            from fake_backend import Broken

            @pytest.mark.convert(orders=["nhwc"], max_abs_diff={of_class})
            class TestNets:
                @pytest.mark.convert(max_abs_diff={own})
                def net(self):
                    return Broken()
        """
    )
    given = [] if option is None else ["--nobuco-max-abs-diff", str(option)]
    result = project.runpytest(*given)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"*output 0: off by 0.5; allowed {bound:g} ({source})."])


def test_a_bound_that_is_wide_enough_passes(project):
    project.runpytest("--nobuco-model", "nets.Broken", "--nobuco-max-abs-diff", "0.5").assert_outcomes(passed=4)


def test_no_marker_passes_the_ceiling(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Broken

            @pytest.mark.convert(max_abs_diff=1.0, runtimes=["keras"], orders=["nhwc"])
            def net():
                return Broken()
        """
    )
    project.runpytest("--nobuco-max-abs-limit", "0.5").assert_outcomes(passed=1)
    result = project.runpytest("--nobuco-max-abs-limit", "0.1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["* 5.0e-01 is above --nobuco-max-abs-limit 1.0e-01."])


def test_a_bound_that_is_no_number_is_a_usage_error(project):
    result = project.runpytest("--nobuco-max-abs-diff", "little")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'little' is no bound*"])
    project.makeini(INI + "nobuco_max_abs_diff = -1\n")
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ini key nobuco_max_abs_diff: '-1' is no bound*"])


# --- failures


def test_nan_fails_with_its_own_words_whatever_the_bound(project):
    result = project.runpytest("--nobuco-model", "nets.Nan", "--nobuco-max-abs-diff", "inf")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*output 0: NaN in the wrong place."])


def test_the_failure_tells_all_and_its_command_reproduces_it(project):
    args = ["--nobuco-model", "nets:Broken", "--nobuco-input", "1,3,8,8", "--nobuco-max-abs-diff", "0.1"]
    result = project.runpytest(*args, "--nobuco-seed", "7", "-k", "nhwc-nhwc-static-tflite")
    result.stdout.fnmatch_lines(
        [
            "Broken[[]nhwc-nhwc-static-tflite]: tflite differs from PyTorch",
            "  model: nets:Broken",
            "  channel order: inputs nhwc, outputs nhwc",
            "  output 0: off by 0.5; allowed 0.1 (max_abs_diff of the command line).",
            "  culprit: layer.conv (Conv2d): off by a lot",
            "  reproduce: pytest *",
        ]
    )
    again = reproduced(project, result)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["Broken[[]nhwc-nhwc-static-tflite]: tflite differs from PyTorch"])


def test_the_command_of_a_marked_factory_reproduces_it(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Broken

            @pytest.mark.convert
            @pytest.mark.parametrize("text", ["it's"])
            def net(text):
                return Broken()
        """
    )
    result = project.runpytest("-k", "nhwc-nhwc-static-tflite")
    reproduced(project, result).assert_outcomes(failed=1)


def reproduced(project: pytest.Pytester, result: pytest.RunResult) -> pytest.RunResult:
    """The result of the command that a failure names."""
    (line,) = {line for line in result.outlines if line.startswith("  reproduce: pytest ")}  # CI has it twice
    return project.runpytest(*shlex.split(line)[2:])


def test_a_model_that_cannot_be_converted_fails_in_words(project):
    result = project.runpytest("--nobuco-model", "nets.NoKeras")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        ["NoKeras[[]nchw-nchw-static-keras]: the model cannot be converted: no converter for torch.foo"]
    )
    result.stdout.fnmatch_lines(["2 conversions for 4 items"])  # a failed one is tried once per order


def test_a_runtime_that_is_missing_here_is_skipped_with_the_reason(project):
    project.makepyfile(others="from fake_backend import Net\nmodel = Net(error=-1e-9)")
    result = project.runpytest("--nobuco-model", "others.model", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*TFLite needs something"])


def test_an_exception_of_the_users_own_keeps_its_traceback_where_it_is_asked_for(project):
    project.makepyfile(others="def factory():\n    raise KeyError('of the user')")
    models = ["--nobuco-model", "others.factory", "--nobuco-model", "nets.Net"]
    result = project.runpytest(*models, "-k", "nhwc-nhwc-static-keras", "--full-trace")
    result.assert_outcomes(failed=1, passed=1, deselected=6)
    result.stdout.fnmatch_lines(["*others.py:2: KeyError"])
