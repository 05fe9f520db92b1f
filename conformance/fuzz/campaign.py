"""The programs of a family, each drawn by its number, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from conformance.fuzz.families import Run
from conformance.fuzz.judging import Verdict, judge
from conformance.fuzz.outcome import Outcome
from conformance.fuzz.program import Program
from conformance.fuzz.uniform import registered


@dataclass(frozen=True)
class Result:
    """What became of program number `index` of a run, and what it was shrunk to, if it was."""

    run: Run
    index: int
    program: Program
    verdict: Verdict
    seconds: float

    def line(self) -> dict[str, Any]:
        """As an object of JSON; the text of what is right is left out."""
        verdict = self.verdict
        entry: dict[str, Any] = {
            "family": self.run.family, "seed": self.run.seed, "index": self.index, "key": self.program.key,
            "outcome": verdict.outcome.name, "signature": verdict.signature, "seconds": round(self.seconds, 2),
            "tflite": self.program.tflite,
        }  # fmt: skip
        if verdict.outcome is not Outcome.RIGHT:
            entry |= {"detail": verdict.detail, "said": verdict.said, "source": self.program.text}
        return entry


def drawn(run: Run, index: int, visit: Callable[[Program], None] | None = None) -> Program:
    """Program number `index` of a run.

    With `visit`, Hypothesis calls that with the program, and with ever smaller ones for as long as it raises.
    """
    found: list[Program] = []

    # Of two examples the first is always the least that there is, and the second is drawn at random.
    @seed(f"{run.family} {run.seed} {index}")
    @settings(
        max_examples=2,
        backend=registered(),
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if visit else [])],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(run.strategy())
    def each(program: Program) -> None:
        found.append(program)
        if visit is not None:
            visit(program)

    each()
    return found[-1]


def judged(run: Run, index: int) -> Result:
    """What becomes of program number `index` of a run."""
    started = time.perf_counter()
    program = drawn(run, index)
    return Result(run, index, program, judge(program), time.perf_counter() - started)
