"""`--nobuco-xfails`: known gaps of models and converters, strict in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nobuco.xfails import read, version

INI = (
    "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\n"
    "nobuco_backend = fake_backend:FakeBackend\nnobuco_converters_backend = fake_converters:FakeConverters\n"
)
CONVERTERS = ["--nobuco-converters=*", "--nobuco-xfails", "gaps.txt"]
# What fails, of the fake converters.
TRUE = "mypkg.bare*  # has no samples yet\nmypkg.wrong*-tflite?  # the kernel is off by a half\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    for name in ("fake_backend", "fake_converters"):
        pytester.makepyfile(**{name: (Path(__file__).parent / f"{name}.py").read_text()})
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def write(project: pytest.Pytester, text: str, name: str = "gaps.txt") -> None:
    path = project.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("flags", [(), ("-n2",)])
def test_known_gaps_do_not_fail(project, flags):
    write(project, f"# of the fake converters\n\n{TRUE}")
    run = project.runpytest_subprocess if flags else project.runpytest
    result = run(*CONVERTERS, *flags, "-rx")
    result.assert_outcomes(passed=17, skipped=4, xfailed=12)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["XFAIL *mypkg.wrong[[]nhwc-static-tflite]*the kernel is off by a half (gaps.txt:4)*"])


def test_what_passes_fails_until_its_line_goes(project):
    write(project, f"{TRUE}torch.add[nhwc-static-*]  # it was wrong once\n")
    result = project.runpytest(*CONVERTERS)
    result.assert_outcomes(passed=15, skipped=4, xfailed=12, failed=2)
    result.stdout.fnmatch_lines(["*[[]XPASS(strict)] it was wrong once (gaps.txt:3)"])


@pytest.mark.parametrize("flags", [(), ("-n2",)])
def test_a_line_that_matches_nothing_is_a_failure_of_its_own(project, flags):
    write(project, f"{TRUE}torch.gone[*]  # long gone\n")
    run = project.runpytest_subprocess if flags else project.runpytest
    result = run(*CONVERTERS, *flags)
    result.assert_outcomes(passed=17, skipped=4, xfailed=12, failed=1)
    result.stdout.fnmatch_lines(["gaps.txt:3: 'torch.gone[[]*]' matches no item; remove the line"])


@pytest.mark.parametrize(
    "narrowing",
    [
        ["-k", "nhwc"],
        ["-m", "not nothing"],
        ["--nobuco-converters=torch.add"],
        ["--deselect", "nobuco::torch.add"],
        ["test_own.py"],
        ["test_own.py::test_own"],
        ["below"],
    ],
)
def test_under_narrowing_no_line_is_stale(project, narrowing):
    write(project, f"{TRUE}torch.gone[*]  # long gone\n")
    project.makepyfile(test_own="def test_own(): pass")
    write(project, "def test_below(): pass\n", "below/test_below.py")
    converters = [] if "--nobuco-converters=torch.add" in narrowing else ["--nobuco-converters"]
    result = project.runpytest("--nobuco-xfails=gaps.txt", *narrowing, *converters)
    assert "failed" not in result.parseoutcomes()


def test_paths_that_hold_the_file_collect_all(project):
    write(project, "Net[*]  # long gone\n", "suite/gaps.txt")
    write(project, "def test_it(): pass\n", "suite/test_it.py")
    write(project, "def test_other(): pass\n", "test_other.py")
    options = ["--nobuco-xfails", "suite/gaps.txt"]
    for paths, failed in ((["suite"], 1), (["."], 1), ([], 1), (["test_other.py"], 0), (["suite/test_it.py"], 0)):
        result = project.runpytest(*options, *paths)
        assert result.parseoutcomes().get("failed", 0) == failed, paths


@pytest.mark.parametrize("flags", [(), ("-n2",)])
def test_models_too_and_no_other_tests(project, flags):
    project.makepyfile(
        nets="from fake_backend import Broken", test_own="def test_own(): pass\ndef test_nets(): assert False"
    )
    write(project, "Broken[*]  # the converter of foo is wrong\n*own*  # not ours to mark\n")
    project.makeini(f"{INI}nobuco_xfails = gaps.txt\n")
    options = ["--nobuco-model", "nets.Broken", "--nobuco-order", "nhwc", "--nobuco-runtime", "keras"]
    run = project.runpytest_subprocess if flags else project.runpytest
    result = run(*options, *flags, "test_own.py")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (1, 1)
    assert outcomes["xfailed"] >= 1


@pytest.mark.parametrize(("condition", "outcome"), [("version('pytest') > (1, 0)", "xfailed"), ("False", "failed")])
def test_a_condition_says_where_it_is_a_gap(project, condition, outcome):
    write(project, f"mypkg.wrong*  # on some machines; {condition}\n")
    result = project.runpytest(*CONVERTERS, "-k", "wrong and nhwc-static-tflite")
    result.assert_outcomes(**{outcome: 1}, deselected=32)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("torch.add[*]", "gives no reason"),
        ("torch.add[*]  # ", "gives no reason"),
        ("torch.add[*]  # ; True", "gives no reason"),
        ("torch.add[*] # one space", "gives no reason"),
        ("torch.add[*]  # why; not python", "a condition in Python, and 'not python ...' is none"),
        ("torch.add[*]  # first this; then that", "a condition in Python, and 'then that' is none: invalid syntax"),
    ],
)
def test_a_line_of_another_form_is_a_usage_error(project, line, message):
    write(project, f"# fine\n{line}{' ...' if 'not python' in line else ''}\n")
    result = project.runpytest(*CONVERTERS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (found,) = [line for line in result.errlines if "gaps.txt:2" in line]
    assert message in found


def test_a_file_that_is_missing_is_a_usage_error(project):
    result = project.runpytest(*CONVERTERS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nobuco-xfails *gaps.txt: No such file or directory"])


def test_lines_are_read_as_written(tmp_path):
    path = tmp_path / "gaps.txt"
    path.write_text("torch.add[nhwc-*]  # it is; sys.platform == 'darwin'\n")
    (gap,) = read(path, "--nobuco-xfails")
    assert (gap.pattern, gap.reason, gap.condition) == ("torch.add[nhwc-*]", "it is", "sys.platform == 'darwin'")
    assert gap.place == "gaps.txt:1"


def test_versions_compare_as_numbers(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.10.0+cpu")
    assert version("torch") == (2, 10, 0) > (2, 9)
