"""`--nobuco-converters`: what is collected, what an item says, and, for real, what is found.

The logic is tested with converters without frameworks, in this process; the rest in a few subprocesses.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

INI = (
    "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\n"
    "nobuco_converters_backend = fake_converters:FakeConverters\n"
)
FORMS = [
    f"{order}-{shape}-{{}}{runtime}"
    for order in ("nchw", "nhwc")
    for shape in ("dynamic", "static")
    for runtime in ("keras", "tflite")
]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(fake_converters=(Path(__file__).parent / "fake_converters.py").read_text())
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def ids(result: pytest.RunResult) -> list[str]:
    """The ids that `--collect-only -q` printed."""
    return [line for line in result.outlines if "::" in line]


# --- what is collected


def test_the_ceiling_holds_for_known_gaps(project):
    (project.path / "gaps.txt").write_text("mypkg.wrong*tflite*  # some day\n")
    options = ["--nobuco-converters=mypkg.wrong", "--nobuco-xfails=gaps.txt", "-k", "nhwc-static"]
    project.runpytest(*options).assert_outcomes(passed=1, xfailed=1)
    result = project.runpytest(*options, "--nobuco-max-abs-limit=0.4")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*a known gap (some day (gaps.txt:1)), but above the ceiling", "  off by 0.5"])


def test_every_converter_has_every_form_and_further_dtypes_one(project):
    found = ids(project.runpytest("--nobuco-converters", "--collect-only", "-q"))
    assert found == [
        *(f"nobuco::mypkg.bare[{form.format('')}]" for form in FORMS),
        *(f"nobuco::mypkg.wrong[{form.format('')}]" for form in FORMS),
        *(f"nobuco::torch.add[{form.format('float32-')}]" for form in FORMS),
        *(f"nobuco::torch.sub[{form.format('float32-')}]" for form in FORMS),
        "nobuco::torch.sub[nhwc-static-int64-keras]",
    ]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["torch.add"], {"torch.add"}),
        (["torch.Tensor.__sub__"], {"torch.sub"}),  # any spelling names it
        (["torch.*"], {"torch.add", "torch.sub"}),
        (["torch.add", "mypkg.w*"], {"torch.add", "mypkg.wrong"}),
    ],
)
def test_patterns_choose(project, patterns, names):
    options = [f"--nobuco-converters={pattern}" for pattern in patterns]
    found = ids(project.runpytest(*options, "--collect-only", "-q"))
    assert {line.removeprefix("nobuco::").partition("[")[0] for line in found} == names


@pytest.mark.parametrize(
    ("pattern", "near"), [("torch.ad", "*near are torch.add*"), ("mypkg.wrnog", "*near are mypkg.wrong*"), ("zzz", "*")]
)
@pytest.mark.parametrize("flags", [(), ("-n1",)])
def test_a_pattern_that_matches_nothing_is_a_usage_error_that_names_what_is_near(project, pattern, near, flags):
    run = project.runpytest_subprocess if flags else project.runpytest
    result = run("--nobuco-converters", pattern, *flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.startswith("ERROR: --nobuco-converters")]
    assert f"'{pattern}' matches none of 6 operations" in line
    pytest.LineMatcher([line]).fnmatch_lines([near])


def test_only_the_converters_run_without_a_path(project):
    project.makepyfile(test_own="def test_own(): pass")
    project.runpytest("--nobuco-converters=torch.add").assert_outcomes(passed=8)
    project.runpytest("--nobuco-converters=torch.add", "test_own.py").assert_outcomes(passed=9)
    project.runpytest().assert_outcomes(passed=1)


def test_converters_of_a_module_and_of_a_conftest(project):
    entries = "from pytest_nobuco.converters.items import Entry\nENTRIES = [Entry({0!r}, ({0!r},))]"
    project.makepyfile(mypkg=entries.format("mypkg.late"))
    result = project.runpytest("--nobuco-converters=mypkg.late")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    project.runpytest("--nobuco-converters=mypkg.late", "--nobuco-converters-from", "mypkg").assert_outcomes(passed=8)
    project.makeconftest(entries.format("mypkg.of_conftest"))
    project.runpytest("--nobuco-converters=mypkg.of_conftest").assert_outcomes(passed=8)


def test_a_module_that_cannot_be_imported_is_a_usage_error(project):
    project.makepyfile(mypkg="raise RuntimeError('not today')")
    for module, message in (("mypkg", "RuntimeError: not today"), ("nowhere", "No module named 'nowhere'")):
        result = project.runpytest("--nobuco-converters", "--nobuco-converters-from", module)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--nobuco-converters-from {module}: *{message}"])


def test_a_number_of_samples_that_is_none_is_a_usage_error(project):
    result = project.runpytest("--nobuco-converters", "--nobuco-samples", "0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'0' is no count; it is a whole number from 1 up*"])


# --- what an item says


def test_a_failure_tells_all_and_its_command_reproduces_it(project):
    options = ["--nobuco-samples", "3", "--nobuco-max-abs-diff", "0.25"]
    result = project.runpytest("--nobuco-converters=mypkg.wrong", *options, "-k", "nhwc-static-tflite")
    result.assert_outcomes(failed=1, deselected=7)
    result.stdout.fnmatch_lines(
        [
            "mypkg.wrong[[]nhwc-static-tflite]: 2 of 8 samples differ from PyTorch",
            "  sample: mypkg.wrong(float32[[]2, 3])",
            "    output 0: off by 0.5.",
            "  culprit: relu, off by 0.5",
            "  also: mypkg.wrong(float32[[]4]): output 0: off by 0.1.",
            "  channel order: inputs nhwc, outputs nhwc",
            "  reproduce: pytest --nobuco-converters mypkg.wrong *",
        ]
    )
    (line,) = {line for line in result.outlines if line.startswith("  reproduce: pytest ")}
    again = project.runpytest(*shlex.split(line)[2:], "-s")
    again.assert_outcomes(failed=1, deselected=7)
    again.stdout.fnmatch_lines(["*TRIED mypkg.wrong nhwc-static-tflite 3*"])


def test_a_converter_without_sample_fails(project):
    result = project.runpytest("--nobuco-converters=mypkg.bare")
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(["mypkg.bare[[]nchw-dynamic-keras]: no sample: give samples=...", "  reproduce: *"])


def test_a_form_that_there_is_not_is_skipped_with_the_reason(project):
    result = project.runpytest("--nobuco-converters=torch.sub", "-rs")
    result.assert_outcomes(passed=5, skipped=4)
    result.stdout.fnmatch_lines(["SKIPPED*PyTorch itself takes no other sizes"])


def test_results_reach_junit_and_the_summary(project):
    result = project.runpytest("--nobuco-converters=mypkg.wrong", "--nobuco-converters=torch.add", "--junitxml=out.xml")
    result.stdout.fnmatch_lines(["✗ mypkg.wrong *4 of 8 match*", "✓ 1 converter match* in 8 forms"])
    text = (project.path / "out.xml").read_text()
    for name, value in (("spellings", "torch.add, torch.Tensor.add"), ("samples", 8), ("samples_passed", 6)):
        assert f'name="nobuco_{name}" value="{value}"' in text


def test_the_failed_ones_run_again(project):
    options = ["--nobuco-converters=mypkg.wrong", "--nobuco-converters=torch.add"]
    project.runpytest(*options).assert_outcomes(passed=12, failed=4)
    project.runpytest(*options, "--lf").assert_outcomes(failed=4, deselected=12)


def test_under_xdist_they_are_the_same(project):
    result = project.runpytest_subprocess("--nobuco-converters", "-n2")
    result.assert_outcomes(passed=17, skipped=4, failed=12)


def test_without_the_option_neither_framework_is_imported(pytester):
    pytester.makepyfile(
        run="""
            import sys
            import pytest

            code = pytest.main(["--collect-only"])
            heavy = {"torch", "tensorflow", "keras", "numpy"} & set(sys.modules)
            sys.exit(f"imported {heavy}" if heavy else code)
        """,
        test_own="def test_own(): pass",
    )
    done = subprocess.run([sys.executable, "run.py"], cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the real thing

OWN = """
    import tensorflow as tf
    import torch
    from torch import nn

    import nobuco
    from nobuco import ChannelOrderingStrategy, Sample

    anywhere = ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS


    @nobuco.traceable
    def doubled(x, plus=0):
        return x * 2 + plus


    def samples():
        return [Sample((torch.randn(2, 3, 4, 5),)), Sample((torch.randn(4, 3),), {"plus": 1})]


    @nobuco.converter(doubled, channel_ordering_strategy=anywhere, samples=samples)
    def convert_doubled(x, plus=0):
        return lambda x, plus=0: x * 2 + plus


    @nobuco.traceable
    def tripled(x):
        return x * 3


    ones = [Sample((torch.ones(2),)), Sample((torch.ones(7),))]


    @nobuco.converter(tripled, channel_ordering_strategy=anywhere, samples=lambda: ones)
    def convert_tripled(x):
        return lambda x: x * (3 if x.shape[0] == 2 else 4)


    @nobuco.traceable
    def unsampled(x):
        return x


    @nobuco.converter(unsampled, channel_ordering_strategy=anywhere)
    def convert_unsampled(x):
        return lambda x: x


    @torch.library.custom_op("mypkg::named", mutates_args=())
    def named(x: torch.Tensor) -> torch.Tensor:
        return x + 7


    @nobuco.converter("mypkg::named", channel_ordering_strategy=anywhere, samples=lambda: [Sample((torch.ones(3, 2),))])
    def convert_named(x):
        return lambda x: x + 7


    @nobuco.traceable
    def noise(x):
        return torch.rand_like(x)


    @nobuco.converter(noise, channel_ordering_strategy=anywhere, samples=lambda: [Sample((torch.zeros(3, 50),))])
    def convert_noise(x):
        return lambda x: tf.random.uniform(tf.shape(x), 0, 2)


    class Shift(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by

        def forward(self, x):
            return x + self.by


    @nobuco.converter(
        Shift, channel_ordering_strategy=anywhere, samples=lambda: [Sample((Shift(2.0), torch.randn(2, 3, 4)))]
    )
    def convert_shift(self, x):
        return lambda x: x + self.by
"""


def test_own_converters(pytester):
    pytester.makepyfile(mypkg=OWN)
    options = ["--nobuco-converters-from", "mypkg", "--nobuco-converters=*mypkg.*", "-v", "-k", "nhwc or doubled"]
    result = pytester.runpytest_subprocess(*options)
    result.stdout.fnmatch_lines_random(
        [
            "nobuco::mypkg.doubled[[]nchw-dynamic-keras] PASSED*",
            "nobuco::mypkg.doubled[[]nhwc-static-tflite] PASSED*",
            "nobuco::mypkg.Shift[[]nhwc-dynamic-tflite] PASSED*",
            "nobuco::torch.ops.mypkg.named[[]nhwc-static-keras] PASSED*",
            "mypkg.tripled[[]nhwc-static-keras]: 1 of 2 samples differ from PyTorch",
            "  sample: mypkg.tripled(float32[[]7])",
            "    output 0: Values differ in 7 of 7 elements, worst at (0,): expected 3, got 4, off by 1.0e+00*",
            "  culprit: mypkg.tripled*",
            "  reproduce: pytest --nobuco-converters mypkg.tripled --nobuco-converters-from mypkg -k nhwc-static-keras",
            "mypkg.unsampled[[]nhwc-static-keras]: no sample: give samples=... in @nobuco.converter, *mypkg.py*",
            # Random numbers are never the same twice, but have a mean.
            "  sample: mypkg.noise(float32[[]3, 50])",
            "*8 standard errors of 32 draws*",
        ]
    )
    outcomes = result.parseoutcomes()
    # Doubled, Shift and named match in all forms, tripled in none (it is wrong at other sizes too), noise in none.
    assert (outcomes["passed"], outcomes["failed"]) == (16, 12)


@pytest.mark.full
def test_built_in_converters(pytester):
    patterns = ["torch.relu_", "torch.nn.Conv1d", "torch.Tensor.T", "operator.mul", "torch.dropout"]
    options = [f"--nobuco-converters={pattern}" for pattern in patterns]
    result = pytester.runpytest_subprocess(*options, "-n2", "-v", "-rs", "--junitxml=out.xml")
    result.assert_outcomes(passed=result.parseoutcomes()["passed"], skipped=result.parseoutcomes().get("skipped", 0))
    result.stdout.fnmatch_lines_random(
        [
            "*PASSED*nobuco::torch.t[[]nhwc-static-complex64-keras]*",
            "*PASSED*nobuco::torch.nn.Conv1d[[]nchw-dynamic-float32-tflite]*",
            "*PASSED*nobuco::torch.t[[]nhwc-static-bool-keras]*",
            "*PASSED*nobuco::operator.mul[[]nhwc-dynamic-keras]*",
            "*SKIPPED*computed while converting, unless an axis is dynamic*",
        ]
    )


def test_equal_elements_are_told_apart_where_pytorch_leaves_open_which_comes_first():
    import torch

    from nobuco.registry import Sample
    from pytest_nobuco.converters.calls import is_untied, untied

    tied = torch.tensor([[3, 1, 2], [1, 3, 0]])
    made = untied(Sample((tied, 1)))
    assert is_untied(made) and made.args[1] == 1
    assert torch.equal(made.args[0].flatten().argsort(), tied.flatten().argsort(stable=True))
    for kept in (Sample((tied,), {"stable": True}), Sample((torch.tensor([2.5, 0.5]),))):
        assert untied(kept) is kept
    assert not is_untied(untied(Sample((torch.ones(5, dtype=torch.bool),))))  # of which there are not as many
