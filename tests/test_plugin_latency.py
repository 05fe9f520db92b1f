"""Latency: what is collected and recorded, and what a row says; with runtimes without frameworks."""

from __future__ import annotations

import json

import pytest

from pytest_nobuco.latency.spec import GPU, LatencyCase, case_named
from pytest_nobuco.latency.table import render_table, speed_up
from pytest_nobuco.results import LatencyRow
from tests.fake_runtimes import GPU_SECONDS
from tests.latency_project import INI, latency_project, timed

MODEL = ("--nobuco-model", "nets.Net", "--nobuco-threads", "1,2")
TIMED = ["torch-1", "torch-2", "keras", "tflite-xnnpack-1", "tflite-xnnpack-2", "tflite-gpu"]
PHONES = ["phone-xnnpack-1", "phone-xnnpack-4", "phone-gpu"]


@pytest.fixture
def project(pytester, no_worker):
    return latency_project(pytester)


def ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


# --- what is collected


def test_latency_is_not_collected_unless_asked_for(project):
    assert not [name for name in ids(project.runpytest(*MODEL, "--collect-only", "-q")) if "latency" in name]


def test_benchmark_only_collects_latency_alone(project):
    found = ids(project.runpytest(*MODEL, "--benchmark-only", "--collect-only", "-q"))
    assert found == [f"nobuco::Net[latency-{name}]" for name in TIMED + PHONES]


def test_nobuco_latency_adds_it_to_the_suite(project):
    found = ids(project.runpytest(*MODEL, "--nobuco-latency", "--collect-only", "-q"))
    latency = [name for name in found if "latency" in name]
    assert latency == [f"nobuco::Net[latency-{name}]" for name in TIMED + PHONES]
    plain = ids(project.runpytest(*MODEL, "--collect-only", "-q"))
    assert sorted(set(found) - set(latency)) == sorted(plain) != []


def test_marked_factories_and_classes_get_it_with_their_own_parameters(project):
    project.makepyfile(
        test_nets="""
            import pytest
            from fake_backend import Net

            @pytest.fixture
            def error():
                return 0.0

            @pytest.mark.convert
            @pytest.mark.parametrize("size", [1, 2])
            def make(size, error):
                return Net(error)

            @pytest.mark.convert(inputs=["1,3,8,8"])
            class Marked(Net):
                pass

            def test_plain():
                assert False
        """
    )
    result = project.runpytest("--benchmark-only", "-k", "torch-1", "--nobuco-threads", "1", "-v")
    result.assert_outcomes(passed=3, deselected=19)
    result.stdout.fnmatch_lines(
        [
            "test_nets.py::make[[]1-latency-torch-1] PASSED*",
            "test_nets.py::make[[]2-latency-torch-1] PASSED*",
            "test_nets.py::Marked[[]latency-torch-1] PASSED*",
            "test_nets.py::make[[]1]",  # of the table: each parameter makes another model
            "test_nets.py::make[[]2]",
            "test_nets.py::Marked",
        ]
    )


def test_benchmark_skip_runs_none(project):
    result = project.runpytest(*MODEL, "--nobuco-latency", "--benchmark-skip", "-s")
    assert "RUN" not in result.stdout.str()
    assert result.parseoutcomes()["skipped"] >= len(TIMED + PHONES)
    assert result.parseoutcomes()["passed"] >= 1


def test_benchmark_disable_runs_each_and_records_none(project):
    result = project.runpytest(*MODEL, "--nobuco-latency", "--benchmark-disable", "-k", "latency", "-s")
    result.assert_outcomes(passed=6, skipped=3, deselected=result.parseoutcomes()["deselected"])
    assert 1 <= result.stdout.str().count("RUN keras") <= 2  # to see whether it is right, and the benchmark itself
    result.stdout.no_fnmatch_line("*latency (nobuco)*")


@pytest.mark.parametrize("threads", ["0", "two", "1,", "-1"])
def test_threads_are_whole_numbers(project, threads):
    result = project.runpytest("--nobuco-model", "nets.Net", f"--nobuco-threads={threads}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nobuco-threads*whole numbers from 1 up*"])


def test_names_of_cases():
    assert case_named("tflite_xnnpack") == LatencyCase("tflite-xnnpack", 1)
    assert case_named("tflite-xnnpack-4") == LatencyCase("tflite-xnnpack", 4)
    assert case_named("tflite_gpu") == LatencyCase(GPU)
    for wrong in ("tflite", "keras-2", "tflite-gpu-1", ""):
        with pytest.raises(ValueError, match="unknown runtime"):
            case_named(wrong)


# --- what is recorded


def test_row_of_each_runtime_with_what_is_known_of_it(project):
    result = project.runpytest(*MODEL, "--benchmark-only", "--benchmark-json=out.json")
    result.assert_outcomes(passed=6, skipped=3)
    found = timed(project.path / "out.json")
    assert list(found) == TIMED
    assert {b["group"] for b in found.values()} == {"nets.Net"}
    assert found["tflite-xnnpack-2"]["extra_info"] == {
        "model": "nets.Net",
        "runtime": "tflite-xnnpack",
        "threads": 2,
        "device": "fake processor",
        "delegate": None,
        "max_abs_diff": 0.0,
        "operations": 7,
        "operations_outside_delegate": 2,
        "transpositions": 1,
        "file_size": 1234567,
    }
    result.stdout.fnmatch_lines(
        [
            "*latency (nobuco)*",
            "nets.Net (1.2 MB)",
            "  PyTorch eager         1 * ms * ms *x",
            "  PyTorch eager         2 * ms * ms *x",
            "  Keras, compiled * ms * ms *x",
            "  TFLite XNNPACK        1 * ms * ms *x      7       2       1",
            "  TFLite XNNPACK        2 * ms * ms *x      7       2       1",
            "  TFLite GPU                  500 ms     250 ms *x      7       2       1",
            "speed-up: against PyTorch eager*",
            "GPU: Fake GPU (CPU / Software)",
            "*software driver*",
        ]
    )


def test_times_of_another_process_are_recorded_as_they_were(project):
    project.runpytest(*MODEL, "--benchmark-only", "-k", "gpu", "--benchmark-json=out.json").assert_outcomes(
        passed=1, skipped=1, deselected=7
    )
    stats = timed(project.path / "out.json")["tflite-gpu"]["stats"]
    assert tuple(stats["data"]) == GPU_SECONDS
    assert (stats["median"], stats["min"], stats["max"], stats["rounds"]) == (0.5, 0.25, 4.0, 5)


def test_saved_runs_are_compared(project):
    run = [*MODEL, "--benchmark-only", "-k", "gpu", "--benchmark-columns=median"]
    project.runpytest(*run, "--benchmark-save=before")
    result = project.runpytest(*run, "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    result.stdout.fnmatch_lines(
        ["Net[[]latency-tflite-gpu] (0001_before) *500*", "Net[[]latency-tflite-gpu] (NOW) *500*"]
    )
    assert result.ret == 0


def test_wrong_numbers_fail_and_have_no_row(project):
    # That this process has imported nobuco already is no fault of the session's.
    strict = ["-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    result = project.runpytest("--nobuco-model", "nets.Broken", "--benchmark-only", "-k", "tflite-gpu", *strict)
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        [
            "Broken[[]latency-tflite-gpu]: wrong on Fake GPU (CPU / Software), so its time says nothing:",
            "  output 0: off by 0.5; allowed 0.0001 (default of the dtype).",
            "  reproduce: pytest --nobuco-model nets.Broken 'nobuco::Broken[[]latency-tflite-gpu]' --benchmark-only",
        ]
    )
    result.stdout.no_fnmatch_line("*latency (nobuco)*")
    loose = ("--nobuco-max-abs-diff", "0.6")
    result = project.runpytest("--nobuco-model", "nets.Broken", "--benchmark-only", "-k", "tflite-gpu", *loose)
    assert result.parseoutcomes()["passed"] == 1


def test_absent_gpu_skips_with_what_to_install_and_fails_where_it_is_required(project):
    run = ["--nobuco-model", "nets.no_gpu", "--benchmark-only", "-k", "tflite-gpu", "-rs"]
    result = project.runpytest(*run)
    assert result.parseoutcomes()["skipped"] == 1
    result.stdout.fnmatch_lines(["SKIPPED*install a driver"])
    result = project.runpytest(*run, "--nobuco-require-gpu")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["no_gpu[[]latency-tflite-gpu]: --nobuco-require-gpu: install a driver"])


# --- without pytest-benchmark, under xdist


def test_without_pytest_benchmark_items_and_fixtures_skip(project):
    project.makepyfile(
        conftest="from pytest_nobuco.latency.shortcuts import tflite_gpu, tflite_xnnpack",
        test_own="""
            def test_latency(nobuco_latency): assert False
            def test_short(tflite_xnnpack): assert False
            def test_gpu(nobuco_tflite_gpu): assert False
        """,
    )
    project.makeini(INI.replace("--benchmark-max-time=0.001 --benchmark-min-rounds=5", ""))
    run = [*MODEL, "-p", "no:benchmark", "-rs"]
    result = project.runpytest(*run, "--nobuco-latency", "-k", "latency", "test_own.py")
    result.assert_outcomes(skipped=9 + 1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["SKIPPED*latency needs pytest-benchmark: pip install pytest-benchmark*"])
    project.runpytest("-p", "no:benchmark", "test_own.py").assert_outcomes(skipped=3)


def test_benchmark_only_turns_xdist_off_and_says_so(project):
    run = [*MODEL, "--benchmark-only", "-n", "2", "-k", "torch-1"]
    for extra in ((), ("-q",)):
        result = project.runpytest(*run, *extra)
        assert result.parseoutcomes()["passed"] == 1
        result.stdout.fnmatch_lines(["nobuco: --benchmark-only turns xdist off*"])
        result.stdout.fnmatch_lines(["*latency (nobuco)*"])
    result = project.runpytest(*MODEL, "--benchmark-only", "-k", "torch-1")
    result.stdout.no_fnmatch_line("*turns xdist off*")


def test_workers_time_nothing_and_say_so(project):
    project.makepyfile(test_own="def test_own(nobuco_latency): nobuco_latency(None)")
    run = [*MODEL, "--nobuco-latency", "-n", "2", "-k", "latency-keras or test_own", "test_own.py", "-rs"]
    result = project.runpytest_subprocess(*run)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*not measured side by side with other tests: run without -n"])


# --- the fixtures


def test_fixture_returns_the_row_and_records_it(project):
    project.makepyfile(
        conftest="from pytest_nobuco.latency.shortcuts import tflite_gpu, tflite_xnnpack",
        test_own="""
            import pytest
            from fake_backend import Net

            def test_row(nobuco_latency):
                row = nobuco_latency(Net(), runtime="tflite-xnnpack", inputs=["1,3,8,8"], threads=3)
                assert (row.model, row.runtime, row.threads) == ("Net", "tflite-xnnpack", 3)
                assert row.median >= row.minimum > 0
                assert row.extra["operations"] == 7

            def test_gpu(tflite_gpu):
                assert tflite_gpu(Net()).median == 0.5

            @pytest.mark.benchmark(group="mine", min_rounds=2)
            def test_group(nobuco_tflite_gpu):
                row = nobuco_tflite_gpu(Net())
                assert (row.median, row.rounds) == (0.375, 2)

            def test_short(tflite_xnnpack, benchmark):
                assert tflite_xnnpack(Net()).threads == 1
                assert benchmark.group == "Net"

            def test_twice(nobuco_latency):
                nobuco_latency(Net())
                nobuco_latency(Net())

            def test_unknown(nobuco_latency):
                nobuco_latency(Net(), runtime="abacus")

            def test_threads(nobuco_latency):
                nobuco_latency(Net(), runtime="keras", threads=2)

            def test_no_file(nobuco_latency):
                nobuco_latency("nowhere.tflite")

            def test_plain(): pass
        """,
    )
    result = project.runpytest("--benchmark-only", "--benchmark-json=out.json")
    result.assert_outcomes(passed=4, failed=4, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "nobuco_latency was called twice; pytest-benchmark keeps one measurement a test",
            "nobuco_latency: unknown runtime 'abacus'; there are torch, keras, tflite-xnnpack*",
            "nobuco_latency: threads=2: they cannot be chosen for keras",
            "nobuco_latency: the TFLite file cannot be read: *nowhere.tflite*",
        ]
    )
    groups = {b["name"]: b["group"] for b in json.loads((project.path / "out.json").read_text())["benchmarks"]}
    assert groups == {
        "test_row": "Net",
        "test_gpu": "Net",
        "test_group": "mine",
        "test_short": "Net",
        "test_twice": "Net",
    }


def test_fixture_runs_once_where_benchmarks_are_disabled(project):
    project.makepyfile(
        test_own="""
            from fake_backend import Net

            def test_row(nobuco_latency):
                row = nobuco_latency(Net(), runtime="tflite-gpu")
                assert (row.median, row.rounds) == (0.25, 1)
        """
    )
    project.runpytest("--benchmark-disable").assert_outcomes(passed=1)


# --- the table


def row(runtime: str, median: float, threads: int | None = None, **extra: object) -> LatencyRow:
    return LatencyRow("Net", runtime, threads, "here", median, median / 2, 0.0, 5, extra)


def test_speed_up_is_against_pytorch_at_its_fastest():
    rows = [row("torch", 0.4, 1), row("torch", 0.2, 2), row("tflite-xnnpack", 0.1, 1)]
    assert [speed_up(r, rows) for r in rows] == [0.5, 1.0, 2.0]
    assert speed_up(rows[2], rows[2:]) is None


def test_table_fits_80_columns():
    extra = {"operations": 12345, "operations_outside_delegate": 1678, "transpositions": 1990, "file_size": 1e9}
    rows = [row("torch", 123.4, 128), row("phone-xnnpack", 99.9, 128, **extra), row("tflite-gpu", 1e-3, **extra)]
    lines = list(render_table(rows))
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Net (1000.0 MB)"
    assert " ".join(lines[3].split()) == "phone XNNPACK 128 99900 ms 49950 ms 1.24x 12345 1678 1990"
    assert " ".join(lines[4].split()) == "TFLite GPU 1.00 ms 0.500 ms 123400x 12345 1678 1990"
