"""The plugin: the marker, and the matrix of forms that it and the options choose."""

from __future__ import annotations

import pytest

from tests.fake_project import FOUR, WHOLE, fake_project, ids


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return fake_project(pytester)


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
        ("orders=['nhcw']", "orders: unknown order 'nhcw'; there are nchw, nhwc, and pairs such as nchw-nhwc"),
        ("inputs=['1,x']", "inputs: '1,x': 'x' is no whole number*"),
        ("dynamic='XY'", "dynamic: 'XY' names no axes*letters NCTLDHW*"),
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
        ("representative=3", "representative is 3; give a list of argument tuples, or a function without parameters*"),
        ("representative=[3]", "representative is [[]3]; give a list of argument tuples*"),
        ("orders=[]", "orders is [[]]; give a list of channel orders*"),
        ("orders=[3]", "orders is [[]3]; give a list of channel orders*"),
        ("backend=[]", "backend is [[]]; give the name of a backend, or a list of names"),
        ("input_shapes={0: 3}", "input_shapes={0: 3}: give shapes with None at each dynamic axis by the input's*"),
        (
            "inputs=lambda size: ['1,3']",
            "inputs is <function <lambda>*; give a list of inputs, *function without para*",
        ),
        ("comparator=lambda got: True", "comparator is <function <lambda>*; give a function of (got, expected)"),
        ("explore_branches='x'", "explore_branches is 'x'; give True or False, or a whole number from 0 up"),
        ("validation_tolerance=10**400", "validation_tolerance is 1000*; give a number from 0 up, or None"),
        ("output_names=[3]", "output_names is [[]3]; give a list of texts*"),
        ("runtimes=['onnx']", "runtimes: unknown runtime 'onnx'; there are keras, keras_file, savedmodel, tflite, *"),
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
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"test_nets.py::net: *{message}"])


# --- the matrix


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


def test_each_form_is_compared_with_other_values_than_the_examples(project):
    result = project.runpytest("--nobuco-model", "fake_backend.WrongOtherwise", "-k", "nhwc-nhwc-static-keras]")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["  with other values, output 0: off by 0.25; *"])


def test_a_model_of_one_size_has_no_dynamic_form_unless_asked_for_by_name(project):
    project.makeini(WHOLE)
    args = ["--nobuco-model", "fake_backend.OneSize", "--nobuco-input", "1,3,8,8", "-k", "nhwc-nhwc and keras]", "-rs"]
    result = project.runpytest(*args)
    result.assert_outcomes(passed=1, skipped=1, deselected=30)
    result.stdout.fnmatch_lines(["SKIPPED*it takes no other sizes than 1×3×8×8: the model fails in PyTorch itself*"])
    result = project.runpytest(*args, "--nobuco-dynamic", "HW")
    result.assert_outcomes(passed=1, failed=1, deselected=30)


@pytest.mark.full
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
