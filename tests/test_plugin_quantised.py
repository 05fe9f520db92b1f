"""The runtimes that quantise: another gate, and figures of their own in every report."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nobuco.parity import fidelity
from pytest_nobuco.gate import bound_for
from pytest_nobuco.matrix import QUANTISED, cases

NET = """
import pytest
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))

def samples():
    return [(torch.randn(1, 3, 16, 16),) for _ in range(8)]

@pytest.mark.convert(
    inputs=["1,3,16,16"], orders=["nhwc"], dynamic="none", representative=samples,
    runtimes=["tflite", "tflite_fp16", "tflite_dynamic", "tflite_int8", "tflite_int16x8"],
)
def test_net():
    return Net()

@pytest.mark.convert(inputs=["1,3,16,16"], orders=["nhwc"], dynamic="none", runtimes=["tflite_int8"], min_snr=90)
def test_too_much_to_ask():
    return Net()
"""


@pytest.mark.full
def test_a_suite_of_quantised_files(pytester):
    pytester.makepyfile(test_net=NET)
    reports = [word for suffix in ("json", "html", "md") for word in ("--nobuco-report", f"r.{suffix}")]
    result = pytester.runpytest_subprocess(*reports, "--junit-xml", "r.xml", "-v", timeout=200)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*tflite_int8 differs from PyTorch*",
            "*signal-to-noise ratio * dB, at least 90 dB needed (min_snr of the marker)*",
        ]
    )
    result.stdout.fnmatch_lines(["*✓*tflite_int8 * dB *min SNR 20 dB*"])

    models = json.loads((pytester.path / "r.json").read_text())["models"]
    found = {
        cell["axes"]["runtime"]: cell for model in models for cell in model["cases"] if "ask" not in model["model"]
    }
    assert found["tflite"]["snr"] is None and found["tflite"]["outputs"][0]["cosine"] is None
    for runtime, least in QUANTISED.items():
        assert found[runtime]["snr"] >= least and found[runtime]["outputs"][0]["cosine"] > 0.99
        assert found[runtime]["outputs"][0]["max_abs"] > 0
    assert found["tflite_int8"]["snr"] < found["tflite_fp16"]["snr"]
    figure = f"{found['tflite_int8']['snr']:.1f} dB"
    assert (
        figure in (pytester.path / "r.html").read_text()
        and "signal-to-noise ratio in dB" in (pytester.path / "r.html").read_text()
    )
    assert (
        figure in (pytester.path / "r.md").read_text()
        and "signal-to-noise ratio in dB" in (pytester.path / "r.md").read_text()
    )
    properties = [p.attrib for p in ET.parse(pytester.path / "r.xml").iter("property")]
    ratios = [float(p["value"]) for p in properties if p["name"] == "nobuco_snr"]
    assert len(ratios) == 5 and math.isclose(min(ratios), found["tflite_int8"]["snr"], abs_tol=20)
    assert sum(p["name"] == "nobuco_cosine" for p in properties) == 5


def test_they_are_no_part_of_the_matrix():
    assert {case.runtime for case in cases()}.isdisjoint(QUANTISED)
    assert {case.runtime for case in cases(runtimes=["tflite_int8"])} == {"tflite_int8"}


class Options:
    max_abs_diff = max_rel_diff = ini_max_abs_diff = ini_max_rel_diff = max_abs_limit = min_snr = None
    ini_min_snr = 30.0


def test_who_sets_the_bound():
    assert bound_for([], Options, "tflite_int8").min_snr == 30
    assert str(bound_for([{"min_snr": 12}], Options, "tflite_int8")) == "min SNR 12 dB, min_snr of the marker"
    bound = bound_for([{"max_abs_diff": 1e-5}], Options, "tflite_int8")
    assert bound.min_snr == 30 and bound.max_abs is None  # a bound of differences is not for what differs on purpose
    assert bound_for([{"min_snr": 12}], Options, "tflite").min_snr is None


@pytest.mark.parametrize(
    ("got", "snr", "cosine"),
    [
        ([3.0, 4.0], math.inf, 1.0),
        ([3.0, 4.5], 20.0, 27 / (5 * 29.25**0.5)),
        ([-3.0, -4.0], 10 * math.log10(0.25), -1.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([math.nan, 4.0], -math.inf, 0.0),
    ],
)
def test_the_ratio(got, snr, cosine):
    found = fidelity(np.array(got, "float32"), np.array([3.0, 4.0], "float32"), 10, "test")
    assert found.snr == pytest.approx(snr) and found.cosine == pytest.approx(cosine)
    assert found.matches == (snr >= 10)
