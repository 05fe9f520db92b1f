"""A small project end to end with the real frameworks: one model fine, one off by a bad converter, one NaN.

Each run is a process of its own, with one form per model, so that all the ways in and all neighbours are met.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

NETS = """
    import torch
    from torch import nn

    import nobuco

    ANY_ORDER = nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS

    @nobuco.traceable
    def scale(x):
        return x * 2

    @nobuco.converter(scale, channel_ordering_strategy=ANY_ORDER)
    def convert_scale(x):
        return lambda x: x * 3

    class Fine(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x).relu()

    class Wrong(Fine):
        def forward(self, x):
            return scale(super().forward(x))

    class Nan(Fine):
        def forward(self, x):
            return super().forward(x).sub(0.1).sqrt()

    @nobuco.converter(torch.Tensor.sqrt, channel_ordering_strategy=ANY_ORDER)
    def convert_sqrt(x):
        import tensorflow as tf
        return lambda x: tf.sqrt(tf.maximum(x, 0.0))
"""
TESTS = """
    import pytest
    import nets

    pytestmark = pytest.mark.convert(inputs=["1,3,8,8"])

    @pytest.mark.convert
    def test_fine():
        return nets.Fine()

    @pytest.mark.convert
    @pytest.mark.parametrize("kind", [nets.Wrong, nets.Nan])
    def bad(kind):
        return kind()
"""
INI = """
    [pytest]
    nobuco_orders = nhwc
    nobuco_runtimes = keras
    nobuco_dynamic = none
"""
MODELS = [word for name in ("Fine", "Wrong", "Nan") for word in ("--nobuco-model", f"nets.{name}")]
MODELS += ["--nobuco-input", "1,3,8,8"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(nets=NETS, test_nets=TESTS)
    pytester.makeini(INI)
    return pytester


@pytest.mark.full
@pytest.mark.parametrize("flags", [("-n2",), ("-p", "no:benchmark", "-p", "no:xdist")], ids=" ".join)
def test_named_models(project, flags):
    result = project.runpytest_subprocess(*MODELS, *flags, "--junitxml=out.xml")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "Wrong[[]nhwc-nhwc-static-keras]: keras differs from PyTorch",
            "  output 0: Values differ in * of 144 elements, worst at (*): expected *, got *, off by *",
            "  culprit: nets.scale*nets.py*line*",
            "Nan[[]nhwc-nhwc-static-keras]: keras differs from PyTorch",
            "  output 0: NaN in 0 elements where * expected*",
            "  reproduce: pytest --nobuco-model nets.Nan --nobuco-input 1,3,8,8 * 'nobuco::Nan[[]nhwc-nhwc-static-*",
            "3 conversions for 3 items",
        ]
    )
    cases = ElementTree.parse(project.path / "out.xml").getroot().iter("testcase")
    figures = {case.get("name"): dict(_properties(case)) for case in cases}
    assert float(figures["Fine[nhwc-nhwc-static-keras]"]["nobuco_max_abs_diff"]) < 1e-5
    assert float(figures["Wrong[nhwc-nhwc-static-keras]"]["nobuco_max_abs_diff"]) > 0.1


def _properties(case):
    return [(each.get("name"), each.get("value")) for each in case.iter("property")]


@pytest.mark.full
def test_marked_models_and_last_failed(project):
    result = project.runpytest_subprocess("-rf")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(["FAILED test_nets.py::bad[[]Wrong-*", "FAILED test_nets.py::bad[[]Nan-*"])
    project.runpytest_subprocess("--lf").assert_outcomes(failed=2)


def test_the_projects_converters(project):
    options = ["--nobuco-converters-from=nets", "-k", "nhwc-static-keras"]
    result = project.runpytest_subprocess("--nobuco-converters=nets.scale", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*nets.scale*no sample*"])
