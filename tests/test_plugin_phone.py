"""Latency on a phone, played by a script that answers as adb did; and a real model on this machine."""

from __future__ import annotations

import os
import subprocess

import pytest

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency import adb
from pytest_nobuco.latency.deployed import Deployed
from pytest_nobuco.latency.gpu import Budget
from pytest_nobuco.latency.gpu_child import one_addition
from pytest_nobuco.latency.runtimes import RealRuntimes
from pytest_nobuco.latency.spec import LatencyCase
from tests.latency_project import HERE, PYTHON, options, timed

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


@pytest.mark.full
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
