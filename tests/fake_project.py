"""A project of the plugin's own tests, whose models are those of the fake backend; and what its sessions print."""

from __future__ import annotations

from pathlib import Path

import pytest

FOUR = [f"{order}-{order}-static-{runtime}" for order in ("nchw", "nhwc") for runtime in ("keras", "tflite")]
# Hypothesis imports itself at the end of each session, which takes longer than all that is tested here.
INI = "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\nnobuco_backend = fake_backend:FakeBackend\n"
# A small matrix where the matrix is not what is tested.
INI += "nobuco_orders = nchw nhwc\nnobuco_runtimes = keras tflite\nnobuco_dynamic = none\n"

WHOLE = "[pytest]\naddopts = --strict-markers -p no:hypothesispytest\nnobuco_backend = fake_backend:FakeBackend\n"


def fake_project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with `nets.py`, whose models are those of the fake backend."""
    fake = (Path(__file__).parent / "fake_backend.py").read_text()
    pytester.makepyfile(
        fake_backend=fake,
        nets="""
            from fake_backend import Broken, Nan, Net, NoKeras

            instance = Net()

            def factory():
                return Net()

            def no_model():
                return 3

            class Scope:
                Inner = Net
        """,
    )
    pytester.makeini(INI)
    pytester.syspathinsert()
    return pytester


def ids(result: pytest.RunResult) -> list[str]:
    """The ids that `--collect-only -q` printed."""
    return [line for line in result.outlines if "::" in line]
