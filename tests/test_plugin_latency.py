"""Latency: what is collected and recorded, what a row says, and what happens where a device is missing or fails.

Logic is tested with runtimes without frameworks; a GPU's child process and a phone by scripts that answer as the
real ones did. With a GPU driver on this machine (a software one does) the real child is tried too; with
`--nobuco-require-gpu` its absence is a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency import adb, gpu
from pytest_nobuco.latency.delegated import covered, file_facts
from pytest_nobuco.latency.deployed import Deployed
from pytest_nobuco.latency.gpu import Adapter, Budget, find_adapter, run_on_gpu
from pytest_nobuco.latency.gpu_child import one_addition
from pytest_nobuco.latency.runtimes import RealRuntimes
from pytest_nobuco.latency.spec import GPU, LatencyCase, LatencyOptions, case_named
from pytest_nobuco.latency.table import render_table, speed_up
from pytest_nobuco.results import LatencyRow
from tests.fake_runtimes import GPU_SECONDS

HERE = Path(__file__).parent
INI = """
[pytest]
addopts = --strict-markers -p no:hypothesispytest --benchmark-max-time=0.001 --benchmark-min-rounds=5
nobuco_backend = fake_backend:FakeBackend
nobuco_latency_runtimes = fake_runtimes:FakeRuntimes
"""
MODEL = ("--nobuco-model", "nets.Net", "--nobuco-threads", "1,2")
TIMED = ["torch-1", "torch-2", "keras", "tflite-xnnpack-1", "tflite-xnnpack-2", "tflite-gpu"]
PHONES = ["phone-xnnpack-1", "phone-xnnpack-4", "phone-gpu"]


@pytest.fixture
def project(pytester, no_worker):
    """A project with `nets.py`, whose models are those of the fake backend."""
    for name in ("fake_backend", "fake_runtimes"):
        (pytester.path / f"{name}.py").write_text((HERE / f"{name}.py").read_text())
    pytester.makepyfile(
        nets="""
            from fake_backend import Broken, Net

            def no_gpu():
                return Net(error=-1e-6)
        """
    )
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def timed(path: Path) -> dict[str, dict]:
    """The benchmarks in a `--benchmark-json`, by runtime and threads."""
    return {b["params"]["nobuco_latency_case"]: b for b in json.loads(path.read_text())["benchmarks"]}


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


# --- operations and delegates


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


def test_operations_that_a_delegate_covers():
    nodes = [
        node(0, "RELU", [0], [4]),
        node(1, "MUL", [4, 2], [5]),
        node(2, "RFFT2D", [5, 3], [6]),
        node(3, "ADD", [6, 1], [8]),
        node(4, "SPLIT", [8], [9, 10]),
        node(5, "DELEGATE", [0, 2], [5]),
        node(6, "DELEGATE", [1, 6], [9, 10]),
    ]
    assert covered(nodes) == {0, 1, 3, 4}
    assert covered(nodes[:5]) == set()


def test_facts_of_a_file():
    """Counts that are known from how the file was made; XNNPACK has no Fourier transform."""
    tf = pytest.importorskip("tensorflow")

    def function(x):
        y = tf.abs(tf.signal.rfft2d(tf.nn.relu(x) * 2))
        return tf.transpose(y, [0, 2, 1]) + 1.0

    data = written(tf, function, (1, 8, 8))
    facts = file_facts(data)
    assert (facts.file_size, facts.operations, facts.outside_xnnpack, facts.transpositions) == (len(data), 6, 2, 1)
    facts = file_facts(one_addition())
    assert (facts.operations, facts.outside_xnnpack, facts.transpositions) == (1, 0, 0)


def written(tf, function, *shapes: tuple[int, ...]) -> bytes:
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    module = tf.Module()
    module.f = tf.function(function, input_signature=specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([module.f.get_concrete_function()], module).convert()


# --- the GPU's child process, played by a script


SELECTED = (
    "I0000 00:00:1 1 environment.cc:532] Selected adapter: Fast Card 9, arch=blue, vendor=v, "
    "backend=Vulkan, adapterType=Discrete GPU"
)


@pytest.fixture
def child(tmp_path, monkeypatch):
    """`child(script)` lets a shell script play the child process; $1 to $3 are as the real one is called."""

    def play(script: str) -> None:
        path = tmp_path / "child.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(gpu.sys, "executable", str(path))

    return play


def test_crash_of_the_child_shows_its_stderr(child):
    child(f"echo '{SELECTED}' >&2; echo 'compiling CUMSUM' >&2; kill -ILL $$")
    with pytest.raises(SuiteError, match=r"(?s)crashed \(SIGILL\).*stderr.*compiling CUMSUM"):
        run_on_gpu(b"", [], Budget(1, 0.0))


def test_refused_model_shows_which_operations(child):
    child(
        "echo 'INFO: noise' >&2; echo 'ERROR: Following operations are not supported by GPU delegate:' >&2;"
        "echo 'RFFT2D: Operation is not supported.' >&2;"
        "echo 'No operations will run on the GPU, and all 2 operations will run on the CPU.' >&2; exit 4"
    )
    with pytest.raises(SuiteError, match=r"(?s)does not run this model.*RFFT2D: Operation is not supported") as caught:
        run_on_gpu(b"", [], Budget(1, 0.0))
    assert "noise" not in str(caught.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "pip install"),
        ("echo 'Warning: Couldn'\"'\"'t load Vulkan: libvulkan.so.1' >&2; exit 4", "Vulkan: libvulkan.so.1. Install"),
        ("echo '{}'", "no GPU driver"),  # it ran, but nothing says on what
        (f"echo '{SELECTED}' >&2; kill -SEGV $$", "no GPU driver"),
    ],
)
def test_absent_driver_says_what_to_install(child, script, message):
    child(script)
    with pytest.raises(UnavailableError, match=message):
        find_adapter()


def test_adapter_is_read_from_stderr(child):
    child(f"echo '{SELECTED}' >&2; echo '{{}}'")
    assert find_adapter() == Adapter("Fast Card 9", "Discrete GPU")
    assert not find_adapter().is_software
    assert str(find_adapter()) == "Fast Card 9 (Discrete GPU)"


def test_crash_fails_one_item_and_the_session_goes_on(project, child):
    project.makeini(INI.replace("nobuco_latency_runtimes = fake_runtimes:FakeRuntimes", ""))
    (project.path / "add.tflite").write_bytes(one_addition())
    project.makepyfile(
        test_own="""
            def test_crash(nobuco_tflite_gpu):
                nobuco_tflite_gpu("add.tflite")

            def test_next(): pass
        """
    )
    probed = f"""echo '{SELECTED}' >&2; grep -q '"model": null' "$3" && exec echo '{{}}'"""
    child(f"{probed}; echo 'compiling ADD' >&2; kill -ILL $$")
    result = project.runpytest("test_own.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["nobuco_latency: the GPU delegate crashed (SIGILL)*", "  compiling ADD"])


@pytest.mark.parametrize("said", ["", SELECTED])
def test_run_that_may_have_been_on_the_cpu_is_none(tmp_path, child, said):
    """An adapter alone is no proof, if every buffer lies in the host's memory."""
    answer = json.dumps({"seconds": [1.0], "compile_seconds": 1.0, "buffer_types": [[1], [1 if said else 26]]})
    script = (
        f"echo '{said}' >&2; {PYTHON} -c 'import json, sys, numpy; numpy.savez(json.load(open(sys.argv[1]))"
        f"[\"outputs\"], numpy.zeros(1))' $3; echo '{answer}'"
    )
    child(script)
    with pytest.raises(SuiteError, match="nothing shows that the model ran on a GPU"):
        run_on_gpu(b"", [], Budget(1, 0.0))


PYTHON = sys.executable


def test_gpu_is_asked_for_once_a_session(child, tmp_path):
    child(f"echo asked >> {tmp_path}/asked; exit 4")
    runtimes = RealRuntimes(options())
    for _ in range(2):
        with pytest.raises(UnavailableError), runtimes.prepare(Deployed("x", file=b""), LatencyCase(GPU), Budget(1, 0)):
            pass
    assert (tmp_path / "asked").read_text() == "asked\n"
    strict = RealRuntimes(options(require_gpu=True))
    prepared = strict.prepare(Deployed("x", file=b""), LatencyCase(GPU), Budget(1, 0))
    with pytest.raises(SuiteError, match="--nobuco-require-gpu: no GPU driver") as caught, prepared:
        pass
    assert not isinstance(caught.value, UnavailableError)


def options(**changed: object) -> LatencyOptions:
    given = {"wanted": True, "only": True, "threads": (1,), "gpu_fp16": False, "require_gpu": False}
    return LatencyOptions(**{**given, "adb": None, "benchmark_model": None, **changed})


# --- the real child process


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the GPU is not asked for through Vulkan")
def test_real_child_without_a_driver(monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", "/nonexistent.json")
    with pytest.raises(UnavailableError, match=r"no GPU driver that LiteRT can use: .*docs/benchmarks.md"):
        find_adapter()


def test_probe_is_a_model_that_adds():
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=one_addition())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.array([[1, 2, 3, 4]], np.float32))
    interpreter.invoke()
    assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist() == [[2, 4, 6, 8]]


@pytest.fixture(scope="module")
def adapter(request):
    """The GPU of this machine."""
    try:
        return find_adapter()
    except UnavailableError as error:
        if request.config.getoption("nobuco_require_gpu"):
            raise
        pytest.skip(str(error))


def test_real_gpu_runs_inputs_and_outputs_in_the_order_of_the_graph(adapter):
    import numpy as np
    import tensorflow as tf

    from nobuco.export import to_tflite

    x, y = tf.keras.Input((3,), name="z"), tf.keras.Input((3,), name="a")
    data = to_tflite(tf.keras.Model([x, y], [x - y, x * 10 + y]))
    feeds = [np.array([[1, 2, 3]], np.float32), np.array([[5, 7, 9]], np.float32)]
    ran = run_on_gpu(data, feeds, Budget(3, 0.0))
    assert ran.adapter == adapter
    assert [output.tolist() for output in ran.outputs] == [[[-4, -5, -6]], [[15, 27, 39]]]
    assert len(ran.seconds) == 3 and min(ran.seconds) > 0
    assert (ran.outside, ran.refusals) == (0, ())


def test_real_gpu_says_what_it_leaves_to_the_cpu(adapter):
    import numpy as np
    import tensorflow as tf

    data = written(tf, lambda x: tf.abs(tf.signal.rfft2d(tf.nn.relu(x) * 2)) + 1.0, (1, 8, 8))
    ran = run_on_gpu(data, [np.ones((1, 8, 8), np.float32)], Budget(1, 0.0))
    assert ran.outside == 3
    assert "RFFT2D: Operation is not supported." in ran.refusals
    assert ran.outputs[0].ravel()[:2].tolist() == [129.0, 1.0]
    refused = written(tf, lambda x: tf.abs(tf.signal.rfft2d(x)), (1, 8, 8))
    with pytest.raises(SuiteError, match="RFFT2D: Operation is not supported"):
        run_on_gpu(refused, [np.ones((1, 8, 8), np.float32)], Budget(1, 0.0))


# --- the phone, played by a script


BENCHMARK_OUTPUT = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Loaded model /data/local/tmp/nobuco/model.tflite
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
INFO: count=26 first=39221 curr=18991 min=18553 max=39221 avg=19503.2 std=3958
INFO: count=20 first=18873 curr=18807 min=18622 max=19036 avg=18806.5 std=100
INFO: Inference timings in us: Init: 215931, First inference: 39221, Warmup (avg): 19503.2, Inference (avg): 1.88065e+04
"""
FAKE_ADB = """#!{python}
import sys, pathlib
here = pathlib.Path({folder!r})
words = sys.argv[1:]
with open(here / "log", "a") as log:
    print(*words, file=log)
if words == ["devices"]:
    print((here / "devices").read_text())
elif "getprop" in words[-1]:
    print({{"getprop ro.product.model": "Pixel 9", "getprop ro.board.platform": "zumapro"}}[words[-1]])
elif "benchmark_model --graph" in words[-1]:
    sys.stderr.write((here / "answer").read_text())
    sys.exit(int((here / "status").read_text()))
"""


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A folder with a fake `adb` on the PATH, what it lists, and what the binary on the phone answers."""
    adb_path = tmp_path / "adb"
    adb_path.write_text(FAKE_ADB.format(python=PYTHON, folder=str(tmp_path)))
    adb_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    devices = "List of devices attached\n4A1\tdevice\nemulator-5554\toffline\n"
    files = {"devices": devices, "answer": BENCHMARK_OUTPUT, "status": "0", "benchmark_model": "binary"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_phone_times_a_model(phone):
    runtimes = RealRuntimes(options(adb="auto", benchmark_model=str(phone / "benchmark_model")))
    deployed = Deployed("add", file=one_addition())
    with runtimes.prepare(deployed, LatencyCase("phone-xnnpack", 4), Budget(3, 1.0)) as prepared:
        assert prepared.seconds == (0.0188065,) * 3
        assert (prepared.device, prepared.threads, prepared.outputs) == ("Pixel 9 (zumapro)", 4, None)
        assert prepared.extra == {
            "file_size": len(one_addition()),
            "operations": 1,
            "transpositions": 0,
            "delegate": "XNNPACK",
            "runs_per_round": 20,
            "init_seconds": 0.215931,
            "first_run_seconds": 0.039221,
        }
    log = (phone / "log").read_text()
    assert f"-s 4A1 push {phone}/benchmark_model /data/local/tmp/nobuco/benchmark_model" in log
    assert log.count("--num_threads=4") == 3 and "--use_gpu" not in log
    with runtimes.prepare(deployed, LatencyCase("phone-gpu"), Budget(1, 1.0)) as prepared:
        assert (prepared.extra["delegate"], prepared.extra["operations_outside_delegate"]) == ("GPU", 0)
    assert (
        "--use_gpu=true --gpu_precision_loss_allowed=false --require_full_delegation=true"
        in (phone / "log").read_text()
    )


@pytest.mark.parametrize(("status", "answer"), [("1", "ERROR: Disallowed CPU fallback detected."), ("0", "nothing")])
def test_phone_that_fails_shows_what_it_said(phone, status, answer):
    (phone / "answer").write_text(answer)
    (phone / "status").write_text(status)
    found = adb.find_phone("4A1", str(phone / "benchmark_model"))
    with pytest.raises(SuiteError, match=answer):
        adb.run_on_phone(found, b"", None, True, Budget(1, 0.0))


@pytest.mark.parametrize(
    ("serial", "listed", "error", "message"),
    [
        (None, "", UnavailableError, "--nobuco-adb auto --nobuco-benchmark-model"),
        ("auto", "", UnavailableError, "no phone is ready; adb lists none"),
        ("auto", "4A1 unauthorized", UnavailableError, r"no phone is ready; adb lists 4A1 \(unauthorized\)"),
        ("auto", "4A1 device\n4A2 device", SuiteError, "several phones are attached.*4A1, 4A2"),
        ("4A9", "4A1 device", UnavailableError, r"--nobuco-adb 4A9: not ready; adb lists 4A1 \(device\)"),
    ],
)
def test_which_phone(phone, serial, listed, error, message):
    (phone / "devices").write_text(f"* daemon started successfully\nList of devices attached\n{listed}\n")
    with pytest.raises(error, match=message) as caught:
        adb.find_phone(serial, str(phone / "benchmark_model"))
    assert type(caught.value) is error


def test_phone_needs_adb_and_the_binary(phone, monkeypatch):
    with pytest.raises(UnavailableError, match="needs --nobuco-benchmark-model"):
        adb.find_phone("auto", None)
    with pytest.raises(SuiteError, match="there is no file /nowhere"):
        adb.find_phone("auto", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="no adb on the PATH"):
        adb.find_phone("auto", str(phone / "benchmark_model"))


# --- the real thing


def test_real_model_has_a_row_with_true_counts(tmp_path):
    (tmp_path / "real_nets.py").write_text(
        """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def example_inputs(self):
        return (torch.randn(1, 3, 16, 16),)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))
"""
    )
    command = [
        PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest",
        "--nobuco-model", "real_nets.Net", "--nobuco-threads=1", "--benchmark-only",
        "--benchmark-max-time=0.01", "--benchmark-json=out.json", "-rs",
    ]  # fmt: skip
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = timed(tmp_path / "out.json")
    assert {"torch-1", "keras", "tflite-xnnpack-1"} <= set(found)
    for name, benchmark in found.items():
        info = benchmark["extra_info"]
        if name.startswith("tflite"):
            # A convolution with its ReLU, and a convolution; nothing to transpose with channels last.
            assert (info["operations"], info["operations_outside_delegate"], info["transpositions"]) == (2, 0, 0)
            assert info["file_size"] > 4 * (3 * 8 * 9 + 8 + 8 * 4 + 4)
        if name != "torch-1":
            assert info["max_abs_diff"] < 1e-4
        assert info["device"]
    if "tflite-gpu" not in found:
        assert "no GPU driver that LiteRT can use" in done.stdout
