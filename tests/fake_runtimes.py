"""Runtimes without frameworks, for tests of the plugin's logic; a model is one of `fake_backend`'s.

Copied into the projects that the tests make.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency.runtimes import Prepared

GPU_SECONDS = (0.25, 0.5, 0.5, 0.75, 4.0)


class FakeRuntimes:
    def __init__(self, options: Any) -> None:
        self.options = options

    @contextlib.contextmanager
    def prepare(self, deployed: Any, case: Any, budget: Any) -> Iterator[Prepared]:
        error = deployed.subject.model.error
        extra = {"operations": 7, "operations_outside_delegate": 2, "transpositions": 1, "file_size": 1234567}
        if case.runtime.startswith("phone"):
            raise UnavailableError("no phone here")
        if case.runtime == "tflite-gpu" and error < 0:
            if self.options.require_gpu:
                raise SuiteError("--nobuco-require-gpu: install a driver")
            raise UnavailableError("install a driver")
        if case.runtime == "tflite-gpu":
            seconds = GPU_SECONDS[: budget.min_rounds]
            extra["adapter_type"] = "CPU / Software"
            yield Prepared("Fake GPU (CPU / Software)", None, None, seconds, [1.0 + error], extra)
        else:
            outputs = None if case.runtime == "torch" else [1.0 + error]
            told = extra if "xnnpack" in case.runtime else {}
            yield Prepared("fake processor", case.threads, lambda: print(f"RUN {case.name}"), (), outputs, told)
