"""Fixtures for the tests of users: time a model, get the row of the table. For where pytest-benchmark is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.latency.spec import THREADED, LatencyCase, case_named
from pytest_nobuco.results import LatencyRow
from pytest_nobuco.session import BENCH, Bench, cap_threads

Latency = Callable[..., LatencyRow]


@pytest.fixture
def nobuco_latency(request: pytest.FixtureRequest, benchmark: Any) -> Latency:
    """`nobuco_latency(model, runtime="tflite-xnnpack", inputs=None, threads=None)` times a model.

    The model is a PyTorch module, converted with channels last, or a TFLite file (its path, or bytes). Inputs
    are given as to the `convert` marker, for a file as arrays; left out, a module's `example_inputs()` or random
    ones. Runtimes are those of the suites: torch, keras, tflite-xnnpack, tflite-gpu, phone-xnnpack, phone-gpu.
    The outcome goes to pytest-benchmark and comes back as a `LatencyRow`; one call per test, as `benchmark`.
    """
    measured: list[str] = []

    def latency(
        model: Any, runtime: str = "tflite-xnnpack", inputs: Any = None, threads: int | None = None
    ) -> LatencyRow:
        __tracebackhide__ = True
        if measured:
            pytest.fail("nobuco_latency was called twice; pytest-benchmark keeps one measurement a test", pytrace=False)
        measured.append(runtime)
        return _timed(request, benchmark, model, runtime, inputs, threads)

    return latency


@pytest.fixture
def nobuco_tflite_xnnpack(nobuco_latency: Latency) -> Latency:
    """`nobuco_tflite_xnnpack(model, inputs=None, threads=1)`: TFLite on the CPU."""
    return lambda model, inputs=None, threads=1: nobuco_latency(model, "tflite-xnnpack", inputs, threads)


@pytest.fixture
def nobuco_tflite_gpu(nobuco_latency: Latency) -> Latency:
    """`nobuco_tflite_gpu(model, inputs=None)`: TFLite on the GPU."""
    return lambda model, inputs=None: nobuco_latency(model, "tflite-gpu", inputs)


def _timed(
    request: pytest.FixtureRequest, benchmark: Any, model: Any, runtime: str, inputs: Any, threads: int | None
) -> LatencyRow:
    __tracebackhide__ = True
    from pytest_nobuco.gate import bound_for
    from pytest_nobuco.latency.measure import measure, refuse_workers, runtimes_of

    bench = request.config.stash[BENCH]
    cap_threads(os.environ)
    skipped = failure = None
    try:
        refuse_workers()
        case = _case(runtime, threads)
        deployed = _deployed(bench, request.node.nodeid, model, inputs)
        runtimes, bound = runtimes_of(request.config), bound_for((), bench.options)
        return measure(request.node, benchmark, runtimes, deployed, case, bench.backend, lambda *output: bound)
    except UnavailableError as error:
        skipped = str(error)
    except SuiteError as error:
        if error.__cause__ is not None:
            raise  # the traceback of the user's own code says more than we can
        failure = str(error)
    if skipped:
        pytest.skip(skipped)
    pytest.fail(f"nobuco_latency: {failure}", pytrace=False)


def _case(runtime: str, threads: int | None) -> LatencyCase:
    try:
        case = case_named(runtime)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    if threads is None:
        return case
    if case.runtime not in THREADED:
        raise SuiteError(f"threads={threads}: they cannot be chosen for {case.runtime}")
    return LatencyCase(case.runtime, threads)


def _deployed(bench: Bench, nodeid: str, model: Any, inputs: Any) -> Any:
    from nobuco.subject.inputs import read_inputs
    from pytest_nobuco.latency.deployed import Deployed, read_file
    from pytest_nobuco.models.backend import Form

    if isinstance(model, (str, Path, bytes)):
        label = nodeid if isinstance(model, bytes) else Path(model).name
        arrays = None if inputs is None else tuple(inputs if isinstance(inputs, Sequence) else [inputs])
        return Deployed(label, file=read_file(model), given=arrays)
    backend, seed = bench.backend, bench.options.seed
    try:
        arguments = None if inputs is None else read_inputs(inputs)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    subject = backend.subject(backend.build(lambda: model, seed), arguments, {}, seed)
    return Deployed(type(model).__name__, subject, backend.convert(subject, Form("nhwc", "nhwc"), {}))
