"""A project of the tests of latency, whose runtimes need no frameworks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_nobuco.latency.spec import LatencyOptions

PYTHON = sys.executable
HERE = Path(__file__).parent
INI = """
[pytest]
addopts = --strict-markers -p no:hypothesispytest --benchmark-max-time=0.001 --benchmark-min-rounds=5
nobuco_backend = fake_backend:FakeBackend
nobuco_latency_runtimes = fake_runtimes:FakeRuntimes
"""


def latency_project(pytester: pytest.Pytester) -> pytest.Pytester:
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


def options(**changed: object) -> LatencyOptions:
    given = {"wanted": True, "only": True, "threads": (1,), "gpu_fp16": False, "require_gpu": False}
    return LatencyOptions(**{**given, "adb": None, "benchmark_model": None, **changed})
