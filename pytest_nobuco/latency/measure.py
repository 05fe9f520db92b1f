"""Timing, into pytest-benchmark: its rounds, its storage, its comparisons."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nobuco.subject.resolve import resolve
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import Bound
from pytest_nobuco.latency.deployed import Deployed
from pytest_nobuco.latency.gpu import Budget
from pytest_nobuco.latency.runtimes import Prepared, Runtimes
from pytest_nobuco.latency.spec import OPTIONS, LatencyCase
from pytest_nobuco.latency.table import row_of
from pytest_nobuco.models.backend import Backend, Subject
from pytest_nobuco.models.judging import judged
from pytest_nobuco.results import LatencyRow

_WARM_UP = 0.2  # seconds
_RUNTIMES = pytest.StashKey[Any]()


def runtimes_of(config: pytest.Config) -> Any:
    """What can be timed; made when first asked for, since it asks for the GPU once a session."""
    if _RUNTIMES not in config.stash:
        config.stash[_RUNTIMES] = resolve(config.getini("nobuco_latency_runtimes"))(config.stash[OPTIONS])
    return config.stash[_RUNTIMES]


def measure(
    item: pytest.Item,
    benchmark: Any,
    runtimes: Runtimes,
    deployed: Deployed,
    case: LatencyCase,
    backend: Backend,
    bound_of: Callable[[str, int], Bound],
) -> LatencyRow:
    """Time a model on a runtime, record it with all that the table tells, and hold its outputs against PyTorch's.

    Raises:
        UnavailableError: the runtime is missing here.
        SuiteError: the model fails there, or its numbers are wrong: a wrong fast result is worth nothing.
    """
    refuse_workers()
    with runtimes.prepare(deployed, case, _budget(item, benchmark)) as prepared:
        compared = _compared(deployed, prepared, backend, bound_of)
        benchmark.group = benchmark.group or deployed.label
        benchmark.extra_info.update(
            model=deployed.label,
            runtime=case.runtime,
            threads=prepared.threads,
            device=prepared.device,
            delegate=None,
            **compared,
        )
        benchmark.extra_info.update(prepared.extra)
        once = _record(benchmark, prepared)
    return row_of(benchmark.extra_info, benchmark.stats.stats if benchmark.stats else None, once)


def refuse_workers() -> None:
    """Nothing is timed while other workers run; `UnavailableError` says so."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        raise UnavailableError("latency is not measured side by side with other tests: run without -n")


def _record(benchmark: Any, prepared: Prepared) -> float:
    """Let pytest-benchmark time it, or tell it what was timed elsewhere; seconds of one run, for where it is off."""
    if prepared.run is None:
        replay(benchmark, prepared.seconds)
        return prepared.seconds[0]
    run = prepared.run
    until = time.perf_counter() + _WARM_UP * benchmark.enabled
    seconds = _seconds(run)
    while time.perf_counter() < until:
        seconds = _seconds(run)
    benchmark(run)
    return seconds


def replay(benchmark: Any, seconds: Sequence[float]) -> None:
    """Record runs that were timed in another process.

    A pytest-benchmark fixture times what it calls, so it is given a clock that stands at zero when a round
    starts, and a function that sets it to what the round took.
    """
    now, left = 0.0, iter(seconds)

    def replayed_clock() -> float:
        return now

    def rewind() -> None:
        nonlocal now
        now = 0.0

    def replay_one() -> None:
        nonlocal now
        now = next(left)

    benchmark._timer = replayed_clock
    benchmark.pedantic(replay_one, setup=rewind, rounds=len(seconds), iterations=1)


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _compared(
    deployed: Deployed, prepared: Prepared, backend: Backend, bound_of: Callable[[str, int], Bound]
) -> dict[str, Any]:
    if prepared.outputs is None:
        return {}
    expected = deployed.expected
    subject = deployed.subject or Subject(None, (), {}, tuple(expected))
    if len(prepared.outputs) != len(expected):
        raise SuiteError(f"{len(prepared.outputs)} outputs, PyTorch gives {len(expected)}")
    imprecise = {} if deployed.converted is None else backend.imprecise(deployed.converted)
    verdicts = list(judged(backend, subject, prepared.outputs, bound_of, lambda: imprecise))
    wrong = [one.text for one in verdicts if not one.fits]
    if wrong:
        raise SuiteError("\n  ".join([f"wrong on {prepared.device}, so its time says nothing:", *wrong]))
    return {"max_abs_diff": max((float(one.difference.max_abs) for one in verdicts), default=0.0)}


def _budget(item: pytest.Item, benchmark: Any) -> Budget:
    """What pytest-benchmark would spend."""
    if benchmark.disabled:
        return Budget(1, 0.0)
    marker = item.get_closest_marker("benchmark")
    settings = dict(marker.kwargs) if marker else {}
    rounds = settings.get("min_rounds", item.config.getoption("benchmark_min_rounds"))
    seconds = settings.get("max_time", item.config.getoption("benchmark_max_time"))
    return Budget(int(rounds), float(seconds))
