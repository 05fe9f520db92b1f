"""The plugin: inputs that Hypothesis draws, and the smallest that fails, on a command line."""

from __future__ import annotations

import math
import shlex
import sys

import pytest
import torch

from nobuco.subject.inputs import parse_input
from nobuco.subject.model import draw
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.models.fuzz import Domain, domains_of, smallest_failure

NETS = """
    import torch
    from torch import nn

    import nobuco

    @nobuco.traceable
    def clipped(x):
        return torch.clamp(x, -3.0, 3.0)

    @nobuco.converter(clipped, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
    def convert_clipped(x):
        import tensorflow as tf
        return lambda x: tf.maximum(x, -3.0)  # right for what a normal distribution gives but rarely

    @nobuco.traceable
    def masked(x, mask):
        return torch.where(mask, x, 0.0).sum(1)

    @nobuco.converter(masked, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER)
    def convert_masked(x, mask):
        import tensorflow as tf

        def masked(x, mask):
            total = tf.reduce_sum(tf.where(mask, x, 0.0), 1)
            return tf.where(tf.reduce_any(mask, 1), total, 1.0)  # wrong where nothing is left

        return masked

    class Clipped(nn.Module):
        def forward(self, x):
            return clipped(x)

    class Masked(nn.Module):
        def forward(self, x, mask):
            return masked(x, mask)

    class Right(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(5, 3)

        def forward(self, x):
            return self.dense(x).relu().sum(1)
"""
QUICK = ["--nobuco-quick", "-p", "no:hypothesispytest"]


@pytest.fixture
def project(pytester):
    pytester.makepyfile(nets=NETS)
    return pytester


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2,3@0", [[0, 0, 0], [0, 0, 0]]),
        ("2,3@1.5,-2", [[1.5, -2, 1.5], [-2, 1.5, -2]]),
        ("2,2:int64@900,901,902", [[900, 901], [902, 900]]),
        ("1,4:bool@1,1,0", [[True, True, False, True]]),
        ("x=0,4@1", torch.zeros(0, 4).tolist()),
    ],
)
def test_values_are_repeated(text, values):
    spec = parse_input(text)
    assert str(spec) == text
    assert draw(spec, 0).tolist() == values


def test_random_values_of_a_scale():
    spec = parse_input("4,100@random:7:1000")
    assert str(spec) == "4,100@random:7:1000"
    torch.testing.assert_close(draw(spec, 0), 1000 * draw(parse_input("4,100"), 7))


@pytest.mark.parametrize("text", ["2@", "2@x", "2@1,,2", "2@random:1", "2@random:a:b"])
def test_values_that_are_none(text):
    with pytest.raises(ValueError, match="are no values; give numbers such as @0"):
        parse_input(text)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", -1e7, 3.3e7), ("float16", -700.3, 1.0), ("bfloat16", 0.0, 0.25), ("float64", -2.0, 0.0),
        ("float32", 1.0, math.inf), ("int64", -5, 999), ("uint8", 0, 255), ("bool", 0, 1), ("float32", 0.0, 0.0),
    ],
)  # fmt: skip
def test_drawn_inputs_keep_sign_and_range_and_shrink(dtype, low, high):
    seen = []

    def problems_of(specs):
        tensor = draw(specs[0], 0)
        assert draw(parse_input(str(specs[0])), 0).equal(tensor)
        seen.append(tensor)
        return ["seven"] if tensor.shape[1] >= 7 else []

    found = smallest_failure([Domain((2, 3), (1,), dtype, low, high)], problems_of, 60, 0)
    assert found.inputs[0].shape == (2, 7)
    assert {float(value) for value in draw(found.inputs[0], 0).flatten()} <= {0.0, low if low > 0 else 0.0, -5.0}
    values = torch.cat([tensor.flatten().double() for tensor in seen])
    if low >= 0:
        assert values.min() >= 0
    if high <= 0:
        assert values.max() <= 0
    assert {tensor.shape[0] for tensor in seen} == {2} and len({tensor.shape[1] for tensor in seen}) > 2


def test_inputs_that_pytorch_refuses_are_no_failure():
    def problems_of(specs):
        raise SuiteError("no")

    assert smallest_failure([Domain((2,), (0,), "float32", -1, 1)], problems_of, 20, 0) is None


def test_what_fails_only_at_times_is_a_failure():
    calls = []

    def problems_of(specs):
        calls.append(specs)
        return ["odd"] if len(calls) == 3 else []

    found = smallest_failure([Domain((2,), (0,), "float32", -1, 1)], problems_of, 20, 0)
    assert found is not None and found.inputs == calls[2]


def test_complex_inputs_are_not_drawn():
    with pytest.raises(SuiteError, match="--nobuco-fuzz draws no inputs of complex64"):
        domains_of([torch.zeros(2, dtype=torch.complex64)], ())


@pytest.mark.full
def test_the_smallest_failing_input_and_its_command(project):
    words = ["--nobuco-model", "nets.Clipped", "--nobuco-input", "2?,3@1", "--nobuco-runtime", "keras", *QUICK]
    result = project.runpytest_subprocess(*words, "--nobuco-fuzz", "50", "-v")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["  at drawn inputs 1,3@4, output 0: *", "  at drawn inputs 2,3@4, *"])
    commands = [line for line in result.outlines if line.startswith("  reproduce: pytest ")]
    assert len(commands) == 2
    again = project.runpytest_subprocess(*shlex.split(commands[0])[2:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*output 0: *expected 3, got 4*"])


@pytest.mark.full
def test_masks_are_drawn(project):
    inputs = ["--nobuco-input", "2?,4?", "--nobuco-input", "2?,4?:bool@1,0"]
    words = ["--nobuco-model", "nets.Masked", *inputs, *QUICK]
    project.runpytest_subprocess(*words).assert_outcomes(passed=4)
    result = project.runpytest_subprocess(*words, "--nobuco-fuzz", "50", "-v")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["  at drawn inputs 1,1@0 1,1:bool@0, output 0: *"])


@pytest.mark.full
def test_what_is_right_passes_and_is_converted_once(project):
    result = project.runpytest_subprocess(
        "--nobuco-model", "nets.Right", "--nobuco-input", "2?,5", "--nobuco-fuzz", "15", *QUICK
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 conversions for 4 items"])


@pytest.mark.full
def test_a_number_of_inputs_that_does_not_fit(project):
    words = ["--nobuco-model", "nets.Right", "--nobuco-input", "2,5", "--nobuco-try", "2,5", "--nobuco-try", "2,5"]
    result = project.runpytest_subprocess(*words, *QUICK)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*--nobuco-try was given 2 times; the model has 1 inputs*"])


def test_without_hypothesis(pytester):
    pytester.makepyfile(
        run="""
        import sys
        import pytest

        sys.modules["hypothesis"] = None  # as if it were not installed
        words = ["--assert=plain", "-p", "no:hypothesispytest", "--nobuco-fuzz", "3", "--nobuco-model", "nets.Net"]
        sys.exit(pytest.main(words))
        """
    )
    result = pytester.run(sys.executable, "run.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --nobuco-fuzz draws inputs with Hypothesis: pip install 'nobuco[[]fuzz[]]'"])
