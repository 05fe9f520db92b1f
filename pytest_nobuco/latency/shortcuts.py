"""Short names, for who wants them: `from pytest_nobuco.latency.shortcuts import *` in a `conftest.py`.

Plugins share one space of fixtures' names with the tests of every project, so the plugin itself claims only
names that begin with `nobuco_`.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["tflite_gpu", "tflite_xnnpack"]


@pytest.fixture
def tflite_xnnpack(nobuco_tflite_xnnpack: Any) -> Any:
    """`nobuco_tflite_xnnpack` by a short name."""
    return nobuco_tflite_xnnpack


@pytest.fixture
def tflite_gpu(nobuco_tflite_gpu: Any) -> Any:
    """`nobuco_tflite_gpu` by a short name."""
    return nobuco_tflite_gpu
