"""Latency on a GPU: what a delegate covers, and the child process, played by a script that answers as the real one did.

With a GPU driver on this machine (a software one does) the real child is tried too; with `--nobuco-require-gpu` its
absence is a failure.
"""

from __future__ import annotations

import json
import sys

import pytest

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency import gpu
from pytest_nobuco.latency.delegated import covered, file_facts
from pytest_nobuco.latency.deployed import Deployed
from pytest_nobuco.latency.gpu import Adapter, Budget, find_adapter, run_on_gpu
from pytest_nobuco.latency.gpu_child import one_addition
from pytest_nobuco.latency.runtimes import RealRuntimes
from pytest_nobuco.latency.spec import GPU, LatencyCase
from tests.latency_project import INI, PYTHON, latency_project, options


@pytest.fixture
def project(pytester, no_worker):
    return latency_project(pytester)


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
