"""The fixtures where pytest-benchmark is missing or switched off: whoever asks for one is skipped."""

from __future__ import annotations

from typing import Any

import pytest

NO_BENCHMARK = "latency needs pytest-benchmark: pip install pytest-benchmark (and no -p no:benchmark)"


@pytest.fixture
def nobuco_latency() -> Any:
    """Skips."""
    pytest.skip(NO_BENCHMARK)


@pytest.fixture
def nobuco_tflite_xnnpack(nobuco_latency: Any) -> Any:
    """Skips."""


@pytest.fixture
def nobuco_tflite_gpu(nobuco_latency: Any) -> Any:
    """Skips."""
