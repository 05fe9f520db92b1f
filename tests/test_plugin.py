"""The plugin: every way in, what is collected, which bound holds, what a failure says.

The logic is tested with a backend without frameworks, in this process; what needs PyTorch and TensorFlow runs
in subprocesses, and there are few of those since each takes seconds to start.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nobuco.subject.inputs import InputSpec, parse_input, read_inputs
from nobuco.subject.resolve import resolve

FOUR = [f"{order}-{order}-static-{runtime}" for order in ("nchw", "nhwc") for runtime in ("keras", "tflite")]
# Hypothesis imports itself at the end of each session, which takes longer than all that is tested here.
INI = "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\nnobuco_backend = fake_backend:FakeBackend\n"
# A small matrix where the matrix is not what is tested.
INI += "nobuco_orders = nchw nhwc\nnobuco_runtimes = keras tflite\nnobuco_dynamic = none\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with `nets.py`, whose models are those of the fake backend."""
    fake = (Path(__file__).parent / "fake_backend.py").read_text()
    pytester.makepyfile(
        fake_backend=fake,
        nets="""
            from fake_backend import Broken, Nan, Net, NoKeras

            instance = Net()

            def factory():
                return Net()

            def no_model():
                return 3

            class Scope:
                Inner = Net
        """,
    )
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def ids(result: pytest.RunResult) -> list[str]:
    """The ids that `--collect-only -q` printed."""
    return [line for line in result.outlines if "::" in line]


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


# --- the marker


def test_marker_on_a_function_and_on_a_class(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            @pytest.mark.convert
            def make_net():
                return Net()

            @pytest.mark.convert(inputs=["1,3,8,8"], orders=["nhwc"])
            def test_net():
                return Net()

            @pytest.mark.convert(runtimes=["keras"])
            class Marked(Net):
                pass

            class Heir(Marked):
                pass
        """
    )
    found = ids(project.runpytest("--collect-only", "-q"))
    assert found == [
        *[f"test_nets.py::make_net[{case}]" for case in FOUR],
        *[f"test_nets.py::test_net[{case}]" for case in FOUR[2:]],
        "test_nets.py::Marked[nchw-nchw-static-keras]",
        "test_nets.py::Marked[nhwc-nhwc-static-keras]",
    ]
    project.runpytest().assert_outcomes(passed=8)
    project.runpytest("test_nets.py::make_net[nhwc-nhwc-static-tflite]").assert_outcomes(passed=1)


def test_marker_with_fixtures_and_parameters(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            @pytest.fixture
            def error():
                return 0.5

            @pytest.mark.convert(max_abs_diff=1.0)
            @pytest.mark.parametrize("scale", [1, pytest.param(9, marks=pytest.mark.xfail)])
            def net(error, scale):
                return Net(error * scale)

            class TestNets:
                @pytest.mark.convert(max_abs_diff=1.0)
                def net(self, error):
                    return Net(error)

                @staticmethod
                @pytest.mark.convert(max_abs_diff=1.0)
                def static(error):
                    return Net(error)

                def test_plain(self):
                    pass
        """
    )
    result = project.runpytest("-v")
    result.assert_outcomes(passed=13, xfailed=4)
    result.stdout.fnmatch_lines(
        ["test_nets.py::net[[]1-nhwc-nhwc-static-keras] PASSED*", "*::net[[]9-nhwc-nhwc-static-tflite] XFAIL*"]
    )


def test_a_factory_is_called_once_and_never_as_a_test(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            @pytest.mark.convert
            def test_net():
                print("CALLED")
                return Net()
        """
    )
    result = project.runpytest("-s")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("CALLED") == 1


def test_marker_of_a_class_or_module_makes_no_suite_of_other_tests(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            pytestmark = pytest.mark.convert(runtimes=["keras"])

            @pytest.mark.convert(orders=["nhwc"])
            class TestNets:
                @pytest.mark.convert
                def net(self):
                    return Net()

                def test_plain(self):
                    pass
        """
    )
    found = ids(project.runpytest("--collect-only", "-q"))
    assert found == ["test_nets.py::TestNets::net[nhwc-nhwc-static-keras]", "test_nets.py::TestNets::test_plain"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("bounds=1", "takes no argument 'bounds'; it takes inputs, kwargs, input_shapes, dynamic, *, trace_shape*"),
        ("1e-3", "takes no positional arguments*"),
        ("orders=['nhcw']", "unknown order 'nhcw'; there are nchw, nhwc, and pairs such as nchw-nhwc"),
        ("inputs=['1,x']", "'1,x': 'x' is no whole number*"),
        ("dynamic='XY'", "'XY' names no axes*letters NCTLDHW*"),
        ("inputs=['1,3'], dynamic='HW'", "no input has an axis H or W: *"),
        ("inputs=['1,3,8,8'], input_shapes={1: (None, 3)}", "input_shapes names input 1; there are 1, counted from 0"),
        ("inputs=['1,3,8,8'], input_shapes=(None, 4, 8, 8)", "input_shapes gives input 0 the shape (None, 4, 8, 8);*"),
        ("input_shapes={'x': (None, 3)}", "input_shapes=*by the input's position*"),
        ("xfail={'*-keras': ''}", "xfail=*give the reason as text*"),
        ("xfail={'*-tfjs': 'no'}", "xfail: '*-tfjs' is none of *"),
        ("dynamic=3", "dynamic is 3; give True or False, or the letters of axes, such as 'HW'"),
        ("orders='nhwc'", "orders is 'nhwc'; give a list of channel orders, such as [['[]'nhwc']"),
        ("kwargs=3", "kwargs is 3; give a dict of arguments by name"),
        ("input_shapes=3", "input_shapes is 3; give shapes with None at each dynamic axis*"),
        ("representative=3", "representative is 3; give a list of argument tuples, or a function"),
        ("runtimes=['onnx']", "unknown runtime 'onnx'; there are keras, keras_file, savedmodel, tflite, tflite_fp16*"),
    ],
)
def test_wrong_marker_is_a_collection_error(project, arguments, message):
    project.makepyfile(
        test_nets=f"""
            import pytest

            @pytest.mark.convert({arguments})
            def net(): ...
        """
    )
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*test_nets.py::net: *{message}"])


# --- the matrix

WHOLE = "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\nnobuco_backend = fake_backend:FakeBackend\n"


def cases_of(result: pytest.RunResult) -> list[str]:
    return [line.partition("[")[2].removesuffix("]") for line in ids(result)]


def test_the_whole_matrix(project):
    project.makeini(WHOLE)
    args = ["--nobuco-model", "nets.Net", "--nobuco-input", "1,3,8,8"]
    assert cases_of(project.runpytest(*args, "--collect-only", "-q")) == [
        f"{inputs}-{outputs}-{shape}-{runtime}"
        for inputs in ("nchw", "nhwc")
        for outputs in ("nchw", "nhwc")
        for shape in ("dynHW", "static")
        for runtime in ("keras", "keras_file", "savedmodel", "tflite")
    ]
    result = project.runpytest(*args, "-s")
    result.assert_outcomes(passed=32)
    result.stdout.fnmatch_lines(["8 conversions for 32 items"])


@pytest.mark.parametrize(
    ("args", "shape"),
    [
        (["--nobuco-input", "1,3,8,8", "--nobuco-input", "4,5"], "dynHW"),
        (["--nobuco-input", "4,5"], "dynN"),
        (["--nobuco-input", "4,5,6", "--nobuco-dynamic", "TN"], "dynNT"),
        (["--nobuco-input", "4,5,6?"], "dynL"),
        (["--nobuco-input", "1?,3,4,5?,6?"], "dynNHW"),
        (["--nobuco-input", "1,3,8,8", "--nobuco-dynamic", "none"], "static"),
        ([], "dyn"),
        (["--nobuco-dynamic", "NHW"], "dynNHW"),
    ],
)
def test_the_dynamic_form_is_called_by_its_axes(project, args, shape):
    project.makeini(WHOLE)
    chosen = ["--nobuco-order", "nhwc", "--nobuco-runtime", "keras"]
    found = cases_of(project.runpytest("--nobuco-model", "nets.Net", *args, *chosen, "--collect-only", "-q"))
    assert found == sorted({f"nhwc-nhwc-{shape}-keras", "nhwc-nhwc-static-keras"})


def test_marker_chooses_orders_runtimes_and_axes(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            @pytest.mark.convert(inputs=["2,3,8,8"], orders=["nchw-nhwc"], runtimes=["savedmodel"], dynamic="N")
            def letters():
                return Net()

            @pytest.mark.convert(inputs=["2,3,8,8"], orders=["nhwc"], runtimes=["keras"],
                                 input_shapes={0: (None, 3, 8, None)}, trace_shape=True)
            def shapes():
                return Net()

            @pytest.mark.convert(inputs=["2,3,8,8"], orders=["nhwc"], runtimes=["keras"], dynamic=False)
            def static():
                return Net()
        """
    )
    assert cases_of(project.runpytest("--collect-only", "-q")) == [
        "nchw-nhwc-dynN-savedmodel",
        "nchw-nhwc-static-savedmodel",
        "nhwc-nhwc-dynNW-keras",
        "nhwc-nhwc-static-keras",
        "nhwc-nhwc-static-keras",
    ]
    result = project.runpytest("-s", "-k", "dyn")
    result.assert_outcomes(passed=2, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*CONVERTED Net nchw-nhwc ((0,),) [[]'2,3,8,8']",
            "*CONVERTED Net nhwc-nhwc ((0, 3),) [[]'2,3,8,8'] {'trace_shape': True}",
        ]
    )


def test_a_dynamic_form_is_compared_at_sizes_that_it_was_not_converted_at(project):
    project.makeini(WHOLE)
    args = ["--nobuco-model", "fake_backend.WrongElsewhere", "--nobuco-input", "1,3,64,8", "-k", "nhwc-nhwc and keras]"]
    result = project.runpytest(*args)
    result.assert_outcomes(failed=1, passed=1, deselected=30)
    result.stdout.fnmatch_lines(
        [
            "WrongElsewhere[[]nhwc-nhwc-dynHW-keras]: keras differs from PyTorch",
            "  sizes: converted at 1×3×64×8, tried at 1×3×32×16, too",
            "  at inputs 1×3×32×16, output 0: off by 0.25; *",
        ]
    )


def test_a_model_of_one_size_has_no_dynamic_form_unless_asked_for_by_name(project):
    project.makeini(WHOLE)
    args = ["--nobuco-model", "fake_backend.OneSize", "--nobuco-input", "1,3,8,8", "-k", "nhwc-nhwc and keras]", "-rs"]
    result = project.runpytest(*args)
    result.assert_outcomes(passed=1, skipped=1, deselected=30)
    result.stdout.fnmatch_lines(["SKIPPED*it takes no other sizes than 1×3×8×8: the model fails in PyTorch itself*"])
    result = project.runpytest(*args, "--nobuco-dynamic", "HW")
    result.assert_outcomes(passed=1, failed=1, deselected=30)


def test_orders_that_no_tensor_has_are_converted_once(pytester):
    pytester.makepyfile(
        nets="import torch\n\nclass Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(4, 2)"
    )
    args = ["--nobuco-model", "nets.Net", "--nobuco-input", "3,4", "--nobuco-runtime", "keras"]
    result = pytester.runpytest_subprocess(*args)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["2 conversions for 8 items"])


def test_a_runtime_of_a_later_version_is_skipped_with_the_reason(project):
    result = project.runpytest("--nobuco-model", "nets.Net", "--nobuco-runtime", "tfjs", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*tfjs is planned*"])


def test_expected_failures_are_strict(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Broken, Net

            @pytest.mark.convert(xfail="the converter is wrong")
            def broken():
                return Broken()

            @pytest.mark.convert(xfail={"*-tflite": "no such operation"})
            def fine():
                return Net()
        """
    )
    result = project.runpytest("-rx")
    result.assert_outcomes(xfailed=4, passed=2, failed=2)
    result.stdout.fnmatch_lines(["*XPASS(strict)* no such operation*", "XFAIL*broken*the converter is wrong*"])


def test_marker_takes_what_the_conversion_takes():
    import inspect

    import nobuco
    from pytest_nobuco.settings import CONVERSION_ARGUMENTS

    assert set(CONVERSION_ARGUMENTS) <= set(inspect.signature(nobuco.pytorch_to_keras).parameters)


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


def test_an_exception_of_the_users_own_keeps_its_traceback(project):
    project.makepyfile(others="def factory():\n    raise KeyError('of the user')")
    models = ["--nobuco-model", "others.factory", "--nobuco-model", "nets.Net"]
    result = project.runpytest(*models, "-k", "nhwc-nhwc-static-keras")
    result.assert_outcomes(failed=1, passed=1, deselected=6)
    result.stdout.fnmatch_lines(["others.py:2: KeyError"])


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


# --- the real thing

REAL_NETS = """
    import torch
    from torch import nn

    import nobuco

    class Fine(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        @staticmethod
        def example_inputs():
            return (torch.ones(1, 3, 8, 8),)

        def forward(self, x):
            return self.norm(self.conv(x)).relu()

    class Nan(nn.Module):
        def forward(self, x):
            return torch.log(-x.abs() - 1)

    @nobuco.traceable
    def scale(x):
        return x * 2

    @nobuco.converter(scale, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
    def convert_scale(x):
        return lambda x: x * 3

    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return scale(self.conv(x)).relu()
"""


def test_real_models(pytester):
    pytester.makepyfile(nets=REAL_NETS)
    models = [word for name in ("Fine", "Nan", "Wrong") for word in ("--nobuco-model", f"nets.{name}")]
    result = pytester.runpytest_subprocess(*models, "--nobuco-order", "nhwc", "--nobuco-input", "1,3,9,9", "-v")
    result.assert_outcomes(passed=8, failed=16)
    result.stdout.fnmatch_lines_random(
        [
            "Nan[[]nhwc-nhwc-static-keras]: output 0 float32[[]1, 3, 9, 9] is NaN or infinite everywhere in PyTorch*",
            "Wrong[[]nhwc-nhwc-static-tflite]: tflite differs from PyTorch",
            "  output 0: Values differ in * of 196 elements, worst at (0, *): expected *, got *, off by *",
            "  culprit: *scale*nets.py*line*",
            "  reproduce: pytest --nobuco-model nets.Wrong --nobuco-input 1,3,9,9 'nobuco::Wrong[[]nhwc-nhwc-static-*",
            "✓ nets.Fine * 8 of 8 match *",
        ]
    )


def test_real_marker_and_own_inputs(pytester):
    pytester.makepyfile(
        nets=REAL_NETS,
        test_nets="""
            import pytest
            import torch
            from torch import nn

            from nets import Fine

            pytestmark = pytest.mark.convert(orders=["nhwc"], runtimes=["keras", "tflite"])

            @pytest.mark.convert
            def own_inputs():
                return Fine()

            @pytest.mark.convert
            def no_inputs():
                return nn.ReLU()

            @pytest.mark.convert(inputs=[(1, 4, 8, 8)], runtimes=["keras"])
            def wrong_inputs():
                return Fine()

            @pytest.mark.convert(inputs=["1,5?:int64:0:7"])
            class Tokens(nn.Embedding):
                def __init__(self):
                    super().__init__(7, 4)
        """,
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=8, failed=6)
    result.stdout.fnmatch_lines_random(
        [
            "no_inputs[[]nhwc-nhwc-*]: its inputs are not given; *--nobuco-input, or inputs=*",
            "*SuiteError: the model fails in PyTorch itself on inputs float32[[]1, 4, 8, 8]: RuntimeError: *",
        ]
    )
